"""Serves a network of random weights with the embedded server, for benchmarks."""

import contextlib
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.problem import VOCABULARY
from serving.client import launch
from serving.client.client import Address
from serving.server.config_files import METRICS_PATH

MODEL = "bench"
"""Name of the model on the server."""


class Server(NamedTuple):
    """A running server.

    Attributes:
      address: Address of the model over gRPC.
      rest_port: Port of REST.
      process: Process of the server.
    """

    address: Address
    rest_port: int
    process: subprocess.Popen

    def metrics(self) -> str:
        """Returns the metrics in Prometheus's text format."""
        url = f"http://127.0.0.1:{self.rest_port}{METRICS_PATH}"
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.read().decode()


@contextlib.contextmanager
def exported(layers: int, units: int, precision: str) -> Iterator[str]:
    """Exports a network of random weights as version 1, and yields its base path.

    Args:
      layers: Number of layers.
      units: Width of the layers.
      precision: Precision of the export.
    """
    import tensorflow as tf

    from model.language_model.character_model import CharacterModel
    from model.language_model.config import ModelConfig
    from model.text.code_points import TextVocabulary
    from serving.graph.export import export

    tf.keras.utils.set_random_seed(0)
    vocabulary = TextVocabulary.of("bytes", range(VOCABULARY))
    config = ModelConfig(layers=layers, units=units, tied="all")
    with tempfile.TemporaryDirectory() as directory:
        network = CharacterModel(config, vocabulary.size)
        export(network, vocabulary, f"{directory}/1", precision=precision)
        yield directory


@contextlib.contextmanager
def serving(base_path: str, port: int = 0) -> Iterator[Server]:
    """Runs the embedded server while the context lasts, once it is available.

    Args:
      base_path: Base path of the model.
      port: Port for gRPC; 0 for any free port.
    """
    rest_port = launch.free_port()
    flags = [f"--rest_api_port={rest_port}", "--grpc_max_threads=256"]
    started = launch.server_process(launch.EMBEDDED, MODEL, base_path, *flags, port=port)
    with started as (client, process):
        yield Server(address=client.address, rest_port=rest_port, process=process)
