"""What reads bytes that somebody else wrote: each either understands them or says what is wrong."""

import dataclasses
import functools
import gzip
import io
import json
import os
import pathlib
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from model.errors import InputError
from pipeline.corpora import corpus
from pipeline.corpora.discovery import Rules
from pipeline.corpora.unpacking import unpack
from pipeline.data.records import Record, RecordWriter, Shard, read_index, read_records
from pipeline.store.manifest import Manifest, read_manifest
from serving.server import config_files, json_parsing, json_tensors
from serving.server.errors import RequestError
from serving.server.request_inputs import check_names, parse_input

MEMORY = "/dev/shm"  # where files take no time
LARGEST = 1 << 20  # bytes that a packed corpus may become


class Target(NamedTuple):
    """Code that is fed with bytes.

    Attributes:
      read: Function that reads them; whatever it raises is a fault.
      samples: Bytes that are understood, from which others are made.
      words: Words that the format knows, to be put in. Default: none.
    """

    read: Callable[[bytes], None]
    samples: list[bytes]
    words: tuple[str, ...] = ()


def _signature() -> meta_graph_pb2.SignatureDef:
    """Returns a signature with an input of each dtype."""
    made = meta_graph_pb2.SignatureDef()
    for name, dtype, shape in (
        ("text", tf.string, [None]),
        ("count", tf.int32, [None]),
        ("wide", tf.int64, [None]),
        ("number", tf.float32, [None, 2]),
        ("flag", tf.bool, [None]),
    ):
        made.inputs[name].dtype = dtype.as_datatype_enum
        made.inputs[name].tensor_shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return made


SIGNATURE = _signature()


def _json(content: bytes) -> None:
    try:
        parsed = json_parsing.parse(content)
        json_tensors.signature_name(parsed)
    except RequestError as error:
        assert error.message
        return
    for read in (_json_examples, _json_inputs):
        try:
            read(parsed)
        except RequestError as error:
            assert error.message


def _json_examples(parsed: dict) -> None:
    json_tensors.examples(parsed)


def _json_inputs(parsed: dict) -> None:
    tensors, _ = json_tensors.inputs(parsed, SIGNATURE)
    check_names(SIGNATURE, tensors)
    for name, proto in tensors.items():
        parse_input(name, proto, SIGNATURE.inputs[name])


def _tensor(content: bytes) -> None:
    try:
        proto = tensor_pb2.TensorProto.FromString(content)
    except DecodeError:
        return
    for name, info in SIGNATURE.inputs.items():
        try:
            array = parse_input(name, proto, info)
            assert list(array.shape) == [dim.size for dim in proto.tensor_shape.dim]
        except RequestError as error:
            assert "\n" not in error.message


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """Returns the directory of all files of this process."""
    return tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None)


def _in_file(read: Callable[[str], object], name: str = "file") -> Callable[[bytes], None]:
    """Returns a function that reads bytes from a file."""

    def read_file(content: bytes) -> None:
        path = pathlib.Path(_folder().name, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        try:
            read(str(path))
        except InputError as error:
            assert "\n" not in str(error)

    return read_file


def _corpus(path: str) -> None:
    rules = Rules(max_bytes=LARGEST)
    for source in corpus.resolve(path, rules).sources:
        if source.packing:
            with tempfile.TemporaryDirectory(dir=_folder().name) as unpacked:
                unpack(source, unpacked, rules)


def _records(path: str) -> None:
    for record in read_records(path):
        assert isinstance(record.text, bytes)


def _record(content: bytes) -> bytes:
    """Returns the bytes of a TFRecord file with one record."""
    file = io.BytesIO()
    with RecordWriter(file) as writer:
        writer.write(content)
    return file.getvalue()


def _packed() -> list[bytes]:
    """Returns a text in each packing."""
    text = b"A text of a few words.\n" * 20
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("folder/a.txt", text)
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return [text, gzip.compress(text), zipped.getvalue(), tarred.getvalue()]


def _tensors() -> list[bytes]:
    values = ([b"a", b"bc"], [1, 2], [[1.0, 2.0]], [True])
    return [tf.make_tensor_proto(value).SerializeToString() for value in values]


BODIES = [
    {"instances": [{"text": "a", "count": 1, "wide": 2, "number": [1, 2.5], "flag": True}]},
    {"signature_name": "x", "inputs": {"text": [{"b64": "YQ=="}], "count": [1], "flag": [False]}},
    {"examples": [{"text": "a", "number": [1, 2]}], "context": {"wide": 3}},
]
EXAMPLE = Record(b"some text", "a.txt", 0).serialize()
MODELS = b"""model_config_list { config { name: "a" base_path: "/b" model_platform: "tensorflow"
 model_version_policy { specific { versions: 1 } } version_labels { key: "c" value: 1 } } }"""
INDEX = {"name": "data_tfrecord-00000-of-00001", "records": 1, "bytes": 9, "checksum": "blake3:0"}
MANIFEST = {"stage": "Trainer", "fingerprint": "12", "inputs": {}, "parameters": {}}

NAMES = ("instances", "inputs", "signature_name", "examples", "context", "b64", *SIGNATURE.inputs)
WORDS = (*(f'"{name}":' for name in NAMES), "null", "-1e999", "[[1,2]]", "{}", "[]", '"YQ=="')
MONITORING = b'prometheus_config { enable: true path: "/m" }'

TARGETS = {
    "json": Target(_json, [json.dumps(body).encode() for body in BODIES], WORDS),
    "tensor": Target(_tensor, _tensors()),
    "models": Target(_in_file(config_files.read_models), [MODELS]),
    "monitoring": Target(_in_file(config_files.read_monitoring_path), [MONITORING]),
    "batching": Target(_in_file(config_files.read_batching), [b"max_batch_size { value: 4 }"]),
    "tls": Target(_in_file(config_files.read_credentials), [b'server_key: "a" server_cert: "b"']),
    "corpus": Target(_in_file(_corpus), _packed()),
    "records": Target(_in_file(_records), [_record(EXAMPLE)]),
    "record": Target(lambda content: _in_file(_records)(_record(content)), [EXAMPLE]),
    "index": Target(
        _in_file(
            lambda path: read_index(path.removesuffix("/Split-train/index.json"), "train"),
            "Split-train/index.json",
        ),
        [json.dumps([INDEX]).encode()],
        tuple(f'"{name}":' for name in (*Shard._fields, "sha256")),
    ),
    "manifest": Target(
        _in_file(lambda path: read_manifest(path.removesuffix("/manifest.json")), "manifest.json"),
        [json.dumps(MANIFEST).encode()],
        tuple(f'"{field.name}":' for field in dataclasses.fields(Manifest)),
    ),
}
"""The targets by name."""
