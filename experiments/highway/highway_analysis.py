"""Analyses a trained highway net: its gates, the outputs of its layers, and lesions of them.

Srivastava, Greff, Schmidhuber, "Training Very Deep Networks", arXiv 1507.06228, sections 4 and 5.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from experiments.framework.experiment import Row, Tables
from experiments.tasks.fitting import trained_model
from experiments.tasks.random_search import SearchResult
from experiments.tasks.task import Task
from model.layers.stacked_dense import StackedDense

EXAMPLE = 0
"""Number of the held-out example whose gates and outputs are shown."""


def analyse(found: SearchResult, task: Task, classes: Sequence[int]) -> Tables:
    """Analyses the highway net that a search has found, on the held-out examples.

    Args:
      found: Result of the search, whose final fit kept its weights.
      task: Task that was learned.
      classes: Classes for which the deviation of the mean gates is returned.

    Returns:
      The tables `units` (by layer and unit: the transform bias, the mean gate, gate and output of
      one example, and the mean gate of each class minus that of all) and `layers` (by layer: the
      error with the layer lesioned, the mean relative change of its input, and the mean absolute
      deviation of the gates of a class).
    """
    model = trained_model(found.artifact, task, found.net, found.config)
    (stack,) = (layer for layer in model.layers if isinstance(layer, StackedDense))
    inputs, labels = task.held_out()
    entering = keras.Model(model.input, stack.input)(inputs)
    outputs, gates = (part.numpy() for part in stack.trace(entering))
    overall = gates.mean(axis=1)
    by_class = {
        one: gates[:, labels.numpy() == one].mean(axis=1) - overall for one in range(task.classes)
    }
    unit_tables = {
        "bias": stack.bias.numpy()[:, : stack.gates],
        "mean_gate": overall,
        "gate": gates[:, EXAMPLE],
        "output": outputs[:, EXAMPLE],
        **{class_column(one): by_class[one] for one in classes},
    }
    errors = lesion_errors(stack, model.layers[-1], entering, labels)
    changes = relative_changes(np.concatenate([entering[None], outputs]))
    deviations = np.mean([np.abs(one).mean(axis=1) for one in by_class.values()], axis=0)
    columns = {"error": errors, "change": changes, "deviation": deviations}
    layers = [
        {"layer": layer + 1, **{name: _rounded(values[layer]) for name, values in columns.items()}}
        for layer in range(len(outputs))
    ]
    return {"units": list(_unit_rows(unit_tables)), "layers": layers}


def class_column(digit: int) -> str:
    """Returns the column of the deviation of a class in the table `units`."""
    return f"class_{digit}"


def lesion_errors(
    stack: StackedDense, head: keras.layers.Layer, entering: tf.Tensor, labels: tf.Tensor
) -> np.ndarray:
    """Returns the error with each layer of a stack lesioned in turn, `[layers]`.

    Args:
      stack: The stack.
      head: Layer from its outputs to logits.
      entering: Inputs of the stack `[examples, units]`.
      labels: Classes `[examples]`.
    """

    @tf.function
    def error(lesioned: tf.Tensor) -> tf.Tensor:
        logits = head(stack(entering, lesioned=lesioned))
        wrong = tf.argmax(logits, axis=-1, output_type=labels.dtype) != labels
        return tf.reduce_mean(tf.cast(wrong, tf.float32))

    return np.array([float(error(tf.constant(layer))) for layer in range(stack.layers)])


def relative_changes(values: np.ndarray) -> np.ndarray:
    """Returns |y - x| / |x| of each layer, the mean over examples, `[layers]`.

    Args:
      values: Input of the first layer, and outputs of all layers, `[layers + 1, examples, units]`.
    """
    sizes = np.linalg.norm(values[:-1], axis=-1)
    changes = np.linalg.norm(np.diff(values, axis=0), axis=-1)
    return np.divide(changes, sizes, out=np.zeros_like(sizes), where=sizes > 0).mean(axis=1)


def _unit_rows(columns: dict[str, np.ndarray]) -> Iterator[Row]:
    """Yields a row per layer and unit of columns `[layers, units]`."""
    for layer, unit in np.ndindex(next(iter(columns.values())).shape):
        values = {name: _rounded(column[layer][unit]) for name, column in columns.items()}
        yield {"layer": layer + 1, "unit": unit + 1, **values}


def _rounded(value: Any) -> float:
    return float(f"{float(value):.4g}")
