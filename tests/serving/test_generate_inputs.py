"""The table of the inputs of `generate`, and that everything derived from it agrees with it."""

import json

import click
import grpc
import numpy as np
import pytest
import tensorflow as tf
from conftest import inputs
from servers import page, predict, require_embedded
from tensorflow_serving.apis import predict_pb2

from model.language_model import sampling
from serving import generate_inputs, limits
from serving.__main__ import sample
from serving.generate_inputs import (
    DEFAULTS,
    GENERATE_INPUTS,
    SAMPLING_INPUTS,
    SMALLER_SIGNATURES,
    GenerateInput,
)
from serving.graph import input_specs
from serving.messages import plain
from serving.protocol import SamplingParams, generate_request, read_outputs

ROWS = {row.name: row for row in GENERATE_INPUTS}


def array(row, value):
    """A value of an input as the array `[1]` or `[1, columns]` that a request holds."""
    text = row.dtype == "string"
    return np.array([value.encode()], object) if text else np.array([value], row.dtype)


@pytest.fixture(scope="module")
def signatures(base_path):
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        return tf.compat.v1.saved_model.load(session, ["serve"], str(base_path / "1")).signature_def


@pytest.mark.parametrize(
    "signature,rows",
    [
        ("generate", GENERATE_INPUTS),
        *(
            (name, [ROWS[each] for each in smaller.inputs])
            for name, smaller in SMALLER_SIGNATURES.items()
        ),
    ],
)
def test_signatures_have_the_inputs_of_the_table(signatures, signature, rows):
    exported = signatures[signature]
    assert set(exported.inputs) == {row.name for row in rows}
    for row in rows:
        info = exported.inputs[row.name]
        assert tf.as_dtype(info.dtype).name == row.dtype
        assert len(info.tensor_shape.dim) == row.rank
    assert set(exported.defaults) == {row.name for row in rows} & set(DEFAULTS)
    for name, proto in exported.defaults.items():
        stored = tf.make_ndarray(proto)
        expected = array(ROWS[name], DEFAULTS[name])
        assert stored.shape == expected.shape and (stored == expected).all()


def test_omitted_inputs_have_the_defaults_of_the_table(server):
    values = {"prompt": np.array([b"ab"], object)}
    omitted, _ = predict(server.channel, "generate", values)
    for name, default in DEFAULTS.items():
        values[name] = array(ROWS[name], default)
    given, _ = predict(server.channel, "generate", values)
    for name in given:
        np.testing.assert_array_equal(omitted[name], given[name])
    assert omitted["characters"] == [DEFAULTS["length"]]


def invalid_values():
    """A value just outside of each bound, with the message that refuses it."""
    for row in GENERATE_INPUTS:
        step = 1 if row.dtype.startswith("int") else 0.25
        for bound in row.bounds:
            if bound.minimum is not None:
                below = bound.minimum - step
                yield pytest.param(row, below, bound.message, id=f"{row.name} {below}")
            if bound.maximum is not None:
                above = bound.maximum + step
                yield pytest.param(row, above, bound.message, id=f"{row.name} {above}")
            if row.dtype == "float32":
                yield pytest.param(row, np.inf, bound.message, id=f"{row.name} inf")


@pytest.mark.parametrize("row,value,message", invalid_values())
def test_values_out_of_bounds_are_refused(server, row, value, message):
    with pytest.raises(grpc.RpcError) as caught:
        predict(server.channel, "generate", {**inputs(["a"]), row.name: array(row, value)})
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    told = plain(caught.value.details())
    assert told.startswith(f"{row.name} ") and told.endswith(f" {message}")


def test_subnormal_numbers_are_out_of_bounds(server):
    for share in (1e-45, 1e-39, 0.0):
        with pytest.raises(grpc.RpcError, match=r"must be above 0, from 1\.2e-38 on"):
            predict(server.channel, "generate", inputs(["a"], top_p=share))
    first, _ = predict(server.channel, "generate", inputs(["a"], top_p=generate_inputs.SMALLEST))
    greedy, _ = predict(server.channel, "generate", inputs(["a"], temperature=0))
    assert first["text"] == greedy["text"]


@pytest.mark.parametrize("temperature", [1e-45, 1e-39, 1.1754944e-38, 2e-38, 1e-35, 1e-31, 1e-25])
def test_cold_texts_are_the_likeliest(server, temperature):
    rows = ["ab", "abc", "é a"]  # after nothing all characters are equally likely
    greedy, _ = predict(server.channel, "generate", inputs(rows, 30, temperature=0))
    for changes in ({}, {"top_k": 3}, {"top_p": 0.9}):
        values = inputs(rows, 30, temperature=temperature, **changes)
        cold, _ = predict(server.channel, "generate", values)
        assert cold["text"].tolist() == greedy["text"].tolist()


@pytest.mark.parametrize("seed", [-(2**63), -1, 2**53 + 1, 2**63 - 1])
def test_every_seed_gives_a_text_of_its_own(server, seed):
    first, _ = predict(server.channel, "generate", inputs(["a"], 40, seed=seed))
    again, _ = predict(server.channel, "generate", inputs(["a"], 40, seed=seed))
    beside, _ = predict(server.channel, "generate", inputs(["a"], 40, seed=seed ^ 1))
    assert first["text"] == again["text"] != beside["text"]


@pytest.mark.parametrize("row", [row for row in GENERATE_INPUTS if row.max_characters], ids=str)
def test_long_strings_are_refused(server, row):
    longest = {"length": np.array([0], np.int32), "prompt": np.array([b"a"], object)}
    predict(server.channel, "generate", {**longest, row.name: array(row, "a" * row.max_characters)})
    message = f"{row.name}: {row.max_characters + 1} characters are over the limit of"
    with pytest.raises(grpc.RpcError, match=message):
        values = {**longest, row.name: array(row, "a" * (row.max_characters + 1))}
        predict(server.channel, "generate", values)


def test_the_stop_string_has_the_models_limit():
    assert ROWS["stop"].max_characters == limits.MAX_STOP == sampling.MAX_STOP


def test_sampling_params_have_the_fields_and_defaults_of_the_table():
    names = [row.name for row in SAMPLING_INPUTS]
    assert list(SamplingParams._fields) == names
    assert SamplingParams._field_defaults == {name: DEFAULTS[name] for name in names}
    request = generate_request("letters", ["a", "b"], 5)
    assert set(request.inputs) == {"prompt", "length", "seed"}, "defaults are omitted"
    others = SamplingParams(temperature=0.0, top_k=3, top_p=0.5, seed=4, stop="c", alternatives=2)
    assert all(getattr(others, name) != DEFAULTS[name] for name in names)
    request = generate_request("letters", ["a", "b"], 5, others)
    assert set(request.inputs) == {"prompt", "length", *names}
    for name in names:
        assert tf.as_dtype(request.inputs[name].dtype).name == ROWS[name].dtype
    found = {name: tf.make_ndarray(proto).tolist() for name, proto in request.inputs.items()}
    assert found == {
        "prompt": [b"a", b"b"],
        "length": [5],
        "temperature": [0.0],
        "top_k": [3],
        "top_p": [0.5],
        "seed": [4, 5],
        "stop": [b"c"],
        "alternatives": [2],
    }


def test_the_command_line_has_the_options_of_the_table():
    options = {option.name: option for option in sample.params if option.name in ROWS}
    rows = [row for row in GENERATE_INPUTS if row.option_default is not None]
    assert list(options) == [row.name for row in rows]
    for row in rows:
        assert options[row.name].default == row.option_default
        assert options[row.name].help == row.help
        kind = {"string": click.STRING, "float32": click.FLOAT}.get(row.dtype, click.INT)
        assert options[row.name].type == kind


def test_the_playground_gets_the_fields_of_the_table(server):
    require_embedded()
    form = json.loads(page(server, "/playground/form"))
    assert form["max_inspected"] == limits.MAX_INSPECTED
    rows = [row for row in GENERATE_INPUTS if row.field]
    assert [field["name"] for field in form["fields"]] == [row.name for row in rows]
    for row, field in zip(rows, form["fields"], strict=True):
        assert (field["dtype"], field["sampling"]) == (row.dtype, row.in_sampling_params)
        assert field["attributes"] == row.field.attributes
        for value in [field["attributes"].get(name) for name in ("min", "max", "value")]:
            for bound in row.bounds if value is not None else ():
                assert bound.minimum is None or value >= bound.minimum
                assert bound.maximum is None or value <= bound.maximum


def test_a_new_input_needs_only_a_row():
    rows = [
        *GENERATE_INPUTS,
        GenerateInput(name="penalty", dtype="float32", help="A new input.", default=0.5),
    ]
    function = input_specs.function_of_inputs("extended", rows, dict, with_defaults=True)
    returned = function(tf.constant(["a"]))
    assert list(returned) == [row.name for row in rows]
    assert returned["penalty"].numpy().tolist() == [0.5]
    assert returned["state"].shape == (1, 0)


def test_answers_are_read_back_as_they_were_sent():
    request = generate_request("letters", ["a"], 5, states=np.ones([1, 3], np.float32))
    outputs = read_outputs(request_as_response(request))
    np.testing.assert_array_equal(outputs["state"], np.ones([1, 3], np.float32))
    assert outputs["prompt"].tolist() == [b"a"]


def request_as_response(request):
    """A response whose outputs are the inputs of a request."""
    response = predict_pb2.PredictResponse()
    for name, proto in request.inputs.items():
        response.outputs[name].CopyFrom(proto)
    return response
