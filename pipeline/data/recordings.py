"""The format of recordings, which ExampleGen writes where the task is recognition.

Shards and indexes are those of `pipeline.data.records`; each record is one recording:

    audio        bytes   the content of its WAV file
    transcript   bytes   what is said in it, in UTF-8
    source       bytes   the name of the file
    crc32c       int64   the CRC-32C of the audio

This module does not import TensorFlow, so that Beam's workers need not either.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import google_crc32c

from pipeline.data.records import Example, parsed_records, shard_paths

AUDIO = "audio"
TRANSCRIPT = "transcript"


class Recording(NamedTuple):
    """A recording and what is said in it.

    Attributes:
      audio: Content of its WAV file.
      transcript: What is said.
      source: Name of the file.
    """

    audio: bytes
    transcript: str
    source: str

    @property
    def shown(self) -> str:
        """The name of the file in one line, whatever bytes it has."""
        name = self.source.encode("utf-8", "backslashreplace").decode()
        return " ".join(name.split())

    def serialize(self) -> bytes:
        """Returns the recording as a tf.train.Example; equal recordings give equal bytes."""
        example = Example()
        feature = example.features.feature
        feature[AUDIO].bytes_list.value.append(self.audio)
        feature[TRANSCRIPT].bytes_list.value.append(self.transcript.encode("utf-8"))
        feature["source"].bytes_list.value.append(self.source.encode("utf-8", "surrogateescape"))
        feature["crc32c"].int64_list.value.append(google_crc32c.value(self.audio))
        return example.SerializeToString(deterministic=True)

    @classmethod
    def parse(cls, serialized: bytes) -> "Recording":
        """Parses a tf.train.Example, the inverse of `serialize`.

        Raises:
          ValueError: If the audio does not have the checksum that the record states.
          IndexError: If a feature has no value.
        """
        feature = Example.FromString(serialized).features.feature
        audio = feature[AUDIO].bytes_list.value[0]
        if google_crc32c.value(audio) != feature["crc32c"].int64_list.value[0]:
            raise ValueError("its audio is not what its checksum says")
        transcript = feature[TRANSCRIPT].bytes_list.value[0].decode("utf-8")
        source = feature["source"].bytes_list.value[0].decode("utf-8", "surrogateescape")
        return cls(audio, transcript, source)


def read_recordings(path: str) -> Iterator[Recording]:
    """Yields the recordings of a shard, in order.

    Raises:
      InputError: At the first record that is damaged.
    """
    return parsed_records(path, Recording.parse)


CHECKED_AT_ONCE = 64
"""Number of recordings that are decoded at once, which is faster than one by one."""

CHECKED_BYTES = 1 << 24
"""Bytes of audio after which fewer are."""


def gathered(
    recordings: Iterable[Recording], at_once: int = CHECKED_AT_ONCE
) -> Iterator[list[Recording]]:
    """Yields recordings in lists of bounded size, in order.

    Args:
      recordings: The recordings.
      at_once: Largest number of recordings of a list. Default 64.
    """
    part: list[Recording] = []
    size = 0
    for one in recordings:
        part.append(one)
        size += len(one.audio)
        if len(part) == at_once or size >= CHECKED_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def first_recordings(examples: str, split: str, count: int) -> Iterator[Recording]:
    """Yields the first recordings of a split.

    Args:
      examples: Directory of the examples.
      split: Name of the split.
      count: Largest number of recordings.
    """
    shards = map(read_recordings, shard_paths(examples, split))
    return itertools.islice(itertools.chain.from_iterable(shards), count)
