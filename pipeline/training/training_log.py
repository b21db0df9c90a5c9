"""The events of a training for TensorBoard, and a reader of them."""

import dataclasses
import math
import os
import time
from typing import Literal

import tensorflow as tf
from tensorboard.backend.event_processing import event_file_loader
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api as hparams
from tensorboard.util import tensor_util

from common import files
from pipeline.settings import Settings

LOSS = "loss/nats"
LAYER_GRADIENT = "norm/gradient_of_layer_"
SPEED = "speed/characters_per_second"
_METRICS = (
    hparams.Metric(LOSS, group="validation", display_name="validation loss, nats per character"),
    hparams.Metric(LOSS, group="train", display_name="training loss, nats per character"),
    hparams.Metric(SPEED, group="train", display_name="characters per second"),
)
_LAYOUT = layout_pb2.Layout(
    category=[
        layout_pb2.Category(
            title="Training and validation",
            chart=[
                layout_pb2.Chart(
                    title=title, multiline=layout_pb2.MultilineChartContent(tag=[f"^{tag}$"])
                )
                for title, tag in (
                    ("loss, nats per character", LOSS),
                    ("loss, bits per character", "loss/bits"),
                )
            ],
        )
    ]
)
"""Charts of the Custom Scalars view, each with the curves of both runs."""


class TrainingLog:
    """A writer of the events of one training, to `logs/train` and `logs/validation`.

    `logs` itself has its hyperparameters.
    """

    def __init__(self, directory: str, settings: Settings, corpus: str, trial: str):
        """Writes the hyperparameters, and the charts of the Custom Scalars view.

        Args:
          directory: Directory of the training.
          settings: Settings, whose data, model and training sections are hyperparameters.
          corpus: Name of the corpus, another hyperparameter.
          trial: Id of the training in the HParams view.
        """
        self._train = tf.summary.create_file_writer(os.path.join(directory, "logs", "train"))
        self._validation = tf.summary.create_file_writer(
            os.path.join(directory, "logs", "validation")
        )
        self._last: tuple[int, float] | None = None
        values: dict[str, str | int | float | bool] = {"corpus": corpus}
        for section in (settings.data, settings.model, settings.training):
            for name, value in dataclasses.asdict(section).items():
                values[name] = " ".join(value) if isinstance(value, tuple) else value
        # Metrics are found in runs below that of the hyperparameters.
        with tf.summary.create_file_writer(os.path.join(directory, "logs")).as_default(step=0):
            hparams.hparams_config(
                hparams=[hparams.HParam(name) for name in values], metrics=list(_METRICS)
            )
            hparams.hparams(values, trial_id=trial)
            tf.summary.experimental.write_raw_pb(custom_scalar.pb(_LAYOUT).SerializeToString())

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
    for path in files.glob_in(training, f"logs/{run}/*tfevents*"):
        for event in event_file_loader.EventFileLoader(path).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    steps = scalars.setdefault(value.tag, {})
                    steps[event.step] = float(tensor_util.make_ndarray(value.tensor))
    return {tag: dict(sorted(steps.items())) for tag, steps in scalars.items()}
