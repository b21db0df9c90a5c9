"""What tells of the gateway: its OpenAPI document and its metrics."""

import json

import openapi_spec_validator


def test_the_openapi_document_is_valid_and_describes_every_route(gateway):
    _, _, document = gateway.request("GET", "/openapi.json")
    openapi_spec_validator.validate(document)
    operations = {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert {("post", "/v1/completions"), ("post", "/v2/models/{name}/infer")} <= set(operations)
    for key, operation in operations.items():
        assert operation["summary"].endswith("."), key
    schemas = document["components"]["schemas"]
    fields = schemas["CompletionRequest"]["properties"]
    undescribed = [name for name, field in fields.items() if not field.get("description")]
    assert set(undescribed) <= {"stream_options"}


def test_examples_of_the_document_are_answered(gateway):
    _, _, document = gateway.request("GET", "/openapi.json")
    schemas = document["components"]["schemas"]
    for path, name in (
        ("/v1/completions", "CompletionRequest"),
        ("/v2/models/letters/infer", "InferenceRequest"),
    ):
        for example in schemas[name]["examples"]:
            text = json.dumps(example).replace("stdlib", "letters")
            # The model of the tests knows few letters.
            text = text.replace("def ", "abc ").replace("import os", "abc")
            status, _, answer = gateway.request("POST", path, json.loads(text))
            assert status == 200, answer


def test_metrics_tell_the_pace_and_the_answers(gateway):
    before = gateway.metrics()
    with gateway.client() as client:
        list(client.completions.create(model="letters", prompt="a", max_tokens=33, stream=True))
    gateway.request("POST", "/v1/completions", {"model": "none"})
    gateway.request("GET", "/made/up/by/a/client")
    after = gateway.metrics()

    def added(name):
        return after[name] - before.get(name, 0.0)

    assert added("gateway_time_to_first_character_seconds_count") == 1
    assert added("gateway_time_per_character_seconds_count") == 1
    assert added("gateway_backend_wait_seconds_count") >= 3  # pieces of 1, 16 and 16 characters
    assert 0 < added("gateway_time_per_character_seconds_sum") < 60
    assert added('gateway_requests_total{code="200",route="/v1/completions"}') == 1
    assert added('gateway_requests_total{code="404",route="/v1/completions"}') == 1
    assert added('gateway_requests_total{code="404",route="other"}') == 1
