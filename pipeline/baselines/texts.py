"""The text that baselines read: a bounded part of each split, in the characters of a vocabulary."""

from itertools import accumulate
from typing import NamedTuple

import numpy as np

from model.text.vocabulary import Vocabulary
from pipeline.data.counts import codes_of
from pipeline.data.records import read_index, read_records, shard_path


class SplitText(NamedTuple):
    """The text of a split, or a part of it, without the characters that the vocabulary lacks.

    The Evaluator does not count those either.

    Attributes:
      ids: Ids of the characters, int32 `[characters]`.
      left_out: Number of characters of the split beyond the limit.
    """

    ids: np.ndarray
    left_out: int


def read_text(
    examples: str, split: str, vocabulary: Vocabulary, limit: int, from_end: bool = False
) -> SplitText:
    """Reads the text of a split.

    Args:
      examples: Directory of the examples.
      split: Name of the split.
      vocabulary: Vocabulary of the training split.
      limit: Most characters to read; of a longer split the first ones.
      from_end: Whether to read the last characters of a longer split in place of the first ones.
        Default False.

    Raises:
      InputError: If there is no such split, or a record is damaged.
    """
    shards = read_index(examples, split)
    sizes = [shard.bytes if vocabulary.unit == "bytes" else shard.code_points for shard in shards]
    total = sum(sizes)
    start = max(0, total - limit) if from_end else 0
    end = min(start + limit, total)
    table = _id_table(vocabulary)
    pieces = [np.zeros(0, np.int32)]
    for size, shard, stop in zip(sizes, shards, accumulate(sizes), strict=True):
        place = stop - size
        if stop <= start or place >= end:
            continue
        for record in read_records(shard_path(examples, split, shard)):
            codes = codes_of(record.text, vocabulary.unit)
            ids = np.take(table, codes[max(start - place, 0) : max(end - place, 0)], mode="clip")
            pieces.append(ids[ids < vocabulary.size])
            place += len(codes)
    return SplitText(np.concatenate(pieces), total - (end - start))


def _id_table(vocabulary: Vocabulary) -> np.ndarray:
    """Returns the id of each code; its last entry, that of all larger codes, is no id."""
    table = np.full(max(vocabulary.code_points) + 2, vocabulary.size, np.int32)
    table[list(vocabulary.code_points)] = np.arange(vocabulary.size)
    return table
