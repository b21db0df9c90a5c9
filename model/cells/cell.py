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
      memory: The new memory vectors m', `[..., memory_size * units]`; the old ones for a cell
        without a memory.
      activations: The residual of the backward pass, `[..., gates * units]`, in the compute dtype.
    """

    hidden: tf.Tensor
    memory: tf.Tensor
    activations: tf.Tensor


class CellParameter(NamedTuple):
    """A trainable parameter that a cell has besides the kernel W and the bias b.

    Attributes:
      name: The name, which becomes part of the name of the variable.
      shape: The shape of one layer's parameter, in multiples of `units`: `(3,)` is a vector
        `[3 * units]`, `(3, 3)` a matrix `[3 * units, 3 * units]`.
    """

    name: str
    shape: tuple[int, ...]


Parameters = tuple[tf.Tensor, ...]
"""The values of a cell's parameters, in the order of `Cell.parameters`.

Those of one layer have the shapes of the record. Where rows belong to different layers, a vector is
`[rows, 1, n]` and a matrix `[rows, n, m]`, so that the same products and `tf.matmul` broadcast."""

Forward = Callable[[tf.Tensor, tf.Tensor, tf.Tensor, Parameters, OutputEquation], CellOutput]
"""Maps `(preactivations, bias, memory, parameters, output_equation)` to a `CellOutput`."""

Backward = Callable[
    [tf.Tensor, tf.Tensor, Parameters, tf.Tensor, tf.Tensor, OutputEquation],
    tuple[tf.Tensor, tf.Tensor],
]
"""Maps `(activations, memory, parameters, d_hidden, d_memory, output_equation)` to the gradients of
the preactivations (in the compute dtype) and of the memory that entered."""

ParameterGradients = Callable[
    [tf.Tensor, tf.Tensor, Parameters, tf.Tensor, tf.Tensor, OutputEquation], Parameters
]
"""Maps the arguments of a `Backward`, as rows `[rows, width]` of one layer, to the gradients of the
parameters, summed over the rows. It is called once, after the loop over the blocks."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell: the function that one dimension of a block applies to its product W H.

    The functions are pure, work for any leading dimensions, and do their arithmetic in the dtype of
    the memory (float32 under mixed precision). The grid, the stacked net, the wavefront, the packed
    kernels and the decode step know a cell by this record alone.

    Attributes:
      name: The name by which layers refer to the cell.
      gates: The number of vectors in the product W H, which is `gates * units` wide.
      memory_size: The width of the memory vector, in multiples of `units`; 0 for a cell without a
        memory. The first `units` numbers are those that inputs enter and that are inspected.
      forward: Computes the new vectors from the preactivations; see `Forward`.
      backward: Computes the gradients of `forward`; see `Backward`.
      parameters: The cell's own trainable parameters, such as peepholes. Default: none.
      parameter_gradients: Computes the gradients of the parameters; None without parameters.
      forget_gate: The index of the gate whose bias starts at `forget_bias`; None if there is none.
      split_gate: The index of the gate that needs the product with the own hidden vector apart from
        the product with all others, as the candidate of a GRU does; None if there is none. The own
        part is the last of the `gates` vectors. See `product_kernel`.
      memory_is_hidden: Whether the memory is the hidden vector itself, which the cell blends the
        new one with, as in a GRU. An input then enters both as one vector.
      takes_memory_below: Whether the memory of the layer below at the same step enters after the
        cell's own, as `units` further numbers; only a stacked net has one. Default False.
      is_bounded: Whether every component of h' lies within [-1, 1], whatever the memory, as kernels
        of 8-bit integers need it.
    """

    name: str
    gates: int
    memory_size: int
    forward: Forward
    backward: Backward
    parameters: tuple[CellParameter, ...] = ()
    parameter_gradients: ParameterGradients | None = None
    forget_gate: int | None = None
    split_gate: int | None = None
    memory_is_hidden: bool = False
    takes_memory_below: bool = False
    is_bounded: bool = False

    @property
    def has_memory(self) -> bool:
        """Whether the cell carries a memory vector."""
        return self.memory_size > 0

    @property
    def kernel_gates(self) -> int:
        """The width of the kernel, in multiples of `units`: `gates`, less one with a split gate."""
        return self.gates - (self.split_gate is not None)

    def parameter_shapes(self, units: int) -> dict[str, tuple[int, ...]]:
        """Returns the shapes of the parameters of one layer by their names."""
        return {one.name: tuple(size * units for size in one.shape) for one in self.parameters}

    def product_kernel(self, kernel: tf.Tensor, own: int) -> tf.Tensor:
        """Returns the kernel of the product W H from the kernel as it is trained.

        They differ for a cell with a split gate alone. Its columns for that gate appear twice: once
        with zeros in place of the rows of the own hidden vector, and once, at the end, with zeros
        in place of all others. So the engine computes the two parts as one product.

        Args:
          kernel: The kernels, `[layers | 1, vectors * units, kernel_gates * units]`.
          own: The index of the own hidden vector in H.

        Returns:
          `[layers | 1, vectors * units, gates * units]`.
        """
        if self.split_gate is None:
            return kernel
        units = kernel.shape[-1] // self.kernel_gates
        gates = tf.split(kernel, self.kernel_gates, axis=-1)
        row = tf.range(kernel.shape[1])[:, None]
        is_own = (row >= own * units) & (row < (own + 1) * units)
        split, zeros = gates[self.split_gate], tf.zeros_like(gates[self.split_gate])
        gates[self.split_gate] = tf.where(is_own, zeros, split)
        return tf.concat([*gates, tf.where(is_own, split, zeros)], axis=-1)


class _Differentiated:
    """The passes of a cell by its function, whose gradients are those of a tape.

    Args:
      function: The function, as `differentiated_cell` takes it.
    """

    def __init__(self, function: Callable[..., tuple[tf.Tensor, tf.Tensor]]):
        self._function = function

    def forward(
        self,
        preactivations: tf.Tensor,
        bias: tf.Tensor,
        memory: tf.Tensor,
        values: Parameters,
        _: OutputEquation,
    ) -> CellOutput:
        """Computes the new vectors; see `Forward`."""
        z = tf.cast(preactivations, memory.dtype) + tf.cast(bias, memory.dtype)
        hidden, new_memory = self._function(z, memory, *_cast_all(values, memory.dtype))
        dtype = preactivations.dtype
        return CellOutput(
            hidden=tf.cast(hidden, dtype), memory=new_memory, activations=tf.cast(z, dtype)
        )

    def backward(
        self,
        activations: tf.Tensor,
        memory: tf.Tensor,
        values: Parameters,
        d_hidden: tf.Tensor,
        d_memory: tf.Tensor,
        _: OutputEquation,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the gradients of z and of the memory; see `Backward`."""
        z, values = tf.cast(activations, memory.dtype), _cast_all(values, memory.dtype)
        d_z, d_old_memory = self._gradients([z, memory], z, memory, values, d_hidden, d_memory)
        return tf.cast(d_z, activations.dtype), d_old_memory

    def parameter_gradients(
        self,
        activations: tf.Tensor,
        memory: tf.Tensor,
        values: Parameters,
        d_hidden: tf.Tensor,
        d_memory: tf.Tensor,
        _: OutputEquation,
    ) -> Parameters:
        """Computes the gradients of the parameters; see `ParameterGradients`."""
        z, values = tf.cast(activations, memory.dtype), _cast_all(values, memory.dtype)
        return tuple(self._gradients(list(values), z, memory, values, d_hidden, d_memory))

    def _gradients(
        self,
        sources: list[tf.Tensor],
        z: tf.Tensor,
        memory: tf.Tensor,
        values: Parameters,
        d_hidden: tf.Tensor,
        d_memory: tf.Tensor,
    ) -> list[tf.Tensor]:
        """Computes the gradients of some of the function's arguments, the sources."""
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs = self._function(z, memory, *values)
        return tape.gradient(
            outputs,
            sources,
            [tf.cast(d_hidden, memory.dtype), d_memory],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )


def differentiated_cell(
    name: str,
    gates: int,
    memory_size: int,
    function: Callable[..., tuple[tf.Tensor, tf.Tensor]],
    parameters: tuple[CellParameter, ...] = (),
    forget_gate: int | None = None,
    split_gate: int | None = None,
    memory_is_hidden: bool = False,
    is_bounded: bool = False,
) -> Cell:
    """Returns a cell whose backward pass is autodiff of its forward pass.

    The residual is z = W H + b, from which the backward pass evaluates the function again under a
    `tf.GradientTape`, inside the compiled gates. A hand-written backward pass is faster where it
    can use the values of the gates. The function computes h' itself, so that the grid's
    `output_equation`, which is that of the LSTM cell, does not apply to such a cell.

    >>> def leaky(z, memory, rate):  # m' = m + a (tanh(z) - m), with a trained rate a
    ...     new = memory + tf.sigmoid(rate) * (tf.tanh(z) - memory)
    ...     return new, new
    >>> rate = CellParameter("rate", shape=(1,))
    >>> differentiated_cell("leaky", 1, 1, leaky, (rate,)).parameter_shapes(units=8)
    {'rate': (8,)}

    Args:
      name: The name of the cell.
      gates: The number of vectors in z.
      memory_size: The width of the memory vector, in multiples of `units`; 0 for no memory.
      function: Maps z, `[..., gates * units]`, m, `[..., memory_size * units]`, and the parameters,
        one argument each (see `Parameters`), to h' and m'. A cell without a memory gets and returns
        a tensor of width 0.
      parameters: The cell's own trainable parameters. Default: none.
      forget_gate: The index of the gate whose bias starts at `forget_bias`. Default: none.
      split_gate: The index of the gate whose product is split; see `Cell`. Default: none.
      memory_is_hidden: Whether the memory is the hidden vector itself. Default False.
      is_bounded: Whether every component of h' lies within [-1, 1]. Default False.
    """
    differentiated = _Differentiated(function)
    return Cell(
        name=name,
        gates=gates,
        memory_size=memory_size,
        forward=differentiated.forward,
        backward=differentiated.backward,
        parameters=parameters,
        parameter_gradients=differentiated.parameter_gradients if parameters else None,
        forget_gate=forget_gate,
        split_gate=split_gate,
        memory_is_hidden=memory_is_hidden,
        is_bounded=is_bounded,
    )


def _cast_all(values: Parameters, dtype: tf.DType) -> Parameters:
    return tuple(tf.cast(one, dtype) for one in values)
