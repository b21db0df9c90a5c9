"""TensorFlow Serving's REST protocol."""

import base64
import http.client

import numpy as np
import pytest
from conftest import inputs
from servers import of, predict, require_embedded, rest, running

from serving.server import json_parsing
from serving.server.errors import RequestError


def answer(server, path, body=None):
    code, said = rest(server, f"/v1/models/{path}", body)
    assert code == 200
    return said


def test_rest_answers_as_grpc_does(server):
    require_embedded("over REST the defaults of inputs apply")
    row = {"prompt": "ab", "length": 8, "seed": 7}
    expected, _ = predict(server.channel, "generate", inputs(["ab"]))
    body = {"signature_name": "generate", "instances": [row, row]}
    for prediction in answer(server, "letters:predict", body)["predictions"]:
        text = prediction["text"]
        decoded = base64.b64decode(text["b64"]) if isinstance(text, dict) else text.encode()
        assert decoded == expected["text"][0]


def test_columns_status_and_metadata_over_rest(server):
    columns = {"signature_name": "score", "inputs": ["abc", "a"]}
    outputs = answer(server, "letters/versions/1:predict", columns)["outputs"]
    scored, _ = predict(server.channel, "score", {"text": np.array([b"abc", b"a"], object)})
    np.testing.assert_allclose(outputs["bits_per_character"], scored["bits_per_character"])
    assert answer(server, "letters")["model_version_status"][0]["state"] == "AVAILABLE"
    metadata = answer(server, "letters/metadata")["metadata"]
    assert "score" in metadata["signature_def"]["signature_def"]


def test_complete_has_the_inputs_that_people_send(server):
    """A stock server wants all inputs of a signature over REST."""
    expected, _ = predict(server.channel, "generate", inputs(["ab", "c"], 20, temperature=0.5))
    rows = [{"prompt": text, "length": 20, "temperature": 0.5, "seed": 7} for text in ("ab", "c")]
    body = {"signature_name": "complete", "instances": rows}
    found = answer(server, "letters:predict", body)["predictions"]
    assert [row["characters"] for row in found] == [20, 20]
    texts = [row["text"] for row in found]
    texts = [base64.b64decode(t["b64"]) if isinstance(t, dict) else t.encode() for t in texts]
    assert texts == expected["text"].tolist()


@pytest.mark.parametrize(
    "path,body,code", [("others", None, 404), ("letters:predict", [], 400), ("a/b/c", None, 400)]
)
def test_rest_errors_are_json(server, path, body, code):
    found, said = rest(server, f"/v1/models/{path}", body)
    assert found == code and said["error"]


def test_the_root_leads_to_the_playground(server):
    require_embedded()
    connection = http.client.HTTPConnection(server.host, server.rest_port)
    for method, code in [("GET", 302), ("HEAD", 302), ("POST", 404)]:
        connection.request(method, "/")
        response = connection.getresponse()
        response.read()
        assert response.status == code
        assert response.headers["Location"] == ("/playground" if code == 302 else None)
    connection.close()
    assert rest(server, "/playgrounds") == (404, {"error": "Not Found"})


@pytest.mark.parametrize(
    "body,words",
    [
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [], "inputs": {}}, "only one of 'inputs' or 'instances'"),
        ({"instances": {}}, "to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [{"prompt": "a"}, {"length": 1}]}, "Failed to process element: 1"),
        ({"instances": [{"prompt": "a"}, "b"]}, "Expecting object but got list at item 1"),
        ({"inputs": {"prompt": [["a"], "b"]}}, "found at incorrect level"),
        ({"inputs": {"prompt": ["a"], "length": [1.5]}}, "is not of expected type: int32"),
        ({"inputs": {"prompt": [{"b64": "!"}]}}, "Unable to base64 decode"),
        ({"inputs": {"prompt": [True]}}, "is not of expected type: string"),
        ({"inputs": {"length": [1]}}, "Missing named input: prompt"),
        ({"inputs": {"prompt": ["a"], "top": [1]}}, "no input called"),
        ({"inputs": {"prompt": ["a"], "temperature": [1e300]}}, "without loss of precision"),
        (
            {"inputs": {"prompt": ["a"], "temperature": [10**400]}},
            "without loss of precision",
        ),
        ({"instances": {"a": 1}}, 'JSON Value: {\n    "a": 1\n} Expecting'),
        ({"signature_name": 3}, "'signature_name' key must be a string value"),
        ({"signature_name": "none", "inputs": ["a"]}, '"none" not found in signature def'),
    ],
)
def test_what_is_wrong_with_json_is_said(server, body, words):
    code, said = rest(server, "/v1/models/letters:predict", body)
    assert code == 400 and words in said["error"]


@pytest.mark.parametrize("body,offset", [(b'{"inputs" 1}', 10), (b"{", 1), (b'{"a": "\xff"}', 7)])
def test_the_place_of_a_mistake_in_json_is_said(body, offset):
    with pytest.raises(RequestError) as refused:
        json_parsing.parse(body)
    assert refused.value.message == f"JSON Parse error: Invalid value. at offset: {offset}"


def test_rest_classifies_and_regresses(server):
    body = {"signature_name": "classify", "context": {"text": "ab"}, "examples": [{}]}
    code, said = rest(server, "/v1/models/letters:classify", body)
    assert code == 200 and isinstance(said["results"][0][0][0], str)
    body = {"signature_name": "regress", "examples": [{"text": {"b64": "YWI="}}]}
    _, said = rest(server, "/v1/models/letters/versions/1:regress", body)
    scored, _ = predict(server.channel, "score", {"text": np.array([b"ab"], object)})
    np.testing.assert_allclose(said["results"], scored["bits_per_character"], rtol=1e-6)
    body = {"signature_name": "regress", "examples": [{"text": [1, "a"]}]}
    code, said = rest(server, "/v1/models/letters:regress", body)
    assert code == 400 and "Unexpected element type in feature: text" in said["error"]


@pytest.mark.slow
def test_an_answer_over_rest_is_in_time_or_not_at_all(base_path):
    require_embedded("over REST the defaults of inputs apply")
    with running(*of(base_path), "--rest_api_timeout_in_ms=50") as server:
        body = {"signature_name": "generate", "inputs": {"prompt": ["a"], "length": [10_000]}}
        code, said = rest(server, "/v1/models/letters:predict", body)
        assert code == 504 and "Timed out" in said["error"]
        body["inputs"]["length"] = [1]
        assert answer(server, "letters:predict", body)["outputs"]["characters"] == [1]
