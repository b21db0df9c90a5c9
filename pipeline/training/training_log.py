"""The events of a training for TensorBoard, and a reader of them."""

import dataclasses
import math
import os
import time
from typing import Literal

import tensorflow as tf
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.plugins.hparams import api as hparams
from tensorboard.util import tensor_util

from common import files
from pipeline.settings import Settings

LOSS = "loss/nats"
LAYER_GRADIENT = "norm/gradient_of_layer_"
SPEED = "speed/characters_per_second"


class TrainingLog:
    """A writer of the events of one training, to `logs/train` and `logs/validation`."""

    def __init__(self, directory: str, settings: Settings):
        """Writes the hyperparameters.

        Args:
          directory: Directory of the training.
          settings: Settings, whose data, model and training sections are hyperparameters.
        """
        self._train = tf.summary.create_file_writer(os.path.join(directory, "logs", "train"))
        self._validation = tf.summary.create_file_writer(
            os.path.join(directory, "logs", "validation")
        )
        self._last: tuple[int, float] | None = None
        with self._train.as_default(step=0):
            values = {}
            for section in (settings.data, settings.model, settings.training):
                values.update(dataclasses.asdict(section))
            hparams.hparams(values)

    def graph(self, graph: tf.Graph) -> None:
        """Writes the graph of the training step."""
        with self._train.as_default(step=0):
            tf.summary.graph(graph)

    def step(self, step: int, characters: int, values: dict[str, float]) -> None:
        """Writes the scalars of a training step.

        Args:
          step: Number of steps done.
          characters: Number of characters read so far.
          values: Scalars by tag; `loss/nats` is written as `loss/bits` as well.
        """
        now = time.monotonic()
        with self._train.as_default(step=step):
            for tag, value in _with_bits(values).items():
                tf.summary.scalar(tag, value)
            if self._last is not None and now > self._last[1]:
                rate = (characters - self._last[0]) / (now - self._last[1])
                tf.summary.scalar(SPEED, rate)
        self._last = characters, now

    def validation(self, step: int, loss: float, sample: str) -> None:
        """Writes the result of a validation.

        Args:
          step: Number of steps done.
          loss: Validation loss, in nats per character.
          sample: Text that the model generates.
        """
        with self._validation.as_default(step=step):
            for tag, value in _with_bits({LOSS: loss}).items():
                tf.summary.scalar(tag, value)
            # Indented text is a code block in Markdown, which keeps its line feeds.
            block = "".join(f"    {line}\n" for line in sample.splitlines())
            tf.summary.text("sample", block)
        self._last = None
        self.flush()

    def flush(self) -> None:
        """Flushes both files."""
        self._train.flush()
        self._validation.flush()


def _with_bits(values: dict[str, float]) -> dict[str, float]:
    extended = dict(values)
    if LOSS in values:
        extended["loss/bits"] = values[LOSS] / math.log(2)
    return extended


def read_scalars(training: str, run: Literal["train", "validation"]) -> dict[str, dict[int, float]]:
    """Reads the scalars that a training has logged.

    Steps that were logged twice, before a training was killed and after it resumed, appear once.

    Args:
      training: Directory of a Trainer artifact.
      run: Part of its logs.

    Returns:
      The values by step, in order, by tag.
    """
    scalars: dict[str, dict[int, float]] = {}
    for path in sorted(files.glob(os.path.join(training, "logs", run, "*tfevents*"))):
        for event in event_file_loader.EventFileLoader(path).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    steps = scalars.setdefault(value.tag, {})
                    steps[event.step] = float(tensor_util.make_ndarray(value.tensor))
    return {tag: dict(sorted(steps.items())) for tag, steps in scalars.items()}
