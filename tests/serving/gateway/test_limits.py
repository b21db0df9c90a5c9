"""What the gateway refuses, and that others are answered meanwhile."""

import contextlib
import json
import socket
import threading

import openai
import pytest
from gateways import running_gateway
from servers import PATIENCE, wait_until

LIMIT = 50_000  # bytes of a body
PATH = "/v1/completions"
MANY = {f"x{number}": 0 for number in range(60)}


@pytest.fixture(scope="module")
def gateway(server):
    flags = (f"--max_request_bytes={LIMIT}", "--max_requests=4", "--max_connections=40")
    with running_gateway(server.address, *flags, "--backend_timeout=60") as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def others_are_answered(gateway):
    """Checks after each test that nothing is left over, and that the next request is answered."""
    yield
    wait_until(lambda: gateway.metrics()["gateway_running_requests"] == 1.0)  # this one
    with gateway.client() as client:
        answer = client.completions.create(model="letters", prompt="ab", max_tokens=3)
    assert answer.usage.completion_tokens == 3
    assert "Traceback" not in gateway.log


def ask(gateway, **fields):
    """The status and the error of a request; valid but for what is given."""
    body = {"model": "letters", "prompt": "ab", "max_tokens": 2, **fields}
    status, _, answer = gateway.request("POST", PATH, body)
    return status, answer.get("error", {})


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"prompt": 5}, "prompt", "is none; give a string, a list of strings"),
        ({"prompt": [1, "a"]}, "prompt", "is none; give a string"),
        ({"prompt": [[1], "a"]}, "prompt", "is none; give"),
        ({"prompt": [True]}, "prompt", "is none; give"),
        ({"prompt": []}, "prompt", "is none; give"),
        ({"prompt": [1.5]}, "prompt", "is none; give"),
        ({"prompt": {"a": [[[]]]}}, "prompt", "is none; give"),
        ({"prompt": "a" * 10_001}, "prompt", "has 10001 characters; give at most 10000"),
        ({"prompt": [98] * 10_001}, "prompt", "has 10001 tokens; give at most 10000"),
        ({"prompt": ["a"] * 65}, "prompt", "has 65 entries; give at most 64"),
        ({"prompt": [-1]}, "prompt", "-1 is no token"),
        ({"prompt": [10**40]}, "prompt", "is no token"),
        ({"prompt": "\ud800"}, "prompt", "is a lone surrogate; give bytes"),
        ({"prompt": "abz"}, None, "the vocabulary lacks the character 0x7A"),
        ({"prompt": "ab" * 100 + "z"}, None, "the vocabulary lacks the character 0x7A"),
        ({"max_tokens": -1}, "max_tokens", "greater than or equal to 0"),
        ({"max_tokens": 10_001}, "max_tokens", "less than or equal to 10000"),
        ({"max_tokens": "2"}, "max_tokens", "valid integer"),
        ({"max_tokens": 10_000, "n": 64}, "max_tokens", "over the limit of 200000"),
        ({"max_tokens": 9_000, "n": 10, "logprobs": 20}, "logprobs", "over the limit of 500000"),
        ({"temperature": -0.1}, "temperature", "greater than or equal to 0"),
        ({"temperature": float("nan")}, "temperature", "finite number"),
        ({"temperature": True}, "temperature", "valid number"),
        ({"top_p": 1.1}, "top_p", "less than or equal to 1"),
        ({"n": 0}, "n", "greater than or equal to 1"),
        ({"n": 65}, "n", "less than or equal to 64"),
        ({"n": 40, "prompt": ["a", "b"]}, None, "2 prompts times n 40 are more than 64 texts"),
        ({"seed": 2**63}, "seed", "less than or equal to"),
        ({"seed": 10**100}, "seed", "less than or equal to"),
        ({"stop": ["a"] * 5}, "stop", "has 5 strings; give at most 4"),
        ({"stop": ""}, "stop", "has an empty string"),
        ({"stop": "a" * 1001}, "stop", "more than 1000 bytes"),
        ({"stop": 3}, "stop", "give a string, or a list of strings"),
        ({"logprobs": 21}, "logprobs", "less than or equal to 20"),
        ({"best_of": 3}, None, "best_of is 3 and n 1"),
        ({"suffix": "x"}, "suffix", "at most 0 characters"),
        ({"presence_penalty": 0.5}, "presence_penalty", "is not supported; leave it out"),
        ({"logit_bias": {"50": 1}}, "logit_bias", "has 1 entries; give at most 0"),
        ({"prompt": "é" * 6_000}, "prompt", "12000 characters of the model, over the limit"),
        (MANY, None, "fields; give at most 50"),
        (
            {"stream": True, "stream_options": MANY},
            "stream_options",
            "60",
        ),
        ({"stream_options": {"include_usage": True}}, None, "stream_options are for streams"),
        ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x", "unknown field"),
        ({"max_token": 3}, "max_token", "unknown field max_token; leave it out"),
        ({"model": None}, "model", "model is missing; give it"),
    ],
)
def test_invalid_fields_are_named(gateway, fields, param, words):
    status, error = ask(gateway, **fields)
    assert status == 400, error
    assert error["param"] == param
    assert words in error["message"]
    assert "\n" not in error["message"] and len(error["message"]) < 300
    assert error["type"] == "invalid_request_error"


def test_null_is_the_default(gateway):
    fields = dict.fromkeys(("stop", "n", "temperature", "top_p", "seed", "logprobs", "user"))
    assert ask(gateway, **fields, presence_penalty=0, suffix="", best_of=1) == (200, {})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "is missing"),
        (b"{", "not JSON"),
        (b"[]", "should be a valid dictionary"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 20_000, "not JSON, or too deep"),
        (b'{"a":' * 8_000, "not JSON, or too deep"),
        (b'{"model": "letters", "prompt": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b'{"model": "letters", "prompt": ' + b"[" * 900 + b"]" * 900 + b"}", "is none; give"),
    ],
)
def test_what_is_no_request_is_refused(gateway, body, words):
    status, _, answer = gateway.request("POST", PATH, body)
    assert status == 400
    assert words in answer["error"]["message"]


def test_errors_have_the_status_that_the_api_has(gateway):
    with gateway.client() as client, pytest.raises(openai.NotFoundError) as error:
        client.completions.create(model="others", prompt="a")
    assert error.value.code == "model_not_found"
    assert gateway.request("GET", "/v1/nothing")[0] == 404
    assert gateway.request("GET", PATH)[0] == 405
    assert gateway.request("POST", PATH, b"{}", {"Content-Encoding": "gzip"})[0] == 415
    status, _, answer = gateway.request("POST", PATH, b" " * (LIMIT + 1))
    assert status == 413 and f"more than {LIMIT} bytes" in answer["error"]["message"]
    chunks = iter([b" " * 1000] * (LIMIT // 1000 + 1))
    status, _, _ = gateway.request("POST", PATH, chunks)
    assert status == 413


def test_bodies_have_a_memory_of_their_own(server):
    flags = ("--max_body_memory_bytes=200000",)
    with running_gateway(server.address, *flags) as small:
        body = {"model": "letters", "prompt": [[97] * 1500], "max_tokens": 1}
        assert small.request("POST", PATH, body)[0] == 200
        body["prompt"] = [[97] * 2500]  # 100 bytes for each
        status, headers, answer = small.request("POST", PATH, body)
        assert status == 429 and headers["Retry-After"] == "1"
        assert "memory for bodies" in answer["error"]["message"]
        body["prompt"] = [[97] * 1500]
        for _ in range(3):  # nothing is left over
            assert small.request("POST", PATH, body)[0] == 200


def test_pages_of_other_hosts_are_refused(gateway):
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        status, _, answer = gateway.request("POST", PATH, {"model": "letters"}, headers)
        assert status == 403 and "--allowed_" in answer["error"]["message"]
    own = {"Origin": f"http://localhost:{gateway.port}", "Host": f"localhost:{gateway.port}"}
    assert gateway.request("GET", "/v1/models", headers=own)[0] == 200


def test_pages_of_an_allowed_origin_may_read_answers(server):
    """A browser asks before it sends JSON or an API key, and shows a page only what is allowed."""
    page = {"Origin": "https://app.example"}
    asks = {"Access-Control-Request-Method": "POST"}
    asks["Access-Control-Request-Headers"] = "authorization, content-type"
    with running_gateway(server.address, "--allowed_origins=https://app.example") as gateway:
        status, headers, _ = gateway.request("OPTIONS", PATH, headers=page | asks)
        assert status == 200
        assert headers["Access-Control-Allow-Origin"] == page["Origin"]
        assert "authorization" in headers["Access-Control-Allow-Headers"]
        assert "POST" in headers["Access-Control-Allow-Methods"]
        for body, expected in (({}, 400), ({"model": "letters", "prompt": "a"}, 200)):
            status, headers, _ = gateway.request(
                "POST", PATH, body, page | {"Content-Type": "application/json"}
            )
            assert (status, headers["Access-Control-Allow-Origin"]) == (expected, page["Origin"])
        for foreign in ({"Origin": "https://evil.example"}, {}):
            _, headers, _ = gateway.request("GET", "/health", headers=foreign)
            assert "Access-Control-Allow-Origin" not in headers


def open_stream(gateway, prompt="a", size=10_000):
    """A connection that has asked for a long stream, of which the first event has come."""
    fields = {"model": "letters", "prompt": prompt, "max_tokens": size, "stream": True}
    body = json.dumps(fields)
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE)
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall((head + body).encode())
    received = b""
    while b"data:" not in received:
        received += connection.recv(4096)
    return connection


def test_more_requests_than_allowed_are_to_come_again(gateway):
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(open_stream(gateway))
        status, headers, answer = gateway.request("POST", PATH, {"model": "letters"})
        assert status == 429 and headers["Retry-After"] == "1"
        assert answer["error"]["type"] == "rate_limit_error"
        assert gateway.request("GET", "/health")[0] == 200


def test_a_client_that_vanishes_ends_its_stream(gateway):
    calls = "gateway_backend_wait_seconds_count"
    before = gateway.metrics()[calls]
    with open_stream(gateway):
        assert gateway.metrics()["gateway_running_requests"] == 2.0
    wait_until(lambda: gateway.metrics()["gateway_running_requests"] == 1.0)
    assert gateway.metrics()[calls] - before < 500  # the whole text has 626 pieces
    counted = gateway.metrics()['gateway_requests_total{code="499",route="/v1/completions"}']
    assert counted >= 1


def test_a_request_ends_when_its_time_is_over(server):
    with running_gateway(server.address, "--timeout=1") as hasty:
        body = {"model": "letters", "prompt": ["a"] * 20, "max_tokens": 9000}
        status, _, answer = hasty.request("POST", PATH, body)
        assert status == 504 and "took more than 1 seconds" in answer["error"]["message"]
        with open_stream(hasty, ["a"] * 20, 9000) as stream:
            received = b""
            while chunk := stream.recv(65536):
                received += chunk
        assert b"[DONE]" not in received
        (event,) = [one for one in received.split(b"data: ") if one.startswith(b'{"error"')]
        assert b"took more than 1 seconds" in event
        wait_until(lambda: hasty.metrics()["gateway_running_requests"] == 1.0)


def test_connections_without_requests_hold_up_nobody(gateway):
    with contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            for _ in range(38)
        ]
        assert gateway.request("GET", "/v1/models")[0] == 200
        for _ in range(20):
            idle.append(stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port))))
        idle[-1].settimeout(PATIENCE)
        with contextlib.suppress(ConnectionError):
            assert idle[-1].recv(1) == b""  # one too many
    wait_until(lambda: gateway.request("GET", "/v1/models")[0] == 200)


def test_a_slow_reader_holds_up_nobody(gateway):
    with open_stream(gateway), gateway.client() as client:
        texts = []

        def ask_for_text():
            answer = client.completions.create(model="letters", prompt="a", max_tokens=50)
            texts.append(answer.usage.completion_tokens)

        threads = [threading.Thread(target=ask_for_text) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert texts == [50] * 3
