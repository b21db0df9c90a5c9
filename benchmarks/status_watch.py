"""A client that asks a server for its status again and again, in a process of its own.

In one with other clients it would wait for their turns of the interpreter, and take that for the
server's time.
"""

import json
import math
import sys
import threading
import time

SECONDS_BETWEEN = 0.1

COMMAND = "import sys; from benchmarks.status_watch import watch; watch(*sys.argv[1:])"
"""Program of the process, whose arguments are those of `watch`."""


def watch(address: str, model: str) -> None:
    """Measures calls of GetModelStatus until the standard input ends.

    Prints an empty line when it begins, and at the end a JSON list: the seconds of each call,
    infinite if it failed.

    Args:
      address: Host and port of the server.
      model: Name of its model.
    """
    import grpc
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

    done = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        done.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    seconds: list[float] = []
    with grpc.insecure_channel(address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        print(flush=True)
        while not seconds or not done.wait(SECONDS_BETWEEN):
            start = time.perf_counter()
            try:
                stub.GetModelStatus(request, timeout=60, wait_for_ready=True)
                seconds.append(time.perf_counter() - start)
            except grpc.RpcError:
                seconds.append(math.inf)
    print(json.dumps(seconds))
