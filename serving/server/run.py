"""The embedded server, which speaks TensorFlow Serving's gRPC and REST protocols.

It has the protocol and the flags of `tensorflow_model_server`, for machines without that.
"""

import contextlib
import math
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import click
from tensorflow_serving.config import model_server_config_pb2

from model.errors import InputError
from serving import playground_page
from serving.base_path import require_versions
from serving.server import grpc_server, http_server, listening, rest
from serving.server.errors import RequestError
from serving.server.http_checks import Checks
from serving.server.listen_options import ListenOptions
from serving.server.manager import LoadOptions, Manager
from serving.server.memory_budget import MemoryBudget
from serving.server.metrics import Metrics

ReadConfig = Callable[[], model_server_config_pb2.ModelServerConfig]
Beside = Callable[[str, Callable[[], Sequence[str]]], contextlib.AbstractContextManager[None]]


def serve(
    read_config: ReadConfig,
    load_options: LoadOptions,
    listen_options: ListenOptions,
    poll_seconds: float,
    config_poll_seconds: float,
    beside: Beside | None = None,
) -> None:
    """Serves models until SIGTERM or SIGINT, and then finishes the running requests.

    Args:
      read_config: Function that reads which models to serve.
      load_options: How versions are loaded.
      listen_options: Where the server listens.
      poll_seconds: Seconds between checks for new versions; 0 for none.
      config_poll_seconds: Seconds between calls of `read_config`; 0 to call it once.
      beside: What runs beside the server, given its address and the names of the models; it begins
        after the server and ends before it. Default: nothing.

    Raises:
      InputError: If an address cannot be listened on or there is nothing to serve.
    """
    listen_options.check()
    budget = MemoryBudget(listen_options.max_request_memory_bytes)
    metrics = Metrics(budget)
    config = read_config()
    manager = Manager(config, load_options._replace(observe=metrics.record_runtime), _log)
    for model in manager:
        require_versions(model.config.base_path)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with contextlib.ExitStack() as running:
        # Before the models are loaded every address is taken, and none answers.
        server = grpc_server.listen(manager, metrics, budget, listen_options)
        sockets = listening.bind(
            listen_options.rest_addresses, listen_options.rest_api_port, "--rest_api_port"
        )
        manager.refresh()
        if sockets:
            running.enter_context(_answer_rest(manager, metrics, budget, listen_options, sockets))
        if server.addresses:
            server.start()
            running.callback(server.stop)
            _log(f"Running gRPC ModelServer at {', '.join(server.addresses)} ...")
        if beside:
            address = _reachable(server.addresses[0])
            running.enter_context(beside(address, lambda: [model.config.name for model in manager]))
        polls = _Polls(manager, metrics, read_config, config, poll_seconds, config_poll_seconds)
        while not stop.wait(polls.interval):
            polls.run()


def _reachable(address: str) -> str:
    """Returns the address for clients on this machine of one that the server shows."""
    for shown, reachable in (
        ("0.0.0.0:", "127.0.0.1:"),
        ("[::]:", "[::1]:"),
        ("UNIX socket ", "unix:"),
    ):
        if address.startswith(shown):
            return reachable + address.removeprefix(shown)
    return address


@contextlib.contextmanager
def _answer_rest(
    manager: Manager,
    metrics: Metrics,
    budget: MemoryBudget,
    options: ListenOptions,
    sockets: list[socket.socket],
) -> Iterator[None]:
    """Answers REST requests at sockets while the context lasts."""
    application = rest.Application(
        manager,
        metrics,
        budget,
        options.monitoring_path,
        options.rest_api_timeout_in_ms / 1000,
        options.rest_api_max_request_bytes,
    )
    addresses = [found.getsockname()[:2] for found in sockets]
    checked = Checks.of(options)(application)
    with http_server.serve(checked, sockets, options):
        places = ", ".join(f"http://{listening.shown(*address)}" for address in addresses)
        _log(f"Exporting HTTP/REST API at:{places}, playground at {playground_page.PATH} ...")
        yield


CONFIGURATION, VERSIONS = "the configuration", "new versions"
"""What the server looks for from time to time."""


class _Polls:
    """What the server looks for again and again: a new configuration, and new versions.

    Attributes:
      interval: Seconds between two looks; None for none.
    """

    def __init__(
        self,
        manager: Manager,
        metrics: Metrics,
        read_config: ReadConfig,
        config: model_server_config_pb2.ModelServerConfig,
        poll_seconds: float,
        config_poll_seconds: float,
    ):
        """Begins with a configuration; see `serve` for the arguments."""
        self._manager = manager
        self._metrics = metrics
        self._read_config = read_config
        self._config = config
        self._poll_seconds = poll_seconds
        self._config_poll_seconds = config_poll_seconds
        self._last = {CONFIGURATION: time.monotonic(), VERSIONS: -math.inf}
        self._problems: dict[str, str] = {}
        intervals = [seconds for seconds in (poll_seconds, config_poll_seconds) if seconds > 0]
        self.interval = min(intervals, default=None)

    def run(self) -> None:
        """Looks; whatever goes wrong is logged and counted, and the server goes on as it is."""
        self._look(CONFIGURATION, self._config_poll_seconds, self._read)
        self._look(VERSIONS, self._poll_seconds, self._manager.refresh)

    def _read(self) -> None:
        new = self._read_config()
        if new != self._config:
            self._manager.reload(new)
        self._config = new

    def _look(self, what: str, seconds: float, look: Callable[[], None]) -> None:
        """Looks for something if it is time, and says so where that fails in another way.

        Args:
          what: What is looked for.
          seconds: Seconds between two looks; 0 for none.
          look: Function that looks for it.
        """
        if seconds <= 0 or time.monotonic() - self._last[what] < seconds:
            return
        self._last[what] = time.monotonic()
        problem = ""
        try:
            look()
        except (InputError, RequestError) as error:
            problem = str(error)
        except Exception as error:
            problem = f"looking for {what} failed: {type(error).__name__}"
        if problem:
            self._metrics.count_failed_poll()
            if problem != self._problems.get(what):
                _log(problem)
        self._problems[what] = problem


def _log(line: str) -> None:
    click.echo(line, err=True)
