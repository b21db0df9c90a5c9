"""Serves a network of random weights with the embedded server, for benchmarks."""

import contextlib
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.problem import VOCABULARY
from model.config import Precision

if TYPE_CHECKING:  # they import TensorFlow, which is not for the help of a benchmark
    from model.language_model.character_model import CharacterModel
    from model.text.code_points import TextVocabulary
    from serving.client.client import Address

MODEL = "bench"
"""Name of the model on the server."""


class Server(NamedTuple):
    """A running server.

    Attributes:
      address: Address of the model over gRPC.
      rest_port: Port of REST.
      gateway_port: Port of the gateway; 0 for none.
      process: Process of the server.
    """

    address: "Address"
    rest_port: int
    gateway_port: int
    process: subprocess.Popen

    @property
    def gateway(self) -> str:
        """The URL of the gateway."""
        return f"http://127.0.0.1:{self.gateway_port}"

    def metrics(self) -> str:
        """Returns the metrics in Prometheus's text format."""
        from serving.server.config_files import METRICS_PATH

        url = f"http://127.0.0.1:{self.rest_port}{METRICS_PATH}"
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.read().decode()


def random_model(layers: int, units: int) -> "tuple[CharacterModel, TextVocabulary]":
    """Returns a network of random weights, the same for the same sizes, and its vocabulary.

    Args:
      layers: Number of layers.
      units: Width of the layers.
    """
    import tensorflow as tf

    from model.language_model.character_model import CharacterModel
    from model.language_model.config import ModelConfig
    from model.text.code_points import TextVocabulary

    tf.keras.utils.set_random_seed(0)
    vocabulary = TextVocabulary.of("bytes", range(VOCABULARY))
    config = ModelConfig(layers=layers, units=units, tied="all")
    return CharacterModel(config, vocabulary.size), vocabulary


@contextlib.contextmanager
def exported(
    layers: int, units: int, precision: Precision, is_compiled: bool = False
) -> Iterator[str]:
    """Exports a network of random weights as version 1, and yields its base path.

    Args:
      layers: Number of layers.
      units: Width of the layers.
      precision: Precision of the export.
      is_compiled: Whether XLA compiles sampling. Default False.
    """
    from serving.graph.export import export

    network, vocabulary = random_model(layers, units)
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/1"
        export(network, vocabulary, path, precision=precision, is_compiled=is_compiled)
        yield directory


@contextlib.contextmanager
def serving(base_path: str, port: int = 0, with_gateway: bool = False) -> Iterator[Server]:
    """Runs the embedded server while the context lasts, once it is available.

    Args:
      base_path: Base path of the model.
      port: Port for gRPC; 0 for any free port.
      with_gateway: Whether a gateway runs beside it. Default False.
    """
    from serving.client import launch

    rest_port, gateway_port = launch.free_port(), launch.free_port() if with_gateway else 0
    port = port or launch.free_port()
    flags = [f"--rest_api_port={rest_port}", f"--gateway_port={gateway_port}"]
    flags += ["--grpc_max_threads=256"]
    started = launch.server_process(launch.EMBEDDED, MODEL, base_path, *flags, port=port)
    with started as (client, process):
        yield Server(
            address=client.address,
            rest_port=rest_port,
            gateway_port=gateway_port,
            process=process,
        )
