"""The format of the examples: what ExampleGen writes and every later stage reads.

    Split-train/data_tfrecord-00000-of-00012     tf.train.Example records in the corpus's order
    Split-train/index.json                       what each shard holds

Each record is a block of consecutive text of one source, with its provenance:

    text      bytes   the block; no UTF-8 code point is cut in two
    source    bytes   the source it is from
    offset    int64   of its first byte in that source
"""

import json
import os
from typing import NamedTuple

import tensorflow as tf

from model.errors import InputError
from pipeline.artifacts import read_text

SPLITS = ("train", "eval")
SHARD_PREFIX = "data_tfrecord-"


class Shard(NamedTuple):
    """What one shard holds.

    Attributes:
      name: its file name.
      records: number of records.
      bytes: number of bytes of text.
      code_points: number of bytes that do not continue a UTF-8 sequence, which in valid UTF-8 is
        the number of code points.
    """

    name: str
    records: int
    bytes: int
    code_points: int


def split_directory(examples: str, split: str) -> str:
    """The directory of a split."""
    return os.path.join(examples, f"Split-{split}")


def shard_name(index: int, count: int) -> str:
    """The file name of a shard."""
    return f"{SHARD_PREFIX}{index:05d}-of-{count:05d}"


def serialize(text: bytes, source: str, offset: int) -> bytes:
    """One record."""
    example = tf.train.Example()
    feature = example.features.feature
    feature["text"].bytes_list.value.append(text)
    feature["source"].bytes_list.value.append(source.encode("utf-8", "surrogateescape"))
    feature["offset"].int64_list.value.append(offset)
    return example.SerializeToString()


def parse(record: bytes) -> tuple[bytes, str, int]:
    """Text, source and offset of one record."""
    feature = tf.train.Example.FromString(record).features.feature
    return (
        feature["text"].bytes_list.value[0],
        feature["source"].bytes_list.value[0].decode("utf-8", "surrogateescape"),
        feature["offset"].int64_list.value[0],
    )


def parse_text(record: tf.Tensor) -> tf.Tensor:
    """The text of one record, in a graph."""
    return tf.io.parse_single_example(record, {"text": tf.io.FixedLenFeature([], tf.string)})[
        "text"
    ]


def index_text(shards: list[Shard]) -> str:
    """The content of an index file."""
    return json.dumps([shard._asdict() for shard in sorted(shards)], indent=1) + "\n"


def read_index(examples: str, split: str) -> list[Shard]:
    """The shards of a split, in order.

    Raises:
      InputError: if there is no such split.
    """
    path = os.path.join(split_directory(examples, split), "index.json")
    if not tf.io.gfile.exists(path):
        raise InputError(f"{examples} has no split {split}; give the directory of an ExampleGen")
    return [Shard(**entry) for entry in json.loads(read_text(path))]


def shard_paths(examples: str, split: str) -> list[str]:
    """The paths of the shards of a split, in order."""
    directory = split_directory(examples, split)
    return [os.path.join(directory, shard.name) for shard in read_index(examples, split)]
