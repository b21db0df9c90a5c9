"""The life of the gateway: it begins, ends, and outlives the server behind it."""

import signal
import threading
import time

import openai
import pytest
from commands import PATIENCE, run_module
from gateways import Gateway, running_gateway
from servers import of, require_embedded, running, wait_until

from serving.client.launch import free_port

LONG = {"model": "letters", "prompt": "a", "seed": 4, "stream": True}


def read(stream, begun=None):
    """The text of a stream; sets an event when the first character has come."""
    parts = []
    for chunk in stream:
        parts += [choice.text for choice in chunk.choices]
        if begun:
            begun.set()
    return "".join(parts)


def test_a_stream_ends_before_the_gateway_does(server):
    with running_gateway(server.address) as gateway, gateway.client() as client:
        expected = read(client.completions.create(**LONG, max_tokens=2000))
        begun, texts = threading.Event(), []
        stream = client.completions.create(**LONG, max_tokens=2000)
        thread = threading.Thread(target=lambda: texts.append(read(stream, begun)))
        thread.start()
        assert begun.wait(PATIENCE)
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses(gateway))
        thread.join(PATIENCE)
        assert texts == [expected]
        assert gateway.process.wait(PATIENCE) == 0
        assert "Traceback" not in gateway.log


def refuses(gateway):
    try:
        gateway.request("GET", "/health")
    except OSError:
        return True
    return False


def test_a_stream_that_is_too_long_is_cut_when_the_gateway_ends(server):
    with running_gateway(server.address, "--grace_seconds=1") as gateway, gateway.client() as c:
        stream = c.completions.create(**LONG, max_tokens=10_000)
        next(iter(stream))
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.wait(PATIENCE) == 0
        with pytest.raises(openai.APIError, match="the gateway is stopping; ask again later"):
            read(stream)
        assert "Traceback" not in gateway.log


@pytest.mark.slow
def test_a_stream_outlives_the_server_behind_it(base_path):
    require_embedded()
    port = free_port()
    with (
        running(*of(base_path), port=port) as first,
        running_gateway(first.address) as gateway,
        gateway.client() as client,
    ):
        expected = client.completions.create(**{**LONG, "stream": False}, max_tokens=3000)
        begun, texts = threading.Event(), []
        stream = client.completions.create(**LONG, max_tokens=3000)
        thread = threading.Thread(target=lambda: texts.append(read(stream, begun)))
        thread.start()
        assert begun.wait(PATIENCE)
        first.kill()
        wait_until(lambda: gateway.request("GET", "/health")[0] == 503)
        started = time.monotonic()
        with pytest.raises(openai.InternalServerError, match="the model server does not answer"):
            client.completions.create(model="letters", prompt="a")
        assert time.monotonic() - started < 50  # sooner than a call may take
        with running(*of(base_path), port=port):
            thread.join(PATIENCE)
            assert texts == [expected.choices[0].text]


@pytest.mark.slow
@pytest.mark.parametrize("listen", [(), ("--host=0.0.0.0",), ("--port=0", "socket")], ids=str)
def test_a_gateway_beside_the_server(base_path, tmp_path, listen):
    require_embedded()
    port = free_port()
    flags = [
        f"--grpc_socket_path={tmp_path / 'grpc'}" if flag == "socket" else flag for flag in listen
    ]
    with running(*of(base_path), f"--gateway_port={port}", *flags, wait=False) as server:
        gateway = Gateway(port, server.process, server.log_path)
        wait_until(lambda: gateway.request("GET", "/health")[0] == 200)
        with gateway.client() as client:
            expected = read(client.completions.create(**LONG, max_tokens=1500))
            begun, texts = threading.Event(), []
            stream = client.completions.create(**LONG, max_tokens=1500)
            thread = threading.Thread(target=lambda: texts.append(read(stream, begun)))
            thread.start()
            assert begun.wait(PATIENCE)
            server.process.send_signal(signal.SIGTERM)
            thread.join(PATIENCE)
            assert texts == [expected]  # the server ends after the gateway
        assert server.process.wait(PATIENCE) == 0
        assert "Traceback" not in server.log


def test_a_gateway_beside_the_server_needs_a_port_of_it(base_path, tmp_path):
    for flags, words in (
        (["--port=0", "--rest_api_port=8501"], "give --port or --grpc_socket_path"),
        (["--ssl_config_file=x"], "x"),
        (["--use_alts_credentials"], "asks the server without TLS"),
    ):
        finished = run_module("serving", "serve", *of(base_path), "--gateway_port=any", *flags)
        assert finished.returncode == 2 and words in finished.stderr
        assert finished.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_busy_server_is_to_be_asked_again(base_path):
    require_embedded()
    body = {"model": "letters", "prompt": ["a"] * 30, "max_tokens": 500}
    with (
        running(*of(base_path), "--grpc_max_threads=2") as server,
        running_gateway(server.address, "--max_backend_calls=30") as gateway,
    ):
        status, headers, answer = gateway.request("POST", "/v1/completions", body)
        assert status == 429 and headers["Retry-After"] == "1"
        assert answer["error"]["code"] == "resource_exhausted"
        assert "[[" not in answer["error"]["message"]
    with (
        running(*of(base_path), "--grpc_max_threads=2") as server,
        running_gateway(server.address, "--max_backend_calls=1") as gateway,
    ):
        status, _, answer = gateway.request("POST", "/v1/completions", body)
        assert status == 200 and len(answer["choices"]) == 30


def test_without_a_server_there_is_an_answer():
    with running_gateway(f"127.0.0.1:{free_port()}", wait=False) as gateway:
        wait_until(lambda: gateway.request("GET", "/metrics_")[0] == 404)
        status, headers, answer = gateway.request("GET", "/v1/models/letters")
        assert status == 503 and headers["Retry-After"] == "1"
        assert answer["error"]["message"] == "the model server does not answer; ask again later"


def test_what_cannot_be_is_said_in_one_line(tmp_path):
    taken = free_port()
    for flags, words in (
        ([f"--backend_ca_file={tmp_path}"], "give a PEM file with --backend_ca_file"),
        (["--host=no.such.host.invalid"], "is no address of this machine"),
        (["--port=70000"], "is no port"),
        (["--cache_bytes=-1"], "--cache_bytes"),
    ):
        finished = run_module("serving", "gateway", f"--port={taken}", *flags)
        assert finished.returncode == 2 and words in finished.stderr
        assert finished.stderr.count("\n") == 1
