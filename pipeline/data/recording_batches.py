"""Batches of recordings as samples and labels, those of about one duration together."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from model.speech.ctc import NO_LABEL
from model.speech.wav import wav_samples
from model.speech.wav_headers import BYTES_OF_A_SAMPLE, wav_headers
from pipeline.data.recording_statistics import PERIODS_PER_SECOND
from pipeline.data.recordings import AUDIO, TRANSCRIPT
from pipeline.data.records import shard_paths
from pipeline.data.windows import without_autotune

SHUFFLED_BYTES = 1 << 28
"""Bytes of audio that are shuffled among each other; shards hold recordings in no order."""


class RecordingBatch(NamedTuple):
    """A batch of recordings.

    Attributes:
      samples: Samples, float32 `[batch, longest]`, zeros after the end of a recording.
      lengths: Number of samples of each recording, int32 `[batch]`.
      labels: Labels of each transcript, int32 `[batch, most]`, padded with `NO_LABEL`.
    """

    samples: tf.Tensor
    lengths: tf.Tensor
    labels: tf.Tensor


BATCH = RecordingBatch(
    tf.TensorSpec([None, None], tf.float32),
    tf.TensorSpec([None], tf.int32),
    tf.TensorSpec([None, None], tf.int32),
)
"""Shapes and dtypes of a batch."""


def steps_per_epoch(periods: Mapping[int, int], batch_size: int) -> int:
    """Returns the number of batches of a pass over recordings.

    >>> steps_per_epoch({1: 33, 2: 5}, batch_size=32)
    3

    Args:
      periods: Number of recordings by their number of whole periods.
      batch_size: Largest number of recordings of a batch.
    """
    return sum(-(-recordings // batch_size) for recordings in periods.values())


class RecordedSplit:
    """A split of recordings, one in each record.

    Args:
      examples: Directory of the examples.
      split: Name of the split.
      labels: The characters that are labels, in their order. Others are left out of transcripts.
      sample_rate: Number of samples per second.
    """

    def __init__(self, examples: str, split: str, labels: str, sample_rate: int):
        self._paths = shard_paths(examples, split)
        self._sample_rate = sample_rate
        initializer = tf.lookup.KeyValueTensorInitializer(list(labels), tf.range(len(labels)))
        self._ids = tf.lookup.StaticHashTable(initializer, NO_LABEL)

    def training_batches(
        self, batch_size: int, seed: int, epoch: int, mean_bytes: float
    ) -> tf.data.Dataset:
        """Returns the batches of one pass, in an order that the seeds and the pass decide.

        The seeds are this one and TensorFlow's global one.

        Args:
          batch_size: Largest number of recordings of a batch.
          seed: Seed of the training.
          epoch: Number of the pass, from 0.
          mean_bytes: Mean number of bytes of a recording, which bounds how many are shuffled.

        Returns:
          A dataset of `RecordingBatch`es, as tuples.
        """
        generator = np.random.default_rng([seed, epoch])
        paths = [self._paths[place] for place in generator.permutation(len(self._paths))]
        shuffled = tf.data.TFRecordDataset(paths).shuffle(
            max(1, int(SHUFFLED_BYTES / mean_bytes)),
            seed=int(generator.integers(1 << 31)),
            reshuffle_each_iteration=False,
        )
        return self._batches(shuffled, batch_size)

    def evaluation_batches(self, batch_size: int) -> tf.data.Dataset:
        """Returns all recordings once, as a dataset of `RecordingBatch`es.

        Args:
          batch_size: Largest number of recordings of a batch.
        """
        return self._batches(tf.data.TFRecordDataset(self._paths), batch_size)

    def _batches(self, records: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        def batch(_: tf.Tensor, window: tf.data.Dataset) -> tf.data.Dataset:
            no_label = tf.constant(NO_LABEL, tf.int32)
            values = (tf.constant(0.0), tf.constant(0), no_label)
            decoded = window.map(self._decode)
            return decoded.padded_batch(batch_size, ([None], [], [None]), values)

        # What waits for others of its duration does so as the bytes of its file.
        batches = records.group_by_window(self._periods, batch, window_size=batch_size)
        return without_autotune(batches.prefetch(2))

    def _periods(self, record: tf.Tensor) -> tf.Tensor:
        """Returns the number of whole periods of a record's audio, int64."""
        features = {AUDIO: tf.io.FixedLenFeature([], tf.string)}
        audio = tf.io.parse_single_example(record, features)[AUDIO]
        samples = wav_headers(audio[None]).size[0] // BYTES_OF_A_SAMPLE
        return samples * PERIODS_PER_SECOND // self._sample_rate

    def _decode(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the samples of a record, their number, and the labels of its transcript."""
        features = {name: tf.io.FixedLenFeature([], tf.string) for name in (AUDIO, TRANSCRIPT)}
        parsed = tf.io.parse_single_example(record, features)
        audio = parsed[AUDIO][None]
        samples = wav_samples(audio, wav_headers(audio))
        labels = self._ids.lookup(tf.strings.unicode_split(parsed[TRANSCRIPT], "UTF-8"))
        return samples.values[0], samples.lengths[0], labels[labels != NO_LABEL]
