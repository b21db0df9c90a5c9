"""Clients that send rubbish, vanish, or do not read, while others are answered."""

import json
import socket
import threading

import grpc
import numpy as np
import pytest
from conftest import inputs
from seeds import generator
from servers import PATIENCE, of, predict, predict_request, rest, running
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

LIMIT = 100_000  # bytes of a message
REST_THREADS = 4


@pytest.fixture(scope="module")
def server(base_path):
    limit = f"--grpc_channel_arguments=grpc.max_receive_message_length={LIMIT}"
    with running(*of(base_path), limit, f"--rest_api_num_threads={REST_THREADS}") as server:
        yield server


@pytest.fixture(autouse=True)
def others_are_answered(server):
    """Checks after each test that the server still answers valid requests."""
    lines = server.log.count("\n")
    yield
    outputs, _ = predict(server.channel, "generate", inputs(["ab"], 5))
    assert outputs["characters"] == [5]
    assert rest(server, "/v1/models/letters")[0] == 200
    added = server.log.splitlines()[lines:]
    assert len(added) <= 1 and "Traceback" not in server.log


def http(body, length=None):
    size = len(body) if length is None else length
    head = (
        "POST /v1/models/letters:predict HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {size}\r\n\r\n"
    )
    return head.encode() + body


def noise():
    return generator().bytes(generator().integers(1, 3001))


def test_bytes_at_random(server):
    for port in (server.port, server.rest_port):
        for _ in range(50):
            with socket.create_connection((server.host, port)) as connection:
                connection.sendall(noise())
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        for _ in range(20):
            with socket.create_connection((server.host, port)) as connection:
                connection.sendall(preface + noise())


def test_requests_that_are_never_finished(server):
    half = http(b'{"instances": [', 1000)
    connections = [socket.create_connection((server.host, server.rest_port)) for _ in range(100)]
    for connection in connections:
        connection.sendall(half)
    predict(server.channel, "generate", inputs(["ab"], 5))
    assert rest(server, "/v1/models/letters")[0] == 200
    for connection in connections:
        connection.close()


def test_clients_that_do_not_read_their_responses(server):
    columns = {"prompt": ["a"], "length": [2000], "alternatives": [6]}
    body = http(json.dumps({"signature_name": "generate", "inputs": columns}).encode())
    address = (server.host, server.rest_port)
    connections = [socket.create_connection(address) for _ in range(3 * REST_THREADS)]
    for connection in connections:
        connection.sendall(body)
    predict(server.channel, "generate", inputs(["ab"], 5))
    code, said = rest(
        server, "/v1/models/letters:predict", {"signature_name": "score", "inputs": ["a"]}
    )
    assert code == 200, said
    for connection in connections:
        connection.close()


def test_clients_that_vanish(server):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
    futures = [
        stub.Predict.future(predict_request("generate", inputs(["a"], 2000)), timeout=PATIENCE)
        for _ in range(30)
    ]
    threading.Event().wait(0.3)
    for future in futures:
        future.cancel()


@pytest.mark.slow
def test_more_requests_than_threads_are_refused_at_once(base_path):
    with running(*of(base_path), "--grpc_max_threads=2") as server:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
        request = predict_request("generate", inputs(["a"], 2000))
        futures = [stub.Predict.future(request, timeout=PATIENCE) for _ in range(8)]
        codes = [future.code().name for future in futures]
        assert codes.count("OK") >= 2 and set(codes) == {"OK", "RESOURCE_EXHAUSTED"}


def test_messages_that_are_too_large(server):
    with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
        predict(server.channel, "score", {"text": np.array([b"a" * 2 * LIMIT], object)})
    with socket.create_connection((server.host, server.rest_port)) as connection:
        connection.sendall(http(b"{", 2**31))
        assert b" 413 " in connection.recv(100)


@pytest.mark.parametrize("dimensions", [32, 33, 64, 65, 254, 255, 10_000])
@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("signature,name", [("score", "text"), ("generate", "length")])
def test_tensors_of_many_dimensions(server, dimensions, size, signature, name):
    """Beyond 32 dimensions strings end a process in TensorFlow's conversion from NumPy."""
    values = {} if signature == "score" else inputs(["ab"], 5)
    request = predict_request(signature, values)
    proto = request.inputs[name]
    proto.Clear()
    proto.dtype = types_pb2.DT_STRING if name == "text" else types_pb2.DT_INT32
    for _ in range(dimensions):
        proto.tensor_shape.dim.add(size=size)
    if size:
        proto.string_val.append(b"ab") if name == "text" else proto.int_val.append(5)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
    with pytest.raises(grpc.RpcError) as refused:
        stub.Predict(request, timeout=PATIENCE)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    told = "at most 32 are served" if dimensions > 32 else "give one dimension"
    assert told in refused.value.details()
