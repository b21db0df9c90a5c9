"""The record that describes a cell, and the cell whose backward pass is left to autodiff."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ..config import OutputEquation


class CellOutput(NamedTuple):
    """The result of the forward pass of a cell.

    Attributes:
      hidden: The new hidden vectors h', `[..., units]`, in the compute dtype.
      memory: The new memory vectors m', `[..., units]`; the old ones for a cell without a memory.
      activations: The residual of the backward pass, `[..., gates * units]`, in the compute dtype.
    """

    hidden: tf.Tensor
    memory: tf.Tensor
    activations: tf.Tensor


Forward = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, OutputEquation], CellOutput]
"""Maps `(preactivations, bias, memory, output_equation)` to a `CellOutput`."""

Backward = Callable[
    [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, OutputEquation], tuple[tf.Tensor, tf.Tensor]
]
"""Maps `(activations, memory, d_hidden, d_memory, output_equation)` to the gradients of the
preactivations (in the compute dtype) and of the memory that entered."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell: the function that one dimension of a block applies to its product W H.

    The functions are pure, work for any leading dimensions, and do their arithmetic in the dtype of
    the memory (float32 under mixed precision). The grid, the wavefront, the packed kernels and the
    decode step know a cell by this record alone.

    Attributes:
      name: The name by which layers refer to the cell.
      gates: The number of gates: the product W H is `gates * units` wide.
      has_memory: Whether the cell carries a memory vector; without one its width is 0.
      forward: Computes the new vectors from the preactivations; see `Forward`.
      backward: Computes the gradients of `forward`; see `Backward`.
      forget_gate: The index of the gate whose bias starts at `forget_bias`; None if there is none.
      is_bounded: Whether every component of h' lies within [-1, 1], as kernels of 8-bit integers
        need it.
    """

    name: str
    gates: int
    has_memory: bool
    forward: Forward
    backward: Backward
    forget_gate: int | None = None
    is_bounded: bool = False


def differentiated_cell(
    name: str,
    gates: int,
    has_memory: bool,
    function: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    forget_gate: int | None = None,
    is_bounded: bool = False,
) -> Cell:
    """Returns a cell whose backward pass is autodiff of its forward pass.

    The residual is z = W H + b, from which the backward pass evaluates the function again under a
    `tf.GradientTape`, inside the compiled gates. A hand-written backward pass is faster where it
    can use the values of the gates.

    Args:
      name: The name of the cell.
      gates: The number of gates.
      has_memory: Whether the cell carries a memory vector.
      function: Maps z, `[..., gates * units]`, and m, `[..., units]`, to h' and m'. A cell
        without a memory gets and returns a tensor of width 0.
      forget_gate: The index of the gate whose bias starts at `forget_bias`.
      is_bounded: Whether every component of h' lies within [-1, 1].
    """

    def forward(
        preactivations: tf.Tensor, bias: tf.Tensor, memory: tf.Tensor, _: OutputEquation
    ) -> CellOutput:
        z = tf.cast(preactivations, memory.dtype) + tf.cast(bias, memory.dtype)
        hidden, new_memory = function(z, memory)
        dtype = preactivations.dtype
        return CellOutput(
            hidden=tf.cast(hidden, dtype), memory=new_memory, activations=tf.cast(z, dtype)
        )

    def backward(
        activations: tf.Tensor,
        memory: tf.Tensor,
        d_hidden: tf.Tensor,
        d_memory: tf.Tensor,
        _: OutputEquation,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        z = tf.cast(activations, memory.dtype)
        with tf.GradientTape() as tape:
            tape.watch([z, memory])
            outputs = function(z, memory)
        d_z, d_old_memory = tape.gradient(
            outputs,
            [z, memory],
            [tf.cast(d_hidden, memory.dtype), d_memory],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return tf.cast(d_z, activations.dtype), d_old_memory

    return Cell(
        name=name,
        gates=gates,
        has_memory=has_memory,
        forward=forward,
        backward=backward,
        forget_gate=forget_gate,
        is_bounded=is_bounded,
    )
