"""Metrics of fits: the shares of labels and of examples that are predicted correctly."""

from typing import Any

import keras
import tensorflow as tf

from experiments.tasks.task import UNCOUNTED


class LabelAccuracy(keras.metrics.Mean):
    """The share of counted labels that are predicted correctly."""

    def __init__(self, name: str = "labels", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def update_state(
        self, labels: tf.Tensor, logits: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        """Adds a batch of labels `[batch, ...]` and logits `[batch, ..., classes]`."""
        super().update_state(_correct(labels, logits), labels != UNCOUNTED)


class ExampleAccuracy(keras.metrics.Mean):
    """The share of examples that are predicted correctly in every counted label."""

    def __init__(self, name: str = "exact", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def update_state(
        self, labels: tf.Tensor, logits: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> None:
        """Adds a batch of labels `[batch, ...]` and logits `[batch, ..., classes]`."""
        correct = _correct(labels, logits) | (labels == UNCOUNTED)
        super().update_state(tf.reduce_all(correct, axis=range(1, labels.shape.rank)))


def _correct(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.argmax(logits, axis=-1, output_type=labels.dtype) == labels
