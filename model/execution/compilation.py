"""How a net is compiled."""

import functools
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import tensorflow as tf


class Compilation(NamedTuple):
    """How a net is compiled.

    Attributes:
      whole: the caller compiles all of it with XLA, so shapes must be static and hyperplanes are
        padded to the same size.
      gates: compile the arithmetic of the gates with XLA, and leave products to the library that
        TensorFlow uses on its own.
      parts: groups of batch rows that run side by side, for cores that a single step of a small net
        cannot keep busy. With `whole` it is for the caller to run a program for each.
      ahead: each step of a loop reads what the next one needs; see `Reading`.
    """

    whole: bool = False
    gates: bool = True
    parts: int = 1
    ahead: bool = False


GATES = Compilation()


class Split(NamedTuple):
    """How the rows of a batch are split into groups that run side by side."""

    sizes: tuple[int | None, ...]

    @classmethod
    def of(cls, batch: int | None, parts: int) -> "Split":
        """At most `parts` groups, of nearly equal size; one where the batch is not known."""
        count = 1 if batch is None else min(parts, batch)
        return cls(
            (None,) if batch is None else tuple((batch + at) // count for at in range(count))
        )

    def parts(self, tensor: tf.Tensor | None, axis: int) -> list[tf.Tensor | None]:
        """The groups' parts of a tensor; None stays None."""
        if tensor is None or len(self.sizes) == 1:
            return [tensor] * len(self.sizes)
        return tf.split(tensor, self.sizes, axis=axis)


class Reading:
    """What the steps of a loop read from arrays.

    XLA's code for a CPU takes a slice apart wherever it is used and looks up the place of each
    number again, which takes several times as long as the arithmetic on it. The variables of a loop
    are in one piece: so a step ends with reading, into one of them, what the next step needs. An
    accelerator hides the look-up, and pays for the copy.
    """

    def __init__(self, read: Callable[[tf.Tensor], Any], compilation: Compilation):
        """Takes what to read by the number of a step, and how the loop is compiled."""
        self._read = read
        self._ahead = compilation.ahead

    def ahead(self, step: tf.Tensor) -> Any:
        """What a step needs, for a variable of the loop; () where it reads that itself."""
        return self._read(step) if self._ahead else ()

    def now(self, step: tf.Tensor, held: Any) -> Any:
        """What a step needs, which may be held in the variable."""
        return held if self._ahead else self._read(step)


@functools.cache
def compiled(function: Callable, compilation: Compilation, *bound: Hashable) -> Callable:
    """The arithmetic of gates, with its first arguments bound, compiled as it is to be.

    Cached, so that all nets with the same equations share what is compiled.
    """
    if bound:
        function = functools.partial(function, *bound)
    if compilation.whole or not compilation.gates:
        return function
    return tf.function(function, autograph=False, jit_compile=True)
