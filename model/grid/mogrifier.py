"""Mogrifier gating: the hidden vectors that enter a block gate each other before its cells.

Melis, Kočiský, Blunsom, "Mogrifier LSTM" (arXiv 1909.01792), section 2, where an LSTM's input and
its old hidden vector gate each other in rounds. In a block of a grid all dimensions take part.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf


class MogrifierRound(NamedTuple):
    """The weights of one round: a kernel of low rank, as the product of two.

    Attributes:
      down: The kernel from the other hidden vectors,
        `[layers | 1, (dimensions - 1) * units, rank]`.
      up: The kernel to the gate, `[layers | 1, rank, units]`.
    """

    down: tf.Tensor
    up: tf.Tensor


def mogrifier_targets(dimensions: int, rounds: int) -> tuple[int, ...]:
    """Returns the dimension whose hidden vector each round gates: depth first, then by turns.

    >>> mogrifier_targets(dimensions=2, rounds=5)
    (1, 0, 1, 0, 1)
    """
    return tuple((number - 1) % dimensions for number in range(rounds))


def mogrify(
    hidden: Sequence[tf.Tensor],
    targets: Sequence[int],
    preactivation: Callable[[int, tf.Tensor], tf.Tensor],
) -> tuple[tf.Tensor, ...]:
    """Gates the hidden vectors of a block's dimensions by each other.

    In round r, whose target is dimension t,

        h_t <- 2 sigmoid([h_i for i != t] down_r up_r) * h_t

    so that with kernels of zeros nothing changes.

    Args:
      hidden: The hidden vectors of all dimensions, `[..., units]`.
      targets: The dimension that each round gates.
      preactivation: Maps the number of a round and the concatenated hidden vectors of the other
        dimensions to the product with the kernels, `[..., units]`.
    """
    gated = list(hidden)
    for number, target in enumerate(targets):
        gated[target] *= gate(preactivation(number, concat_others(gated, target)))
    return tuple(gated)


def round_preactivation(
    rounds: Sequence[MogrifierRound],
) -> Callable[[int, tf.Tensor], tf.Tensor]:
    """Returns the `preactivation` of `mogrify` for the weights of one layer, without their axis."""

    def preactivation(number: int, others: tf.Tensor) -> tf.Tensor:
        down, up = (tf.cast(kernel, others.dtype) for kernel in rounds[number])
        return tf.matmul(tf.matmul(others, down), up)

    return preactivation


def gate(z: tf.Tensor) -> tf.Tensor:
    """Returns the factors 2 sigmoid(z), between 0 and 2."""
    return 2 * tf.sigmoid(z)


def concat_others(hidden: Sequence[tf.Tensor], target: int) -> tf.Tensor:
    """Returns the hidden vectors of all dimensions but one, concatenated."""
    return tf.concat([*hidden[:target], *hidden[target + 1 :]], axis=-1)


def rounds_in_order(
    by_dimension: Sequence[Sequence[MogrifierRound]], targets: Sequence[int]
) -> list[MogrifierRound]:
    """Returns the weights of the rounds in their order, from those that gate each dimension."""
    remaining = [iter(rounds) for rounds in by_dimension]
    return [next(remaining[target]) for target in targets]


def group_by_dimension(
    rounds: Sequence[MogrifierRound], targets: Sequence[int], dimensions: int
) -> list[tuple[MogrifierRound, ...]]:
    """Returns the rounds that gate each dimension, the inverse of `rounds_in_order`."""
    pairs = list(zip(rounds, targets, strict=True))
    return [tuple(one for one, target in pairs if target == i) for i in range(dimensions)]
