"""The projection of inputs into the hidden and memory vectors that enter a side of a grid."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ..cells.cell import Cell
from ..core import CoreInputs
from ..errors import InputError
from ..shapes import shape_of
from .initialization import VariableInitializers


class Projection(NamedTuple):
    """The weights that project inputs into the vectors that enter a side.

    Attributes:
      kernel: The kernel, `[features, width]`; None where inputs are the vectors already.
      bias: The bias, `[width]`; None without.
    """

    kernel: keras.Variable | None = None
    bias: keras.Variable | None = None


def entering_width(cell: Cell, units: int, input_memory: bool) -> int:
    """Returns the width of what enters a side: hidden, and memory where inputs enter it.

    Args:
      cell: The cell of the dimension.
      units: The width of a hidden vector.
      input_memory: Whether inputs enter the memory, too. The memory of a GRU is its hidden vector,
        so one vector serves both, and a cell may have no memory.
    """
    enters_memory = input_memory and cell.has_memory and not cell.memory_is_hidden
    return units * (2 if enters_memory else 1)


def add_projection(
    layer: Any,
    features: int | None,
    width: int,
    initializers: VariableInitializers,
    prefix: str = "",
) -> Projection:
    """Creates the variables of a projection.

    Args:
      layer: The layer that owns the variables, a `grid_layer.GridLayer`.
      features: The width of the inputs; None where it is unknown, which is refused.
      width: The width of what enters the side; see `entering_width`.
      initializers: The initializers of the kernels of all sides.
      prefix: What the names of the variables begin with. Default: nothing.

    Returns:
      The variables; none without `project_inputs`.

    Raises:
      InputError: If the width of the inputs is unknown, or without `project_inputs` not `width`.
    """
    if features is None:
        raise InputError("the last size of the input's shape is unknown; give the input a width")
    if not layer.project_inputs:
        if features != width:
            raise InputError(
                f"the input is {features} wide; without project_inputs it must be {width}"
            )
        return Projection()
    kernel = layer.add_weight(
        autocast=False,
        name=f"{prefix}kernel",
        shape=(features, width),
        initializer=initializers.of_variable(),
        regularizer=layer.kernel_regularizer,
        constraint=layer.kernel_constraint,
    )
    bias = None
    if layer.use_bias:
        bias = layer.add_weight(
            autocast=False,
            name=f"{prefix}bias",
            shape=(width,),
            initializer=layer.bias_initializer,
            regularizer=layer.bias_regularizer,
            constraint=layer.bias_constraint,
        )
    return Projection(kernel, bias)


def project(inputs: tf.Tensor, projection: Projection, dtype: str) -> tf.Tensor:
    """Computes x W + b, `[..., features]` to `[..., width]`; x itself without a kernel.

    Args:
      inputs: The inputs x.
      projection: The kernel W and the bias b.
      dtype: The dtype of the product.
    """
    if projection.kernel is None:
        return inputs
    flat = tf.reshape(inputs, [-1, inputs.shape[-1]])
    flat = tf.matmul(tf.cast(flat, dtype), tf.cast(projection.kernel, dtype))
    if projection.bias is not None:
        flat += tf.cast(projection.bias, flat.dtype)
    return tf.reshape(flat, [*shape_of(inputs)[:-1], flat.shape[-1]])


def entering_vectors(
    vectors: tf.Tensor, cell: Cell, units: int, hidden_dtype: str, memory_dtype: str
) -> CoreInputs:
    """Splits what enters a side into hidden and memory vectors; absent memories are zeros.

    Args:
      vectors: What enters, `[..., width]` with the width of `entering_width`.
      cell: The cell of the dimension.
      units: The width of a hidden vector.
      hidden_dtype: The dtype of the hidden vectors.
      memory_dtype: The dtype of the memory vectors.

    Returns:
      The hidden vectors, `[..., units]`, and memories `[..., cell.memory_size * units]`.
    """
    width = cell.memory_size * units
    if vectors.shape[-1] > units:
        hidden, memory = tf.split(vectors, 2, axis=-1)
        memory = tf.cast(memory, memory_dtype)
        if width > units:
            rest = tf.zeros([*shape_of(vectors)[:-1], width - units], memory_dtype)
            memory = tf.concat([memory, rest], axis=-1)
        return CoreInputs(tf.cast(hidden, hidden_dtype), memory)
    if cell.memory_is_hidden:
        return CoreInputs(tf.cast(vectors, hidden_dtype), tf.cast(vectors, memory_dtype))
    memory = tf.zeros([*shape_of(vectors)[:-1], width], memory_dtype)
    return CoreInputs(tf.cast(vectors, hidden_dtype), memory)
