"""The memory of requests is bounded before it is allocated, and free again afterwards."""

import pathlib
import re
import threading
import time

import grpc
import numpy as np
import pytest
import servers
import tensorflow as tf
from conftest import inputs
from servers import PATIENCE, of, predict, predict_request, rest, running
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.server.config_files import METRICS_PATH
from serving.server.errors import RequestError
from serving.server.memory_budget import Copies, MemoryBudget, Size

pytestmark = pytest.mark.slow

LIMIT = 256 << 20
A_BYTE = Copies(number=1, string=1)
ALL = {"layer": np.array([-1], np.int32), "unit": np.array([-1], np.int32)}


@pytest.fixture(scope="module")
def server(base_path):
    servers.require_embedded()
    with running(*of(base_path), f"--max_request_memory_bytes={LIMIT}") as server:
        yield server


def reserved(server):
    (value,) = re.findall(r"memory_bytes ([\d.]+)", servers.page(server, METRICS_PATH))
    return float(value)


def resident(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return 1024 * int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])


def call(server, *requests):
    """Sends requests at once, and returns their status codes; the answers may have any size."""
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.address, options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        calls = [stub.Predict.future(request, timeout=PATIENCE) for request in requests]
        return [each.code() for each in calls]


def send(server, request):
    """Sends a request, and returns the answer."""
    with grpc.insecure_channel(server.address) as channel:
        return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(
            request, timeout=PATIENCE
        )


def texts(length, rows=64):
    return np.array([b"a" * length] * rows, object)


def alternatives(rows, length=10_000, count=20):
    """Inputs of a generation with many alternatives; a few hundred bytes."""
    one = inputs(["a"] * rows, length)
    return {**one, "alternatives": np.array([count], np.int32)}


@pytest.mark.parametrize(
    "signature, values",
    [
        ("generate", alternatives(64)),
        ("generate", alternatives(1000, 2000, 1)),
        ("score", {"text": texts(10_000, 1000)}),
    ],
)
def test_a_request_that_needs_too_much_is_refused_at_once(server, signature, values):
    before, start = resident(server), time.monotonic()
    with pytest.raises(grpc.RpcError, match=r"needs up to \d+ MiB of memory, the limit is 192"):
        predict(server.channel, signature, values)
    assert time.monotonic() - start < 10 and reserved(server) == 0
    assert resident(server) - before < 64 << 20


def test_a_shape_of_many_elements_gives_all_of_them(server):
    """The last value of a tensor stands for those missing, in a shape of any size."""
    request = predict_request("generate", inputs(["a"]))
    before = resident(server)
    for name, shape in (("prompt", 2**26), ("seed", 2**26), ("length", 2**17)):
        other = type(request)()
        other.CopyFrom(request)
        other.inputs[name].tensor_shape.dim[0].size = shape
        with pytest.raises(grpc.RpcError, match=rf"{name} has {shape} elements and gives 1 values"):
            send(server, other)
    assert resident(server) - before < 64 << 20
    request.inputs["length"].tensor_shape.dim[0].size = 64
    request.inputs["prompt"].CopyFrom(tf.make_tensor_proto(["a"] * 64))
    assert len(send(server, request).outputs["text"].string_val) == 64


def test_answers_in_json_need_more(server):
    values = alternatives(64, 700)
    assert call(server, predict_request("generate", values)) == [grpc.StatusCode.OK]
    inputs_as_lists = {name: value.tolist() for name, value in values.items() if name != "prompt"}
    body = {"signature_name": "generate", "inputs": {**inputs_as_lists, "prompt": ["a"] * 64}}
    status, said = rest(server, "/v1/models/letters:predict", body)
    assert status == 429 and "MiB of memory" in said["error"]


def test_what_the_graph_refuses_keeps_its_message(server):
    with pytest.raises(grpc.RpcError, match="length"):
        predict(server.channel, "generate", inputs(["a"] * 64, 2**30))
    with pytest.raises(grpc.RpcError, match="alternatives"):
        predict(server.channel, "generate", alternatives(64, 10, 2**30))


def numbers(count):
    """The size of a request that takes a byte for each number."""
    return Size(characters=0, numbers=count, strings=0)


def test_large_requests_leave_memory_for_small_ones():
    budget = MemoryBudget(1000)
    with budget.lease(A_BYTE) as large:
        large.reserve(numbers(750), 0)
        with pytest.raises(RequestError, match="others take"), budget.lease(A_BYTE) as other:
            other.reserve(numbers(100), 0.01)
        with budget.lease(A_BYTE) as small:
            small.reserve(numbers(15), 0)
            assert budget.taken == 765
        assert budget.taken == 750
    assert budget.taken == 0


def test_a_request_waits_for_the_memory_of_others():
    budget, admitted = MemoryBudget(1000), threading.Event()

    def wait():
        budget.reserve(100, PATIENCE)
        admitted.set()

    with budget.lease(A_BYTE) as lease:
        lease.reserve(numbers(700), 0)
        thread = threading.Thread(target=wait)
        thread.start()
        assert not admitted.wait(0.1)
    assert admitted.wait(PATIENCE)
    thread.join()
    assert budget.taken == 100


def test_memory_stays_within_the_formula(server):
    """Large requests of all kinds at once take no more than the limit, and leave nothing."""
    requests = [
        predict_request("score", {"text": texts(10_000)}),
        predict_request("inspect", {"text": texts(1000, 16), **ALL}),
        predict_request("generate", alternatives(64, 200)),
    ]
    call(server, *requests * 4)  # the first calls build what later ones use
    before, peak, done = resident(server), 0, threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, resident(server))

    watcher = threading.Thread(target=watch)
    watcher.start()
    codes = set(call(server, *requests * 4))
    done.set()
    watcher.join()
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert grpc.StatusCode.OK in codes
    assert peak - before < LIMIT
    servers.wait_until(lambda: resident(server) < 1.1 * before, 30)
    assert reserved(server) == 0
