"""What clients share: nobody's haste, absence or appetite hurts the others."""

import json
import socket
import threading
import time

import grpc
import numpy as np
import pytest
import servers
import tensorflow as tf
from conftest import inputs
from grpc_health.v1 import health_pb2, health_pb2_grpc
from seeds import generator
from servers import PATIENCE, of, predict, predict_request, rest, running, wait_until
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.server.config_files import METRICS_PATH

pytestmark = pytest.mark.slow

LONG = 10_000  # characters
THREADS = 16


@pytest.fixture(scope="module")
def server(base_path):
    servers.require_embedded()
    flags = [
        f"--grpc_max_threads={THREADS}",
        "--rest_api_num_threads=2",
        "--rest_api_timeout_in_ms=300000",
    ]
    with running(*of(base_path), *flags) as server:
        yield server


def stub(server):
    return prediction_service_pb2_grpc.PredictionServiceStub(server.channel)


@pytest.fixture(autouse=True)
def all_threads_are_free_again(server):
    """Waits after each test until the server answers as many requests at once as it may."""
    yield
    request = predict_request("generate", inputs(["a"], 1))

    def answers():
        calls = [stub(server).Predict.future(request, timeout=PATIENCE) for _ in range(THREADS)]
        return all(call.code() is grpc.StatusCode.OK for call in calls)

    wait_until(answers)


def counted(server, status):
    page = servers.page(server, METRICS_PATH)
    found = [line for line in page.splitlines() if f'status="{status}"' in line]
    return sum(float(line.split()[-1]) for line in found if ":request_count{" in line)


def generating(server, count):
    """Calls that take long and have begun."""
    request, predicting = predict_request("generate", inputs(["a"], LONG)), stub(server).Predict
    calls = []

    def all_run():
        # The thread of an answer that has arrived may not be free yet, and a call is refused.
        calls[:] = [call for call in calls if not call.done()]
        missing = count - len(calls)
        calls.extend(predicting.future(request, timeout=PATIENCE) for _ in range(missing))
        time.sleep(0.3)
        return not any(call.done() for call in calls)

    wait_until(all_run)
    return calls


def end(calls):
    for call in calls:
        call.cancel()


def test_deadlines_of_others_fail_no_request(server):
    done, failures = threading.Event(), []
    deadlines = generator().uniform(0.02, 0.1, 1000)

    def hurry(seconds):
        channel = grpc.insecure_channel(server.address)
        for deadline in seconds:
            if done.is_set():
                break
            try:
                predict(channel, "generate", inputs(["ab"], 2000), timeout=deadline)
            except grpc.RpcError as error:
                if error.code().name not in ("DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"):
                    failures.append(error)

    def ask():
        channel = grpc.insecure_channel(server.address)
        for _ in range(100):
            try:
                predict(channel, "generate", inputs(["ab"], 20))
            except grpc.RpcError as error:
                failures.append(error)

    hasty = [threading.Thread(target=hurry, args=[deadlines[n::2]]) for n in range(2)]
    others = [threading.Thread(target=ask) for _ in range(2)]
    for thread in hasty + others:
        thread.start()
    for thread in others:
        thread.join()
    done.set()
    for thread in hasty:
        thread.join()
    assert not failures


def test_status_and_health_answer_while_all_threads_generate(server):
    calls = generating(server, THREADS)
    with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
        predict(server.channel, "generate", inputs(["a"]))
    health = health_pb2_grpc.HealthStub(server.channel)
    for _ in range(20):
        assert servers.states(server.channel)
        assert health.Check(health_pb2.HealthCheckRequest()).status == 1
    assert not [str(call.exception()) for call in calls if call.done()]
    end(calls)


def post(server, length):
    """A connection on which a generation has been asked for."""
    body = json.dumps(
        {"signature_name": "generate", "inputs": {"prompt": ["a"], "length": [length]}}
    )
    connection = socket.create_connection((server.host, server.rest_port), PATIENCE)
    connection.sendall(
        f"POST /v1/models/letters:predict HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    return connection


def test_rest_says_its_state_while_all_threads_generate(server):
    connections = [post(server, LONG) for _ in range(6)]
    time.sleep(0.3)
    for _ in range(20):
        assert rest(server, "/v1/models/letters")[0] == 200
        assert "request_count" in servers.page(server, METRICS_PATH)
        assert "<html" in servers.page(server, "/playground/index.html")
    for connection in connections:
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)  # none has been answered
        connection.close()
    predict(server.channel, "generate", inputs(["a"]))


def test_rows_of_clients_that_have_gone_leave(server):
    begun = time.monotonic()
    predict(server.channel, "generate", inputs(["a"], LONG))
    whole = time.monotonic() - begun
    before = counted(server, "CANCELLED")
    begun = time.monotonic()
    end(generating(server, 4))
    for connection in [post(server, LONG) for _ in range(2)]:
        time.sleep(0.1)
        connection.close()
    wait_until(lambda: counted(server, "CANCELLED") == before + 6)
    assert time.monotonic() - begun < whole  # six whole ones take longer than one


@pytest.mark.parametrize("lengths", [[200, 3, 130, 64, 0], [40, 3, 40, 8, 0]])
def test_pieces_of_rows_are_the_rows_at_once(server, base_path, lengths):
    """Rows of different length, of which one stops, over several pieces and none."""
    values = {
        **inputs(["ab", "c", "", "é", "a"], alternatives=2),
        "length": np.array(lengths, np.int32),
        "seed": np.arange(5),
        "stop": np.array([b"", b"", b"a", b"", b""], object),
    }
    outputs, _ = predict(server.channel, "generate", values)
    generate = tf.saved_model.load(str(base_path / "1")).signatures["generate"]
    expected = generate(
        **{name: tf.constant(value) for name, value in values.items()},
        state=tf.zeros([1, 0]),
    )
    for name in ("text", "characters", "stopped", "alternatives"):
        np.testing.assert_array_equal(outputs[name], expected[name], name)
    for name in ("log_probabilities", "alternative_log_probabilities", "state"):
        np.testing.assert_allclose(outputs[name], expected[name], 1e-4, 1e-6, err_msg=name)
    assert outputs["stopped"].tolist() == [False, False, True, False, False]
    short = {name: values[name] for name in ("prompt", "length", "seed")}
    default, _ = predict(server.channel, "", short)
    whole = generate(
        **{name: tf.constant(value) for name, value in short.items()},
        **{
            name: tf.constant(value)
            for name, value in {"temperature": [1.0], "top_p": [1.0], "stop": [""]}.items()
        },
        top_k=tf.constant([0]),
        alternatives=tf.constant([0]),
        state=tf.zeros([1, 0]),
    )
    assert set(default) == {"text", "log_probabilities", "state"}
    np.testing.assert_array_equal(default["text"], whole["text"])


@pytest.mark.slow
def test_the_server_has_the_last_word_on_deadlines(base_path):
    with running(*of(base_path), "--grpc_timeout_in_ms=200") as server:
        with pytest.raises(grpc.RpcError, match="Timed out"):
            predict(server.channel, "generate", inputs(["a"], LONG))
        predict(server.channel, "generate", inputs(["a"], 1))
