"""What all Grid LSTM layers have in common: arguments, weights, and how to run the grid."""

from collections.abc import Sequence
from typing import Literal

import keras
import tensorflow as tf

from ..config import (
    Execution,
    GridEquations,
    OutputEquation,
    Tied,
    Transform,
    require_one_of,
    require_range,
)
from ..decoding.decode_step import stored_kernel
from ..errors import InputError
from ..execution import planner as executions
from ..grid.checkpointing import grid_recomputed
from ..grid.dropout import dropout_mask, grid_dropout
from ..grid.reference import DimensionWeights, Sides, grid_reference
from ..grid.wavefront.wavefront import grid_inference, grid_wavefront
from ..shapes import shape_of


class GridLayer(keras.layers.Layer):
    """The weights of an N-dimensional grid of LSTM blocks, and how to run it.

    Kalchbrenner, Danihelka, Graves, "Grid Long Short-Term Memory", arXiv 1507.01526; the equations
    are in `grid.grid_block`. Dimensions are counted from 0; the last, -1, is depth. Inputs enter at
    the bottom of depth through a linear projection into its hidden and memory vectors, outputs are
    its hidden vectors at the top.

    Args:
      units: width of each hidden and memory vector.
      layers: blocks along depth.
      transforms: "lstm", or for each dimension "lstm", "tanh", "relu" or "identity".
      priority: dimensions that are computed last, in order, and see the new hidden vectors of those
        before them.
      tied: which weights the layers share: "none", those of the "depth" dimension, or "all".
      output_equation: "o*tanh(m)" or "tanh(o*m)"; see `transforms.lstm_transform`.
      layer_normalization: whether each gate is normalised over its units.
      input_memory: whether inputs are projected into the memory as well as the hidden vector.
      project_inputs: False for inputs that are the hidden (and memory) vectors already.
      use_bias: whether the projection of the inputs has a bias; blocks always do.
      kernel_initializer: of the projection.
      recurrent_initializer: of the blocks' kernels; None for uniform in ±1/sqrt(units).
      bias_initializer: of all biases, but for those of the forget gates.
      forget_bias: initial bias of the forget gates; `unit_forget_bias=False` stands for 0.
      kernel_regularizer: of the projection.
      recurrent_regularizer: of the blocks' kernels.
      bias_regularizer: of all biases.
      kernel_constraint: of the projection.
      recurrent_constraint: of the blocks' kernels.
      bias_constraint: of all biases.
      dropout: rate on the inputs and on what rises from layer to layer.
      recurrent_dropout: rate on the hidden vectors that travel along the other dimensions.
      dropout_masks: "step" for new masks at each step, "sequence" for one over the whole sequence.
      recompute: pieces of so many steps are computed again in the backward pass, so that only one
        piece's tape is in memory; 0 keeps everything. See `recompute.square_root_piece`.
      execution: "auto", "wavefront" or "reference", which is cell by cell.
      seed: of the dropout.

    Raises:
      ValueError: naming the argument, what came and what was expected.

    Attributes:
      kernel: `[features, units]`, or twice as wide with `input_memory`; likewise bias.
      grid: per dimension, as `grid.DimensionWeights` has them.
    """

    def __init__(
        self,
        units: int,
        layers: int = 1,
        transforms: Transform | Sequence[Transform] = "lstm",
        priority: Sequence[int] = (-1,),
        tied: Tied = "none",
        output_equation: OutputEquation = "o*tanh(m)",
        layer_normalization: bool = False,
        input_memory: bool = True,
        project_inputs: bool = True,
        use_bias: bool = True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer=None,
        bias_initializer="zeros",
        unit_forget_bias: bool = True,
        forget_bias: float | None = None,
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        kernel_constraint=None,
        recurrent_constraint=None,
        bias_constraint=None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dropout_masks: Literal["step", "sequence"] = "step",
        recompute: int = 0,
        execution: Execution = "auto",
        seed: int | None = None,
        **kwargs,
    ):
        # Memories and weights stay in the variables' dtype; what enters products is cast here.
        super().__init__(autocast=False, **kwargs)
        for name, value, least in (
            ("units", units, 1),
            ("layers", layers, 1),
            ("recompute", recompute, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name} is {value!r}; it must be an integer of at least {least}")
        require_range("dropout", dropout, 0, 1)
        require_range("recurrent_dropout", recurrent_dropout, 0, 1)
        require_one_of("tied", tied, Tied)
        require_one_of("execution", execution, Execution)
        require_one_of("output_equation", output_equation, OutputEquation)
        require_one_of("dropout_masks", dropout_masks, Literal["step", "sequence"])
        for kind in [transforms] if isinstance(transforms, str) else transforms:
            require_one_of("transforms", kind, Transform)
        self.units = units
        self.layers = layers
        self.transforms = transforms if isinstance(transforms, str) else tuple(transforms)
        self.priority = tuple(priority)
        self.tied = tied
        self.output_equation = output_equation
        self.layer_normalization = layer_normalization
        self.input_memory = input_memory
        self.project_inputs = project_inputs
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(
            recurrent_initializer or keras.initializers.RandomUniform(-(units**-0.5), units**-0.5)
        )
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.forget_bias = float(unit_forget_bias) if forget_bias is None else forget_bias
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = keras.regularizers.get(recurrent_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.recurrent_constraint = keras.constraints.get(recurrent_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.dropout_masks = dropout_masks
        self.recompute = recompute
        self.execution = execution
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.plan = None
        # Under `Model.fit` Keras compiles steps as a whole if all layers let it.
        self.supports_jit = executions.visible_device() == "accelerator"

    @property
    def input_width(self) -> int:
        """Width of what enters the bottom: hidden, and memory where it gets any."""
        has_memory = self.input_memory and self.equations.transforms[-1] == "lstm"
        return self.units * (2 if has_memory else 1)

    def _set_dimensions(self, dimensions: int) -> None:
        """Fixes N, and with it the equations."""
        transforms = self.transforms
        if isinstance(transforms, str):
            transforms = (transforms,) * dimensions
        if len(transforms) != dimensions:
            raise InputError(
                f"transforms names {len(transforms)} dimensions; the grid has {dimensions}"
            )
        for one in self.priority:
            if not -dimensions <= one < dimensions:
                raise InputError(
                    f"priority names dimension {one}; the grid has {dimensions}, counted from 0"
                )
        self.equations = GridEquations(
            transforms,
            tuple(one % dimensions for one in self.priority),
            self.output_equation,
            self.layer_normalization,
        )

    def build(self, input_shape) -> None:
        features = input_shape[-1]
        if features is None:
            raise InputError(f"the input's shape is {input_shape}; its last size must be known")
        width = self.input_width
        if self.project_inputs:
            self.kernel = self.add_weight(
                autocast=False,
                name="kernel",
                shape=(features, width),
                initializer=self.kernel_initializer,
                regularizer=self.kernel_regularizer,
                constraint=self.kernel_constraint,
            )
            if self.use_bias:
                self.bias = self.add_weight(
                    autocast=False,
                    name="bias",
                    shape=(width,),
                    initializer=self.bias_initializer,
                    regularizer=self.bias_regularizer,
                    constraint=self.bias_constraint,
                )
        elif features != width:
            raise InputError(
                f"the input is {features} wide; without project_inputs it must be {width}"
            )
        dimensions = self.equations.dimensions
        self.grid = [self._add_dimension(i, dimensions) for i in range(dimensions)]
        self.built = True

    def _add_dimension(self, dimension, dimensions):
        """The variables of one dimension's transform."""
        shared = self.tied == "all" or (self.tied == "depth" and dimension == dimensions - 1)
        copies = 1 if shared else self.layers
        gates = self.equations.gates(dimension)
        name = "depth" if dimension == dimensions - 1 else f"dimension{dimension}"

        def bias(shape, dtype):
            value = self.bias_initializer(shape, dtype=dtype)
            if gates == 1:
                return value
            i, _, rest = tf.split(value, [self.units, self.units, 2 * self.units], axis=-1)
            return tf.concat([i, tf.fill(i.shape, tf.cast(self.forget_bias, dtype)), rest], axis=-1)

        return DimensionWeights(
            self.add_weight(
                autocast=False,
                name=f"{name}_kernel",
                shape=(copies, dimensions * self.units, gates * self.units),
                initializer=self.recurrent_initializer,
                regularizer=self.recurrent_regularizer,
                constraint=self.recurrent_constraint,
            ),
            self.add_weight(
                autocast=False,
                name=f"{name}_bias",
                shape=(copies, gates * self.units),
                initializer=bias,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            ),
            self.add_weight(
                autocast=False,
                name=f"{name}_gain",
                shape=(copies, gates * self.units),
                initializer="ones",
            )
            if self.layer_normalization
            else None,
        )

    @property
    def weights_now(self) -> list[DimensionWeights]:
        """The blocks' weights as tensors."""
        return [
            DimensionWeights(
                *(None if part is None else tf.convert_to_tensor(part) for part in one)
            )
            for one in self.grid
        ]

    def store_kernels(self, dtype: str | None) -> None:
        """Replaces the blocks' kernels by copies in a dtype, for a layer no longer trained; None
        drops them where only `column` is called, which has its own."""
        self.grid = [
            one._replace(kernel=dtype and stored_kernel(one.kernel, dtype)) for one in self.grid
        ]

    @property
    def weights_in_use(self) -> list:
        """The blocks' variables, stored kernels among them."""
        return [part for one in self.grid for part in one if part is not None]

    def enter(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The hidden and memory vectors that enter the bottom, from `[..., features]`."""
        if self.project_inputs:
            flat = tf.reshape(inputs, [-1, inputs.shape[-1]])
            flat = tf.matmul(
                tf.cast(flat, self.compute_dtype), tf.cast(self.kernel, self.compute_dtype)
            )
            if self.use_bias:
                flat += tf.cast(self.bias, flat.dtype)
            inputs = tf.reshape(flat, [*shape_of(inputs)[:-1], flat.shape[-1]])
        dtype = self.variable_dtype
        if self.input_width > self.units:
            hidden, memory = tf.split(inputs, 2, axis=-1)
            return tf.cast(hidden, self.compute_dtype), tf.cast(memory, dtype)
        width = self.units if self.equations.transforms[-1] == "lstm" else 0
        memory = tf.zeros([*shape_of(inputs)[:-1], width], dtype)
        return tf.cast(inputs, self.compute_dtype), memory

    def run(
        self,
        sides: Sides,
        extents: tuple[int | tf.Tensor, ...],
        training: bool = False,
        seed: tf.Tensor | None = None,
        keep: tf.Tensor | None = None,
    ) -> Sides:
        """The grid itself.

        Args:
          sides: what enters; see `grid.grid_reference`.
          extents: number of blocks along each dimension.
          training: whether a gradient will be asked for.
          seed: `[2]`, of the dropout; None for no dropout.
          keep: see `grid.grid_reference`.
        """
        batch = sides.hidden[-1].shape[-2]
        plan = self.plan or executions.choose(
            self.units,
            self.layers,
            batch,
            self.execution,
            self.compute_dtype,
            whole=None if self.supports_jit else False,
        )
        dropout = None
        if seed is not None:
            rates = (*[self.recurrent_dropout] * (len(extents) - 1), self.dropout)
            each_step = self.dropout_masks == "step"
            dropout = grid_dropout(extents, sides.hidden, rates, each_step, seed)
        arguments = sides, self.weights_now, self.equations, extents
        if plan.execution == "reference":
            return grid_reference(*arguments, dropout, keep)
        if not training:
            return grid_inference(*arguments, dropout, keep, plan.compilation)
        piece = self.recompute or plan.recompute
        if piece:
            return grid_recomputed(*arguments, piece, dropout, keep, plan.compilation)
        return grid_wavefront(*arguments, dropout, keep, plan.compilation)

    def _next_seed(self, training):
        """A new seed where something is to be dropped, else None."""
        if not training or not (self.dropout or self.recurrent_dropout):
            return None
        return tf.bitcast(tf.cast(self.seed_generator.next(), tf.uint32), tf.int32)

    def _drop_inputs(self, inputs, seed, axes):
        """Dropout of the features; `axes` are those that share a mask where there is only one."""
        if seed is None or not self.dropout:
            return inputs
        shape = shape_of(inputs)
        if self.dropout_masks == "sequence":
            shape = [1 if axis in axes else size for axis, size in enumerate(shape)]
        seed = tf.random.experimental.stateless_fold_in(seed, -1)
        return inputs * dropout_mask(shape, self.dropout, seed, inputs.dtype)

    def zeros(
        self, dimension: int, leading: Sequence[int | tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Zero hidden and memory vectors `[*leading, width]` of one dimension."""
        width = self.units if self.equations.transforms[dimension] == "lstm" else 0
        return (
            tf.zeros([*leading, self.units], self.compute_dtype),
            tf.zeros([*leading, width], self.variable_dtype),
        )

    def get_config(self) -> dict:
        serialized = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in (
                "kernel_initializer",
                "recurrent_initializer",
                "bias_initializer",
                "kernel_regularizer",
                "kernel_constraint",
                "recurrent_regularizer",
                "recurrent_constraint",
                "bias_regularizer",
                "bias_constraint",
            )
        }
        plain = {
            name: getattr(self, name)
            for name in (
                "units",
                "layers",
                "transforms",
                "priority",
                "tied",
                "output_equation",
                "layer_normalization",
                "input_memory",
                "project_inputs",
                "use_bias",
                "forget_bias",
                "dropout",
                "recurrent_dropout",
                "dropout_masks",
                "recompute",
                "execution",
                "seed",
            )
        }
        return {**super().get_config(), **plain, **serialized}
