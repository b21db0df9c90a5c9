"""How a net is compiled: by XLA as a whole, in its gates alone, or not at all."""

import functools
from collections.abc import Callable, Hashable
from typing import Any, Literal, NamedTuple

import tensorflow as tf
from tensorflow.python.ops import control_flow_util  # tells, as `tf.function` asks it, of XLA

Jit = Literal["step", "gates", "none"]
"""Which part of a training step is compiled by XLA."""


class Compilation(NamedTuple):
    """How a net is compiled.

    Attributes:
      jit: "step" if the caller compiles the whole step with XLA: shapes are then static, and
        hyperplanes are padded to the same size. "gates" to compile the arithmetic of the gates
        alone, and leave products to the library that TensorFlow uses by itself. "none" for no XLA.
      batch_shards: The number of shards of the batch that run side by side, for cores that a single
        step of a small net cannot keep busy. With "step" the caller runs a program for each.
      prefetch: Whether each step of a loop reads what the next step needs; see `Prefetch`.
      vectorizes: Whether the graph may come into `tf.vectorized_map` or `tf.GradientTape.jacobian`,
        which TensorFlow vectorises, and fails to where entries of an array differ in size; see
        `grid.wavefront.residuals.concat_rows`.
    """

    jit: Jit = "gates"
    batch_shards: int = 1
    prefetch: bool = False
    vectorizes: bool = True

    @property
    def jits_step(self) -> bool:
        """Whether the whole step is one XLA program."""
        return self.jit == "step"


GATES = Compilation(jit="gates")
OPERATIONS = Compilation(jit="none")


def is_in_xla() -> bool:
    """Returns whether what is called now becomes part of an XLA program.

    >>> tf.function(is_in_xla, jit_compile=True)(), is_in_xla()
    (<tf.Tensor: shape=(), dtype=bool, numpy=True>, False)
    """
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


class Prefetch:
    """Reads what the steps of a loop need from arrays, one step ahead where that is faster.

    XLA's code for a CPU takes a slice apart wherever it is used and looks up the place of each
    number again, which takes several times as long as the arithmetic on it. The variables of a loop
    are contiguous: so a step ends by reading, into one of them, what the next step needs. An
    accelerator hides the look-up, and pays for the copy.

    Args:
      read: Reads what a step needs, from the number of the step.
      compilation: How the loop is compiled; its `prefetch` says whether to read ahead.
    """

    def __init__(self, read: Callable[[tf.Tensor], Any], compilation: Compilation):
        self._read = read
        self._prefetches = compilation.prefetch

    def next(self, step: tf.Tensor | int) -> Any:
        """Returns what a step needs, for a variable of the loop; () without prefetching."""
        return self._read(step) if self._prefetches else ()

    def current(self, step: tf.Tensor, prefetched: Any) -> Any:
        """Returns what a step needs: the variable of the loop, or read now."""
        return prefetched if self._prefetches else self._read(step)


@functools.cache
def compiled(function: Callable, compilation: Compilation, *bound: Hashable) -> Callable:
    """Returns a function of gates with its first arguments bound, compiled as it is to be.

    The result is cached, so that all nets with the same equations share what is compiled.
    """
    if bound:
        function = functools.partial(function, *bound)
    if compilation.jit != "gates":
        return function
    return tf.function(function, autograph=False, jit_compile=True)
