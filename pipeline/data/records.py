"""The format of the examples, which ExampleGen writes and every later stage reads.

    Split-train/data_tfrecord-00000-of-00012     tf.train.Example records in the corpus's order
    Split-train/index.json                       the content of each shard

Each record is a block of consecutive text of one source, with its provenance:

    text      bytes   the block; no UTF-8 code point is cut in two. After the end of a source it
                      is the newlines that `--separate_documents` adds
    source    bytes   the name of its source
    offset    int64   the offset of its first byte in that source
    length    int64   the length of the text, in bytes
    crc32c    int64   the CRC-32C of the text

This module does not import TensorFlow, so that Beam's workers need not either.
"""

import json
import os
import struct
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple, TypeVar

import google_crc32c
import proto
from google.protobuf.message import DecodeError

from common import checksums, files
from model.errors import InputError

SPLITS = ("train", "eval")
SHARD_PREFIX = "data_tfrecord-"
GATHERED = 1 << 19  # bytes hashed and written at once, while they are in the cache

__protobuf__ = proto.module(package="grid_lstm")


class _BytesList(proto.Message):
    value = proto.RepeatedField(proto.BYTES, number=1)


class _Int64List(proto.Message):
    value = proto.RepeatedField(proto.INT64, number=1)


class _Feature(proto.Message):
    bytes_list = proto.Field(_BytesList, number=1, oneof="kind")
    int64_list = proto.Field(_Int64List, number=3, oneof="kind")


class _Features(proto.Message):
    feature = proto.MapField(proto.STRING, _Feature, number=1)


class _Example(proto.Message):
    """The part of tf.train.Example that is used here."""

    features = proto.Field(_Features, number=1)


Example = _Example.pb()


class Shard(NamedTuple):
    """The content of one shard, an entry of an index.

    Attributes:
      name: File name of the shard.
      records: Number of records.
      bytes: Number of bytes of text.
      code_points: Number of bytes that do not continue a UTF-8 sequence, which in valid UTF-8 is
        the number of code points.
      invalid: Number of sequences that are not UTF-8.
      first: Source and offset of its first byte; None if it holds no text.
      last: Source and offset of the byte after its last one; None if it holds no text.
      checksum: Checksum of the file, see `common.checksums`.
    """

    name: str
    records: int
    bytes: int
    code_points: int
    invalid: int
    first: tuple[str, int] | None
    last: tuple[str, int] | None
    checksum: str


class Record(NamedTuple):
    """A record: a block of text and its provenance.

    Attributes:
      text: Block of consecutive text.
      source: Name of its source.
      offset: Offset of its first byte in that source.
    """

    text: bytes
    source: str
    offset: int

    @property
    def end(self) -> int:
        """The offset in the source of the byte after the block."""
        return self.offset + len(self.text)

    def serialize(self) -> bytes:
        """Returns the record as a tf.train.Example; equal records give equal bytes."""
        example = Example()
        feature = example.features.feature
        feature["text"].bytes_list.value.append(self.text)
        feature["source"].bytes_list.value.append(self.source.encode("utf-8", "surrogateescape"))
        feature["offset"].int64_list.value.append(self.offset)
        feature["length"].int64_list.value.append(len(self.text))
        feature["crc32c"].int64_list.value.append(google_crc32c.value(self.text))
        return example.SerializeToString(deterministic=True)

    @classmethod
    def parse(cls, serialized: bytes) -> "Record":
        """Parses a tf.train.Example, the inverse of `serialize`.

        Raises:
          ValueError: If the text is not of the length or checksum that the record states.
          IndexError: If a feature has no value.
        """
        feature = Example.FromString(serialized).features.feature
        text = feature["text"].bytes_list.value[0]
        stated = feature["length"].int64_list.value[0], feature["crc32c"].int64_list.value[0]
        if (len(text), google_crc32c.value(text)) != stated:
            raise ValueError("its text is not what its length and checksum say")
        source = feature["source"].bytes_list.value[0].decode("utf-8", "surrogateescape")
        return cls(text, source, feature["offset"].int64_list.value[0])


class RecordWriter:
    """A writer of a TFRecord file that computes its checksum on the way.

    A record is its length (8 bytes, little endian), the masked CRC-32C of that, the content, and
    the masked CRC-32C of the content. The file is complete when the context of the writer ends.
    """

    def __init__(self, file: IO[bytes]):
        """Begins a file.

        Args:
          file: File that is open for writing; the writer does not close it.
        """
        self._file = file
        self._gathered = bytearray()
        self._hash = checksums.Hash()

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(self, error_type: type | None, error: object, trace: object) -> None:
        if not error_type:
            self._flush()

    def write(self, content: bytes) -> None:
        """Appends a record."""
        length = struct.pack("<Q", len(content))
        for part in (length, _masked_crc(length), content, _masked_crc(content)):
            self._gathered += part
        if len(self._gathered) >= GATHERED:
            self._flush()

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, bytearray()
        self._hash.update(gathered)
        self._file.write(gathered)

    @property
    def checksum(self) -> str:
        """The checksum of the complete file."""
        return self._hash.checksum


def read_records(path: str) -> Iterator[Record]:
    """Yields the records of a shard, in order.

    Raises:
      InputError: At the first record that is damaged.
    """
    return parsed_records(path, Record.parse)


Parsed = TypeVar("Parsed")


def parsed_records(path: str, parse: Callable[[bytes], Parsed]) -> Iterator[Parsed]:
    """Yields what each record of a shard holds, in order.

    Args:
      path: Path of the shard.
      parse: Function that returns the content of a record, or raises a ValueError or an IndexError
        if it is damaged.

    Raises:
      InputError: At the first record that is damaged.
    """
    number, size = 0, files.stat(path).length
    with files.open_file(path, "rb") as file:
        while length := file.read(8):
            try:
                _check(length, file.read(4))
                (stated,) = struct.unpack("<Q", length)
                content = file.read(min(stated, size))
                _check(content, file.read(4))
                yield parse(content)
            except (ValueError, IndexError, struct.error, DecodeError) as error:
                raise damaged(path, f": record {number} (counted from 0)") from error
            number += 1


def _masked_crc(content: bytes) -> bytes:
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _check(content: bytes, masked_crc: bytes) -> None:
    if _masked_crc(content) != masked_crc:
        raise ValueError("a checksum does not match")


def split_directory(examples: str, split: str) -> str:
    """Returns the directory of a split."""
    return os.path.join(examples, f"Split-{split}")


def shard_name(index: int, count: int) -> str:
    """Returns the file name of a shard."""
    return f"{SHARD_PREFIX}{index:05d}-of-{count:05d}"


def _number_of(name: str) -> int:
    """Returns the number of a shard, by which shards are in order also beyond five digits."""
    return int(name.removeprefix(SHARD_PREFIX).partition("-")[0])


def index_text(shards: list[Shard]) -> str:
    """Returns the content of an index file."""
    in_order = sorted(shards, key=lambda shard: _number_of(shard.name))
    return json.dumps([shard._asdict() for shard in in_order], indent=1) + "\n"


def read_index(examples: str, split: str) -> list[Shard]:
    """Reads the index of a split.

    Args:
      examples: Directory of the examples.
      split: Name of the split.

    Returns:
      The shards, in order.

    Raises:
      InputError: If there is no such split, or its index is damaged.
    """
    path = os.path.join(split_directory(examples, split), "index.json")
    if not files.exists(path):
        raise InputError(f"{examples} has no split {split}; give the directory of an ExampleGen")
    try:
        return [_shard(entry) for entry in json.loads(files.read_text(path))]
    except (ValueError, TypeError, AttributeError) as error:
        raise damaged(path) from error


def _shard(entry: dict[str, Any]) -> Shard:
    """Returns a shard from its entry in an index."""
    # JSON has no tuples, and earlier versions named the algorithm in the key.
    if "sha256" in entry:
        entry["checksum"] = f"sha256:{entry.pop('sha256')}"
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()
    }
    return Shard(**fields)


def damaged(path: str, what: str = "") -> InputError:
    """Returns the error for a damaged file of an artifact.

    Args:
      path: Path of the file.
      what: Clause that names the damaged part of it, such as ": record 3". Default: empty.
    """
    return InputError(
        f"{path}{what} is damaged; remove its artifact with `python -m pipeline verify --remove`, "
        "and run the stage again"
    )


def shard_path(examples: str, split: str, shard: Shard) -> str:
    """Returns the path of a shard."""
    return os.path.join(split_directory(examples, split), shard.name)


def shard_paths(examples: str, split: str) -> list[str]:
    """Returns the paths of the shards of a split, in order."""
    return [shard_path(examples, split, shard) for shard in read_index(examples, split)]


def describe_damage(path: str) -> str:
    """Describes which record of a damaged shard is the first that cannot be read.

    Args:
      path: Path of a damaged file of any artifact.

    Returns:
      A clause that continues the sentence about the file; empty for a file that is no shard.
    """
    if not os.path.basename(path).startswith(SHARD_PREFIX) or not files.exists(path):
        return ""
    whole = 0
    try:
        for _ in parsed_records(path, bytes):
            whole += 1
    except InputError:
        return f": record {whole} (counted from 0) is damaged"
    return f": its {whole} records are complete, but others were written"
