"""Shards of a batch that run side by side: nothing connects them but the weights."""

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class BatchShards:
    """Splits a batch into shards of nearly equal size.

    Attributes:
      sizes: The number of batch rows of each shard; None for the one shard of a batch whose size is
        not known.
    """

    sizes: tuple[int | None, ...]

    @classmethod
    def create(cls, batch: int | None, count: int) -> "BatchShards":
        """Returns at most `count` shards; one where the size of the batch is not known."""
        if batch is None:
            return cls((None,))
        count = min(count, batch)
        return cls(tuple((batch + shard) // count for shard in range(count)))

    @property
    def count(self) -> int:
        """The number of shards."""
        return len(self.sizes)

    def split(self, structure: Any, axis: int) -> list[Any]:
        """Splits the tensors of a structure along their batch axis, a structure per shard.

        None, which stands for an absent tensor, stays None.
        """
        if self.count == 1:
            return [structure]
        parts = [
            [None] * self.count if tensor is None else tf.split(tensor, self.sizes, axis=axis)
            for tensor in tf.nest.flatten(structure)
        ]
        return [
            tf.nest.pack_sequence_as(structure, list(shard)) for shard in zip(*parts, strict=True)
        ]

    def map(self, function: Callable[..., Any], *arguments: tuple[Any, int]) -> list[Any]:
        """Calls a function for each shard.

        Args:
          function: The function; its arguments are the shards of `arguments`.
          *arguments: Pairs of a structure of tensors and the batch axis of these.

        Returns:
          The results, one for each shard.
        """
        shards = [self.split(structure, axis) for structure, axis in arguments]
        return [function(*shard) for shard in zip(*shards, strict=True)]


def concat_shards(results: list[Any], axis: int) -> Any:
    """Concatenates the tensors of equal structures along their batch axis."""
    if len(results) == 1:
        return results[0]
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=axis), *results)
