"""Windows: the records of a split as parallel streams of character ids, read on demand.

A split of n characters becomes `streams` contiguous streams of equal length. Row b of every window
continues row b of the window before it, so a recurrent state carries over.
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from common.files import is_local
from model.text.code_points import TextVocabulary
from model.text.vocabulary import PADDING
from pipeline.data.records import read_index, shard_path

READ_AT_ONCE = 1 << 14  # characters of each stream
TAKEN_AT_ONCE = 1 << 16
"""Characters taken from tf.data at a time, but at least a window of each stream."""


@dataclasses.dataclass(frozen=True)
class StreamedSplit:
    """A split of the examples that is read as parallel streams.

    Attributes:
      paths: Paths of its shards, in order.
      starts: Position in the split of each shard's first character.
      total: Number of characters in all shards.
      vocabulary: Vocabulary that maps characters to ids.
    """

    paths: tuple[str, ...]
    starts: tuple[int, ...]
    total: int
    vocabulary: TextVocabulary

    @classmethod
    def open(cls, examples: str, split: str, vocabulary: TextVocabulary) -> "StreamedSplit":
        """Reads the index of a split, and none of its text.

        Args:
          examples: Directory of the examples.
          split: Name of the split.
          vocabulary: Vocabulary that maps characters to ids.
        """
        paths, starts, total = [], [], 0
        for shard in read_index(examples, split):
            paths.append(shard_path(examples, split, shard))
            starts.append(total)
            total += shard.bytes if vocabulary.unit == "bytes" else shard.code_points
        return cls(tuple(paths), tuple(starts), total, vocabulary)

    def training_windows(
        self, streams: int, window: int, start: int = 0, rows: range | None = None
    ) -> tf.data.Dataset:
        """Returns the windows of one epoch, from number `start` on.

        Args:
          streams: Number of streams.
          window: Characters per window.
          start: Number of the first window, counted from 0.
          rows: Streams to read; None (the default) for all.

        Returns:
          `windows_per_epoch() - start` times ids `[rows, window]`, int32. A rest that does not fill
          a window in every stream is left out.
        """
        count = self.windows_per_epoch(streams, window) - start
        length = self.total // streams
        return self._windows(rows or range(streams), length, window, start * window, count)

    def windows_per_epoch(self, streams: int, window: int) -> int:
        """Returns the number of windows of an epoch."""
        return self.total // streams // window

    def evaluation_windows(
        self, streams: int, window: int, characters: int = 0, rows: range | None = None
    ) -> tuple[tf.data.Dataset, int]:
        """Returns windows that hold every character once.

        Args:
          streams: Number of streams.
          window: Characters per window.
          characters: Number of characters from the beginning of the split; 0 (the default) for
            all.
          rows: Streams to read; None (the default) for all.

        Returns:
          Ids `[rows, window]`, int32, `PADDING` at places without a character; and the number of
          windows.
        """
        limited = dataclasses.replace(self, total=min(self.total, characters or self.total))
        length = -(-limited.total // streams)
        count = -(-length // window)
        return limited._windows(rows or range(streams), length, window, 0, count), count

    def _windows(
        self, rows: range, length: int, window: int, skip: int, count: int
    ) -> tf.data.Dataset:
        """Returns `count` windows of streams of `length` characters, `skip` of them left out.

        Many windows of a stream are read at a time, as the overhead of tf.data per element is that
        of copying thousands of characters. Remote streams are all read in parallel, as each read
        has a latency. The text before a stream in its first shard is measured and not decoded.
        """
        windows_per_read = max(1, min(count, READ_AT_ONCE // window))
        paths, starts = tf.constant(self.paths), tf.constant(self.starts, tf.int64)
        size = windows_per_read * window
        unit = "BYTE" if self.vocabulary.unit == "bytes" else "UTF8_CHAR"
        padding = tf.data.Dataset.from_tensors(tf.fill([size], PADDING)).repeat()

        def stream(number: tf.Tensor) -> tf.data.Dataset:
            first = tf.minimum(number * length + skip, self.total)
            last = tf.minimum((number + 1) * length, self.total)
            shard = tf.searchsorted(starts, first[None], side="right")[0] - 1

            def place(position: tf.Tensor, text: tf.Tensor) -> tuple[tf.Tensor, Any]:
                end = position + tf.cast(tf.strings.length(text, unit), tf.int64)
                return end, (position, end, text)

            def cut(position: tf.Tensor, end: tf.Tensor, text: tf.Tensor) -> tf.Tensor:
                low, high = (
                    tf.clip_by_value(one, position, end) - position for one in (first, last)
                )
                return self.vocabulary.encode_scalar(text)[low:high]

            return (
                tf.data.TFRecordDataset(paths[shard:])
                .map(_text_of)
                .scan(starts[shard], place)
                .take_while(lambda position, *_: position < last)
                .filter(lambda _, end, __: end > first)
                .map(cut)
                .rebatch(size)
                .map(lambda ids: tf.pad(ids, [[0, size - tf.size(ids)]], constant_values=PADDING))
                .concatenate(padding)
            )

        def windows(ids: tf.Tensor) -> tf.data.Dataset:
            parts = tf.reshape(ids, [len(rows), windows_per_read, window])
            return tf.data.Dataset.from_tensor_slices(tf.transpose(parts, [1, 0, 2]))

        return (
            tf.data.Dataset.range(rows.start, rows.stop)
            .interleave(
                stream,
                cycle_length=len(rows),
                block_length=1,
                num_parallel_calls=None if all(map(is_local, self.paths)) else len(rows),
            )
            .batch(len(rows), drop_remainder=True)
            .flat_map(windows)
            .take(count)
        )


def read_ahead(windows: tf.data.Dataset) -> Iterator[np.ndarray]:
    """Yields windows `[rows, window]` in order, several at a time: `[several, rows, window]`.

    The next ones are read while these are used.
    """
    several = max(1, TAKEN_AT_ONCE // math.prod(windows.element_spec.shape))
    return without_autotune(windows.batch(several).prefetch(1)).as_numpy_iterator()


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Returns a dataset without the autotuning of tf.data, for pipelines it cannot improve.

    With few cores the tuning delays the end of an iterator, with a single one by seconds.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _text_of(record: tf.Tensor) -> tf.Tensor:
    """Parses the text of one record."""
    return tf.io.parse_single_example(record, {"text": tf.io.FixedLenFeature([], tf.string)})[
        "text"
    ]
