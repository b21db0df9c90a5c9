"""Whatever clients send is understood or refused with a message; nothing else is raised."""

import json

import numpy as np
import pytest
import tensorflow as tf
from fuzzing.targets import SIGNATURE
from hypothesis import example, given, settings
from hypothesis import strategies as st
from seeds import generator
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server import json_parsing, json_tensors
from serving.server.errors import RequestError
from serving.server.request_inputs import check_names, parse_input
from serving.tensors import fill_proto, to_array

settings.register_profile("fuzz", max_examples=300, deadline=None)
settings.load_profile("fuzz")


def with_defaults(signature):
    """A signature of which every input but the text has a default."""
    made = meta_graph_pb2.SignatureDef()
    made.CopyFrom(signature)
    for name, info in signature.inputs.items():
        if name != "text":
            zero = np.zeros(1, tf.as_dtype(info.dtype).as_numpy_dtype)
            made.defaults[name].CopyFrom(tf.make_tensor_proto(zero))
    return made


SIGNATURES = [SIGNATURE, with_defaults(SIGNATURE)]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(1, 400).map(lambda digits: -(10**digits))
    | st.floats()
    | st.text(max_size=8)
    | st.fixed_dictionaries({"b64": st.text(max_size=8) | st.integers()})
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["text", "count", "wide", "number", "flag", "b64", "x"]), inner
        )
    ),
    max_leaves=12,
)
BODIES = st.dictionaries(
    st.sampled_from(["instances", "inputs", "signature_name", "examples", "context"]), VALUES
)


def refused_or_done(function, *arguments):
    """The result; None if the request was refused, with a message."""
    try:
        return function(*arguments)
    except RequestError as error:
        assert error.message
        return None


@given(st.binary(max_size=60) | BODIES.map(lambda body: json.dumps(body).encode()))
def test_json_is_understood_or_refused(body):
    parsed = refused_or_done(json_parsing.parse, body)
    if parsed is None:
        return
    refused_or_done(json_tensors.signature_name, parsed)
    refused_or_done(json_tensors.examples, parsed)
    for one in SIGNATURES:
        found = refused_or_done(json_tensors.inputs, parsed, one)
        if found:
            tensors, _ = found
            refused_or_done(check_names, one, tensors)
            for name, proto in tensors.items():
                refused_or_done(parse_input, name, proto, one.inputs[name])


PROTOS = st.builds(
    lambda *parts: parts,
    st.none() | st.integers(0, 30),
    st.lists(st.integers(-2, 5) | st.just(2**40), max_size=3),
    st.just(b"") | st.binary(max_size=40),
    st.lists(st.integers(0, 100), max_size=6),
)


@given(PROTOS, st.sampled_from(["text", "count", "wide", "number", "flag"]))
def test_tensors_are_understood_or_refused(made, name):
    dtype, sizes, content, values = made
    if dtype is None:  # the one that the input has
        dtype = SIGNATURES[0].inputs[name].dtype
    proto = tensor_pb2.TensorProto(dtype=dtype, tensor_content=content)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    proto.int_val.extend(values)
    proto.string_val.extend(b"x" for _ in values)
    array = refused_or_done(parse_input, name, proto, SIGNATURES[0].inputs[name])
    assert array is None or array.shape == tuple(sizes)


@given(st.binary(max_size=80))
def test_bytes_are_a_tensor_or_are_refused(content):
    try:
        proto = tensor_pb2.TensorProto.FromString(content)
    except Exception:  # gRPC refuses these before anybody sees them
        return
    refused_or_done(parse_input, "count", proto, SIGNATURES[0].inputs["count"])


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.int32, np.int64, np.bool_, np.uint64, np.float16]
)
def test_arrays_survive_the_wire(dtype):
    array = generator().normal(size=(3, 2)).astype(dtype)
    proto = tensor_pb2.TensorProto()
    fill_proto(proto, array)
    for read in (tf.make_ndarray, to_array):
        np.testing.assert_array_equal(read(proto), array)
        assert read(proto).dtype == array.dtype


FLOATS = st.lists(st.floats(width=32), max_size=300)


@given(
    st.sampled_from([types_pb2.DT_FLOAT, types_pb2.DT_DOUBLE, types_pb2.DT_INT32]),
    st.lists(st.integers(0, 3), max_size=2),
    FLOATS,
    FLOATS,
    st.binary(max_size=9),
)
@example(types_pb2.DT_FLOAT, [3, 100], [0.5] * 300, [], b"")
@example(types_pb2.DT_DOUBLE, [2], [1.0, 2.0, 3.0, 4.0], [5.0, 6.0], b"")
@example(types_pb2.DT_FLOAT, [2], [1.0, 2.0], [3.0], b"after")
@example(types_pb2.DT_FLOAT, [2], [1.0], [], b"")
def test_numbers_are_read_as_tensorflow_reads_them(dtype, sizes, floats, doubles, string):
    proto = tensor_pb2.TensorProto(dtype=dtype, float_val=floats, double_val=doubles)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    if string:
        proto.string_val.append(string)
    try:
        expected = tf.make_ndarray(proto)
    except ValueError:
        with pytest.raises(ValueError):
            to_array(proto)
        return
    np.testing.assert_array_equal(to_array(proto), expected)
    assert to_array(proto).dtype == expected.dtype and to_array(proto).flags.writeable


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=4))
def test_strings_survive_the_wire(values):
    proto = tensor_pb2.TensorProto()
    fill_proto(proto, np.array(values, object))
    assert tf.make_ndarray(proto).tolist() == values
    columns = json_tensors.outputs({"text": np.array(values, object)}, by_row=False)["outputs"]
    for value, plain in zip(values, columns, strict=True):
        assert (plain if isinstance(plain, str) else plain["b64"]) is not None
        if isinstance(plain, str):
            assert plain.encode() == value
