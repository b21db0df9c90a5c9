"""Mogrifier gating of the rows of a hyperplane, and its gradient; see `grid.mogrifier`."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from ..mogrifier import MogrifierRound, concat_others, gate, mogrify
from .products import Products
from .schedule import Schedule


class RoundGradients(NamedTuple):
    """What the backward pass saves of a round, for the gradients of its kernels; or arrays of that.

    Attributes:
      others: The hidden vectors that gated, `[rows, batch, (dimensions - 1) * units]`.
      low: Their product with the kernel `down`, `[rows, batch, rank]`.
      d_low: The gradient of that product.
      d_preactivation: The gradient of its product with the kernel `up`, `[rows, batch, units]`.
    """

    others: tf.Tensor
    low: tf.Tensor
    d_low: tf.Tensor
    d_preactivation: tf.Tensor


class Mogrifier:
    """Gates the hidden vectors of the rows of a hyperplane by each other.

    Args:
      rounds: The weights of the rounds, in their order.
      targets: The dimension that each round gates.
      dtype: The dtype of the products.
      schedule: The schedule of the grid.
      jits_step: Whether the products are part of an XLA program.
    """

    def __init__(
        self,
        rounds: Sequence[MogrifierRound],
        targets: Sequence[int],
        dtype: tf.DType,
        schedule: Schedule,
        jits_step: bool,
    ):
        self._targets = targets
        self._down, self._up = (
            [Products(kernel, dtype, schedule, jits_step) for kernel in kernels]
            for kernels in zip(*rounds, strict=True)
        )

    def forward(self, hyperplane: tf.Tensor, hidden: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """Returns the gated hidden vectors of all dimensions, `[rows, batch, units]` each."""

        def preactivation(number: int, others: tf.Tensor) -> tf.Tensor:
            low = self._down[number].forward(hyperplane, others)
            return self._up[number].forward(hyperplane, low)

        return mogrify(hidden, self._targets, preactivation)

    def backward(
        self, hyperplane: tf.Tensor, hidden: Sequence[tf.Tensor], d_gated: Sequence[tf.Tensor]
    ) -> tuple[list[tf.Tensor], tuple[RoundGradients, ...]]:
        """Computes the gradients of `forward`, whose gates are computed again.

        Args:
          hyperplane: The index of the hyperplane.
          hidden: The hidden vectors that entered.
          d_gated: The gradients of the gated vectors.

        Returns:
          The gradients of the vectors that entered, and what the gradients of the kernels need.
        """
        gated, passed = list(hidden), []
        for number, target in enumerate(self._targets):
            others = concat_others(gated, target)
            low = self._down[number].forward(hyperplane, others)
            factors = gate(self._up[number].forward(hyperplane, low))
            passed.append((others, low, factors, gated[target]))
            gated[target] *= factors
        d_hidden, gradients = list(d_gated), []
        for number, target in reversed(list(enumerate(self._targets))):
            others, low, factors, before = passed[number]
            # With s = 2 sigmoid(z), ds/dz = s (1 - s / 2).
            d_preactivation = d_hidden[target] * before * factors * (1 - factors / 2)
            d_low = self._up[number].backward(hyperplane, d_preactivation)
            d_others = self._down[number].backward(hyperplane, d_low)
            d_hidden[target] *= factors
            dimensions = [i for i in range(len(d_hidden)) if i != target]
            parts = tf.split(d_others, len(dimensions), axis=-1)
            for i, part in zip(dimensions, parts, strict=True):
                d_hidden[i] += part
            gradients.append(
                RoundGradients(others=others, low=low, d_low=d_low, d_preactivation=d_preactivation)
            )
        return d_hidden, tuple(reversed(gradients))

    def kernel_gradients(self, rows: Sequence[RoundGradients]) -> list[MogrifierRound]:
        """Computes the gradients of the kernels of all rounds.

        Args:
          rows: What `backward` returned, over the rows of all hyperplanes.
        """
        return [
            MogrifierRound(
                down=down.kernel_gradient(one.others, one.d_low),
                up=up.kernel_gradient(one.low, one.d_preactivation),
            )
            for one, down, up in zip(rows, self._down, self._up, strict=True)
        ]
