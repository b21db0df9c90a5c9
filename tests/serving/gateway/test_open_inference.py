"""The Open Inference Protocol, against its published schema, for any signature.

The schema is that of `open_inference_rest.yaml` in kserve/open-inference-protocol.
"""

import base64

import jsonschema
import numpy as np
import pytest

from pipeline.stages.infra_validator import SIGNATURES
from serving.client import SamplingParams

STRING, NUMBER, BOOLEAN = {"type": "string"}, {"type": "number"}, {"type": "boolean"}


def a_record(required, optional=()):
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **dict(optional)},
        "additionalProperties": False,
    }


def an_array(items):
    return {"type": "array", "items": items}


NUMBERS = [f"{kind}{bits}" for kind in ("UINT", "INT") for bits in (8, 16, 32, 64)]
DATATYPES = ["BOOL", *NUMBERS, "FP16", "FP32", "FP64", "BYTES"]
SHAPE = an_array({"type": "integer"})
DATATYPE = {"enum": DATATYPES}
DESCRIBED = a_record({"name": STRING, "datatype": DATATYPE, "shape": SHAPE})
SERVER = a_record({"name": STRING, "version": STRING, "extensions": an_array(STRING)})
MODEL = a_record(
    {
        "name": STRING,
        "platform": STRING,
        "inputs": an_array(DESCRIBED),
        "outputs": an_array(DESCRIBED),
    },
    {"versions": an_array(STRING)},
)
OUTPUT = a_record(
    {"name": STRING, "shape": SHAPE, "datatype": DATATYPE, "data": {"type": "array"}},
    {"parameters": {"type": "object"}},
)
ANSWER = a_record(
    {"model_name": STRING, "outputs": an_array(OUTPUT)},
    {"model_version": STRING, "id": STRING, "parameters": {"type": "object"}},
)
ERROR = a_record({"error": STRING})


def get(gateway, path, schema, status=200):
    """The answer to a GET, checked against a schema."""
    found, _, answer = gateway.request("GET", path)
    assert found == status, answer
    jsonschema.validate(answer, schema)
    return answer


def post(gateway, body, schema=ANSWER, status=200, path="/v2/models/letters/infer"):
    """The answer to a request to infer, likewise."""
    found, _, answer = gateway.request("POST", path, body)
    assert found == status, answer
    jsonschema.validate(answer, schema)
    return answer


def tensor(name, datatype, data, **fields):
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data, **fields}


def arrays(answer):
    """The outputs of an answer by name."""
    return {
        one["name"]: np.reshape(np.array(one["data"]), one["shape"]) for one in answer["outputs"]
    }


def test_server_and_health(gateway):
    assert get(gateway, "/v2", SERVER)["name"] == "grid-lstm-gateway"
    assert get(gateway, "/v2/health/live", a_record({"live": BOOLEAN}))["live"]
    assert get(gateway, "/v2/health/ready", a_record({"ready": BOOLEAN}))["ready"]
    for path in ("", "/versions/1"):
        ready = get(
            gateway,
            f"/v2/models/letters{path}/ready",
            a_record({"name": STRING, "ready": BOOLEAN}),
        )
        assert ready == {"name": "letters", "ready": True}
    get(gateway, "/v2/models/letters/versions/7/ready", ERROR, 404)
    get(gateway, "/v2/models/others/ready", ERROR, 404)
    get(gateway, "/v2/nothing", ERROR, 404)


def test_every_signature_is_described(gateway):
    described = get(gateway, "/v2/models/letters/versions/1", MODEL)
    assert described["versions"] == ["1"]
    shapes = {one["name"]: one["shape"] for one in described["inputs"]}
    assert shapes["prompt"] == [-1]
    for name in SIGNATURES:
        get(gateway, f"/v2/models/letters?signature_name={name}", MODEL)
    get(gateway, "/v2/models/letters?signature_name=none", ERROR, 404)
    get(gateway, "/v2/models/letters/versions/9", ERROR, 404)
    get(gateway, "/v2/models/letters/versions/-1", ERROR, 400)


def test_signatures_are_called(gateway, grpc_client):
    body = {
        "id": "42",
        "inputs": [
            tensor("prompt", "BYTES", ["ab", "c"]),
            tensor("length", "INT32", [20, 20]),
            tensor("seed", "INT64", [5, 6]),
        ],
    }
    answer = post(gateway, body)
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("42", "letters", "1")
    expected = grpc_client.generate(["ab", "c"], 20, SamplingParams(seed=5))
    (texts,) = [one for one in answer["outputs"] if one["name"] == "text"]
    encoded = texts.get("parameters") == {"content_type": "base64"}
    assert [base64.b64decode(one) if encoded else one.encode() for one in texts["data"]] == [
        text.text for text in expected
    ]
    found = arrays(answer)
    np.testing.assert_array_equal(
        found["state"].astype(np.float32), [text.state for text in expected]
    )
    # Data may be nested, and outputs chosen; the state goes on where it was.
    body = {
        "parameters": {"signature_name": "generate"},
        "inputs": [
            tensor("prompt", "BYTES", ["", ""]),
            tensor("length", "INT32", [5, 5]),
            tensor("seed", "INT64", [5, 6]),
            {
                "name": "state",
                "shape": list(found["state"].shape),
                "datatype": "FP32",
                "data": found["state"].tolist(),
            },
        ],
        "outputs": [{"name": "log_probabilities"}],
    }
    answer = post(gateway, body, path="/v2/models/letters/versions/1/infer")
    assert list(arrays(answer)) == ["log_probabilities"]
    longer = grpc_client.generate(["ab", "c"], 25, SamplingParams(seed=5))
    np.testing.assert_allclose(
        arrays(answer)["log_probabilities"],
        [text.log_probabilities[20:] for text in longer],
        rtol=1e-5,
    )


def test_bytes_that_are_no_text_are_base64(gateway, grpc_client):
    half = "é".encode()[:1]
    encoded = tensor(
        "text",
        "BYTES",
        [base64.b64encode(b"a" + half).decode()],
        parameters={"content_type": "base64"},
    )
    body = {"parameters": {"signature_name": "score"}, "inputs": [encoded]}
    (score,) = grpc_client.score([b"a" + half])
    bits = arrays(post(gateway, body))["bits_per_character"]
    np.testing.assert_allclose(bits, [score.bits_per_character], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": []}, "at least 1 item"),
        ({"parameters": {"signature_name": 5}}, "signature_name: input should be a valid string"),
        ({"parameters": {"priority": 1}}, "unknown field parameters.priority"),
        ({"parameters": {"signature_name": "none"}}, "none"),
        ({"unknown": 1}, "unknown field unknown"),
        ({"name": "no_such"}, "no_such"),
        ({"datatype": "STRING"}, "unknown datatype STRING"),
        ({"datatype": "INT32"}, "an element that is no INT32"),
        ({"shape": [2]}, "has 1 elements, and a shape of 2"),
        ({"shape": [-1]}, "negative size"),
        ({"shape": [2**62, 2**62, 0], "data": []}, "a shape of more than"),
        ({"shape": [10**30]}, "a shape of more than"),
        ({"shape": [1] * 9}, "at most 8 items"),
        ({"data": [["a"], "b"]}, "nested unevenly"),
        ({"data": [[[[[[[[[["a"]]]]]]]]]]}, "nested unevenly"),
        ({"data": [{"b64": "YQ=="}]}, "no string"),
        ({"data": ["\ud800"]}, "cannot be encoded"),
        ({"data": ["a"], "parameters_": {"content_type": "base64"}}, "cannot be encoded"),
        ({"datatype": "FP32", "data": [1e39]}, "beyond FP32"),
        ({"datatype": "FP32", "data": [float("inf")]}, "no finite FP32"),
        ({"datatype": "INT8", "data": [128]}, "beyond INT8"),
        ({"datatype": "UINT8", "data": [-1]}, "beyond UINT8"),
        ({"datatype": "BOOL", "data": [1]}, "no BOOL"),
    ],
)
def test_invalid_requests_are_explained(gateway, changes, words):
    changes = dict(changes)
    text = tensor("text", "BYTES", ["ab"])
    for key in ("name", "datatype", "shape", "data"):
        if key in changes:
            text[key] = changes.pop(key)
    if "parameters_" in changes:
        text["parameters"] = changes.pop("parameters_")
    body = {"parameters": {"signature_name": "score"}, "inputs": [text], **changes}
    status, _, answer = gateway.request("POST", "/v2/models/letters/infer", body)
    assert status in (400, 404), answer
    jsonschema.validate(answer, ERROR)
    assert words in answer["error"] and "[[" not in answer["error"]


def test_answers_that_are_too_large_are_refused(gateway):
    body = {
        "parameters": {"signature_name": "inspect"},
        "inputs": [tensor("text", "BYTES", ["a" * 1000] * 8)],
    }
    status, _, answer = gateway.request("POST", "/v2/models/letters/infer", body)
    assert status == 400 and "over the limit of 1000000" in answer["error"]
