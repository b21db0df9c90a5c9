"""What samples characters beside a server under load: the model in process, and PyTorch."""

import json
import subprocess
import sys
import tempfile
import time
from typing import Protocol

import click
import numpy as np

from benchmarks.embedded_server import MODEL, random_model
from benchmarks.problem import VOCABULARY
from model.config import Precision
from serving.generate_inputs import GENERATE_INPUTS


class Sampler(Protocol):
    """Something that writes characters in the course of a benchmark."""

    def speed(self, batch: int, characters: int) -> float:
        """Measures the characters per second of all rows.

        Args:
          batch: Number of rows.
          characters: Number of characters per row.
        """


class Torch:
    """PyTorch's sampling in another process."""

    def __init__(self, layers: int, units: int, dtype: str):
        """Starts the process.

        Args:
          layers: Number of layers.
          units: Width of the layers.
          dtype: Dtype of the weights.
        """
        arguments = map(str, (layers, units, VOCABULARY, dtype))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.torch_sampling", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._read_answer()

    def _read_answer(self) -> float:
        assert self._process.stdout is not None  # it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException("PyTorch does not run; install benchmarks/requirements.txt")
        return json.loads(line)

    def speed(self, batch: int, characters: int) -> float:
        """Measures the characters per second of all rows; see `Sampler`."""
        print(batch, characters, file=self._process.stdin, flush=True)
        return batch * characters / self._read_answer()

    def close(self) -> None:
        """Kills the process."""
        self._process.kill()
        self._process.wait()


class SignatureInProcess:
    """The signature `generate` of an export, called in this process."""

    def __init__(self, path: str, piece: int):
        """Loads the export.

        Args:
          path: Directory of the export.
          piece: Number of characters per request. Each request passes on the state of the last.
        """
        from serving.server.servable import Servable, session_config

        self._servable = Servable(path, MODEL, 1, session_config(), lambda *_: None)
        self._piece = piece

    def speed(self, batch: int, characters: int) -> float:
        """Measures the characters per second of all rows; see `Sampler`."""
        inputs = {
            "prompt": np.array([b""] * batch, object),
            "length": np.array([self._piece], np.int32),
            "seed": np.arange(batch, dtype=np.int64),
            "state": np.zeros([batch, 0], np.float32),
        }
        for row in GENERATE_INPUTS:
            if row.name not in inputs:
                dtype = object if row.dtype == "string" else row.dtype
                inputs[row.name] = np.array([row.default], dtype)
        pieces = characters // self._piece
        start = time.perf_counter()
        for _ in range(pieces):
            inputs["state"] = self._servable.run("generate", inputs)["state"]
        return batch * pieces * self._piece / (time.perf_counter() - start)


class FunctionInProcess:
    """`sampling.generate` of the frozen model, without a server's graph around it.

    It runs in a session like that of a served version.
    """

    def __init__(self, layers: int, units: int, precision: Precision):
        """Makes the model that `exported` exports.

        Args:
          layers: Number of layers.
          units: Width of the layers.
          precision: Precision of the kernels.
        """
        import tensorflow as tf

        from model.language_model import sampling
        from model.language_model.frozen import freeze
        from serving.server.servable import Servable, session_config

        model = freeze(random_model(layers, units)[0], precision)
        scalar = tf.TensorSpec([], tf.int32)

        @tf.function(autograph=False, input_signature=[scalar, scalar])
        def sample(rows: tf.Tensor, length: tf.Tensor) -> dict[str, tf.Tensor]:
            generated = sampling.generate(
                model,
                prompt=tf.zeros([rows, 0], tf.int32),
                length=tf.fill([rows], length),
                temperature=tf.ones([rows]),
                top_k=tf.zeros([rows], tf.int32),
                top_p=tf.ones([rows]),
                seed=tf.cast(tf.range(rows), tf.int64),
            )
            return {"ids": generated.ids}

        module = tf.Module()
        module.weights = model.variables
        with tempfile.TemporaryDirectory() as path:
            tf.saved_model.save(module, path, signatures={"sample": sample})
            self._servable = Servable(path, MODEL, 1, session_config(), lambda *_: None)

    def speed(self, batch: int, characters: int) -> float:
        """Measures the characters per second of all rows; see `Sampler`."""
        inputs = {"rows": np.array(batch, np.int32), "length": np.array(characters, np.int32)}
        start = time.perf_counter()
        self._servable.run("sample", inputs)
        return batch * characters / (time.perf_counter() - start)
