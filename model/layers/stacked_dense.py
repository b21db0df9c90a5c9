"""A stack of fully connected layers with gated, residual or no connections around each layer."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ..config import DenseConnection, require_integer, require_one_of
from ..errors import InputError
from .initialization import VariableInitializers

_GATED = ("highway", "highway_layerwise")


class DenseTrace(NamedTuple):
    """What the layers of a `StackedDense` compute for a batch.

    Attributes:
      outputs: The output y of each layer, `[layers, ..., units]`.
      gates: The transform gate T of each layer, `[layers, ..., units]` for "highway" and
        `[layers, ..., 1]` otherwise; ones for connections without a gate.
    """

    outputs: tf.Tensor
    gates: tf.Tensor


@keras.saving.register_keras_serializable(package="grid_lstm")
class StackedDense(keras.layers.Layer):
    """A stack of fully connected layers of the same width, by default a highway network.

        H = a(x W + b);  T = sigmoid(x W_T + b_T)
        y = T * H + (1 - T) * x    "highway": T is a vector, with a gate per unit
                                   "highway_layerwise": T is a scalar per example
        y = H + x                  "residual"
        y = H                      "plain"

    Srivastava, Greff, Schmidhuber, "Highway Networks", arXiv 1505.00387, section 2. The first layer
    reads the inputs themselves, so these must be `units` wide.

    >>> layer = StackedDense(4, layers=3, transform_bias=-3.0)
    >>> x = np.zeros([2, 4], "float32")
    >>> layer(x).shape
    TensorShape([2, 4])
    >>> layer.trace(x).gates[:, 0, 0].numpy().round(3).tolist()
    [0.04699999839067459, 0.04699999839067459, 0.04699999839067459]

    Args:
      units: The width of each layer, and of the inputs.
      layers: The number of layers. Default 1.
      connection: "highway" (the default), "highway_layerwise", "residual" or "plain".
      activation: The activation a, as for `keras.layers.Dense`. Default "relu".
      transform_bias: The initial b_T. Default -2: negative, so that a deep net initially passes its
        input on.
      kernel_initializer: The initializer of the kernel of each layer, W_T and W as one matrix.
        Default "glorot_uniform".
      **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
      InputError: If an argument is invalid; the message names it, its value and what is expected.

    Attributes:
      kernel: W_T and W of each layer, side by side, `[layers, units, gates + units]`, where gates
        is `units` for "highway", 1 for "highway_layerwise" and 0 otherwise.
      bias: b_T and b of each layer, `[layers, gates + units]`.
    """

    def __init__(
        self,
        units: int,
        layers: int = 1,
        connection: DenseConnection = "highway",
        activation: Any = "relu",
        transform_bias: float = -2.0,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = require_integer("units", units, 1)
        self.layers = require_integer("layers", layers, 1)
        require_one_of("connection", connection, DenseConnection)
        self.connection = connection
        self.activation = keras.activations.get(activation)
        self.transform_bias = float(transform_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    @property
    def gates(self) -> int:
        """The number of gates of a layer."""
        return {"highway": self.units, "highway_layerwise": 1}.get(self.connection, 0)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the variables."""
        if input_shape[-1] != self.units:
            raise InputError(
                f"the input is {input_shape[-1]} wide; a StackedDense of {self.units} units needs "
                f"inputs of that width, as from Dense({self.units})"
            )
        columns = self.gates + self.units
        self.kernel = self.add_weight(
            autocast=False,
            name="kernel",
            shape=(self.layers, self.units, columns),
            initializer=VariableInitializers(self.kernel_initializer).of_layers(self.layers),
        )
        start = [self.transform_bias] * self.gates + [0.0] * self.units
        self.bias = self.add_weight(
            autocast=False,
            name="bias",
            shape=(self.layers, columns),
            initializer=lambda shape, dtype: tf.broadcast_to(tf.constant(start, dtype), shape),
        )
        super().build(input_shape)
        self.built = True

    def call(self, inputs: tf.Tensor, lesioned: int | tf.Tensor | None = None) -> tf.Tensor:
        """Computes the outputs of a batch.

        Args:
          inputs: The inputs, `[..., units]`.
          lesioned: The layer, counted from 0, that passes its input on unchanged, as with T = 0;
            None (the default) for no such layer.

        Returns:
          The outputs of the last layer, `[..., units]`.
        """
        *_, (output, _) = self._layers_of(inputs, lesioned)
        return output

    def trace(self, inputs: tf.Tensor, lesioned: int | tf.Tensor | None = None) -> DenseTrace:
        """Computes the outputs and gates of all layers of a batch.

        Args:
          inputs: The inputs, `[..., units]`.
          lesioned: The layer that passes its input on; see `call`.
        """
        if not self.built:
            self.build(inputs.shape)
        outputs, gates = zip(*self._layers_of(inputs, lesioned), strict=True)
        return DenseTrace(outputs=tf.stack(outputs), gates=tf.stack(gates))

    def _layers_of(
        self, inputs: tf.Tensor, lesioned: int | tf.Tensor | None
    ) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Yields the output and the gate of each layer, from the first on."""
        if isinstance(lesioned, int) and not 0 <= lesioned < self.layers:
            raise InputError(f"lesioned is {lesioned}; the layers are 0 to {self.layers - 1}")
        x = tf.cast(inputs, self.compute_dtype)
        kernels = tf.unstack(tf.cast(self.kernel, self.compute_dtype))
        biases = tf.unstack(tf.cast(self.bias, self.compute_dtype))
        for layer, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
            y, gate = dense_block(x, kernel, bias, self.connection, self.activation)
            if lesioned is not None:
                is_lesioned = tf.equal(layer, lesioned)
                y = tf.where(is_lesioned, x, y)
                gate = tf.where(is_lesioned, tf.zeros_like(gate), gate)
            x = y
            yield y, gate

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple:
        """Returns the shape of what `call` returns."""
        return tuple(input_shape)

    def get_config(self) -> dict:
        """Returns the arguments that create an equal layer."""
        config = super().get_config()
        names = ("units", "layers", "connection", "transform_bias")
        config.update({name: getattr(self, name) for name in names})
        config["activation"] = keras.activations.serialize(self.activation)
        config["kernel_initializer"] = keras.saving.serialize_keras_object(self.kernel_initializer)
        return config


def dense_block(
    x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, connection: DenseConnection, activation: Any
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes one layer of a `StackedDense`, whose docstring has the equations.

    Args:
      x: The input, `[..., units]`.
      kernel: W_T and W, `[units, gates + units]`.
      bias: b_T and b, `[gates + units]`.
      connection: The connection around the layer.
      activation: The activation a.

    Returns:
      The output `[..., units]` and the gate T, `[..., gates]`, or ones `[..., 1]` without gates.
    """
    product = tf.matmul(x, kernel) + bias
    if connection not in _GATED:
        hidden = activation(product)
        return (hidden + x if connection == "residual" else hidden), tf.ones_like(x[..., :1])
    units = x.shape[-1]
    gate, candidate = tf.split(product, [kernel.shape[-1] - units, units], axis=-1)
    gate = tf.sigmoid(gate)
    return gate * activation(candidate) + (1 - gate) * x, gate
