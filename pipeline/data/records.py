"""The format of the examples: what ExampleGen writes and every later stage reads.

    Split-train/data_tfrecord-00000-of-00012     tf.train.Example records in the corpus's order
    Split-train/index.json                       what each shard holds

Each record is a block of consecutive text of one source, with its provenance:

    text      bytes   the block; no UTF-8 code point is cut in two
    source    bytes   the source it is from
    offset    int64   of its first byte in that source
    length    int64   of the text, in bytes
    crc32c    int64   CRC-32C of the text

Text and protobufs are handled without TensorFlow, which workers of Beam do not need to have.
"""

import json
import os
import struct
from collections.abc import Iterator
from typing import IO, NamedTuple

import google_crc32c
import proto
from google.protobuf.message import DecodeError

from common import checksums, files
from model.errors import InputError

SPLITS = ("train", "eval")
SHARD_PREFIX = "data_tfrecord-"
GATHERED = 1 << 19  # bytes that are hashed and written at once, while they are in the cache

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
    """tf.train.Example, as far as it is used here."""

    features = proto.Field(_Features, number=1)


Example = _Example.pb()


class Shard(NamedTuple):
    """What one shard holds.

    Attributes:
      name: its file name.
      records: number of records.
      bytes: number of bytes of text.
      code_points: number of bytes that do not continue a UTF-8 sequence, which in valid UTF-8 is
        the number of code points.
      invalid: number of sequences that are not UTF-8.
      first: source and offset of its first byte; None where there is none.
      last: source and offset of what would follow its last byte; likewise.
      checksum: of the file, see `checksums`.
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
    """One record.

    Attributes:
      text: the block.
      source: the source it is from.
      offset: of its first byte in that source.
    """

    text: bytes
    source: str
    offset: int

    @property
    def end(self) -> int:
        """The offset in the source of what follows."""
        return self.offset + len(self.text)

    def serialize(self) -> bytes:
        """The record as a tf.train.Example; always the same bytes for the same record."""
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
        """The inverse of `serialize`.

        Raises:
          ValueError: if the text is not of the length or checksum that the record states.
        """
        feature = Example.FromString(serialized).features.feature
        text = feature["text"].bytes_list.value[0]
        stated = feature["length"].int64_list.value[0], feature["crc32c"].int64_list.value[0]
        if (len(text), google_crc32c.value(text)) != stated:
            raise ValueError("its text is not what its length and checksum say")
        source = feature["source"].bytes_list.value[0].decode("utf-8", "surrogateescape")
        return cls(text, source, feature["offset"].int64_list.value[0])


class RecordWriter:
    """Writes a TFRecord file, and takes its checksum on the way.

    A record is its length (8 bytes, little endian), the masked CRC-32C of that, the content, and
    the masked CRC-32C of the content. The file is complete when the context of the writer ends.
    """

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._gathered = bytearray()
        self._hash = checksums.Hash()

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if not kind:
            self._flush()

    def write(self, content: bytes) -> None:
        """Appends a record."""
        length = struct.pack("<Q", len(content))
        for part in (length, _masked_crc(length), content, _masked_crc(content)):
            self._gathered += part
        if len(self._gathered) >= GATHERED:
            self._flush()

    def _flush(self):
        gathered, self._gathered = self._gathered, bytearray()
        self._hash.update(gathered)
        self._file.write(gathered)

    @property
    def checksum(self) -> str:
        """Of the complete file."""
        return self._hash.checksum


def read_records(path: str) -> Iterator[Record]:
    """The records of a shard, in order.

    Raises:
      InputError: at the first record that is damaged.
    """
    number = 0
    with files.open_file(path, "rb") as file:
        while length := file.read(8):
            try:
                _check(length, file.read(4))
                content = file.read(*struct.unpack("<Q", length))
                _check(content, file.read(4))
                yield Record.parse(content)
            except (ValueError, struct.error, DecodeError) as error:
                raise damaged(path, f": record {number} (counted from 0)") from error
            number += 1


def _masked_crc(content):
    crc = google_crc32c.value(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _check(content, masked_crc):
    if _masked_crc(content) != masked_crc:
        raise ValueError("a checksum does not hold")


def split_directory(examples: str, split: str) -> str:
    """The directory of a split."""
    return os.path.join(examples, f"Split-{split}")


def shard_name(index: int, count: int) -> str:
    """The file name of a shard."""
    return f"{SHARD_PREFIX}{index:05d}-of-{count:05d}"


def index_text(shards: list[Shard]) -> str:
    """The content of an index file."""
    in_order = sorted(shards, key=lambda shard: shard.name)
    return json.dumps([shard._asdict() for shard in in_order], indent=1) + "\n"


def read_index(examples: str, split: str) -> list[Shard]:
    """The shards of a split, in order.

    Raises:
      InputError: if there is no such split, or its index is damaged.
    """
    path = os.path.join(split_directory(examples, split), "index.json")
    if not files.exists(path):
        raise InputError(f"{examples} has no split {split}; give the directory of an ExampleGen")
    try:
        return [_shard(entry) for entry in json.loads(files.read_text(path))]
    except (ValueError, TypeError, AttributeError) as error:
        raise damaged(path) from error


def _shard(entry):
    """A shard from its entry: JSON has lists alone, and earlier versions named the algorithm."""
    if "sha256" in entry:
        entry["checksum"] = f"sha256:{entry.pop('sha256')}"
    return Shard(**{k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()})


def damaged(path: str, what: str = "") -> InputError:
    """What to tell a user of a file of an artifact, or of `what` in it, that cannot be read."""
    return InputError(
        f"{path}{what} is damaged; remove its artifact with `python -m pipeline verify --remove`, "
        "and run the stage again"
    )


def shard_path(examples: str, split: str, shard: Shard) -> str:
    """The path of a shard."""
    return os.path.join(split_directory(examples, split), shard.name)


def shard_paths(examples: str, split: str) -> list[str]:
    """The paths of the shards of a split, in order."""
    return [shard_path(examples, split, shard) for shard in read_index(examples, split)]


def describe_damage(path: str) -> str:
    """Says which record of a damaged shard is the first that cannot be read.

    Args:
      path: The path of a damaged file of any artifact.

    Returns:
      A clause that continues the sentence about the file; empty for a file that is no shard.
    """
    if not os.path.basename(path).startswith(SHARD_PREFIX) or not files.exists(path):
        return ""
    whole = 0
    try:
        for _ in read_records(path):
            whole += 1
    except InputError:
        return f": record {whole} (counted from 0) is damaged"
    return f": its {whole} records are whole, but others were written"
