"""Nets for the tasks of experiments, built from the project's own layers."""

import dataclasses
from typing import Any, Literal, TypedDict, get_args

import keras

from experiments.tasks.task import Task
from model.config import DenseConnection, Execution, Tied, require_one_of, require_range
from model.execution.plan import PLAIN, Plan
from model.execution.planner import choose, visible_device
from model.layers.grid_lstm import GridLSTM
from model.layers.grid_lstm_nd import GridLSTMND
from model.layers.stacked_dense import StackedDense
from model.layers.stacked_lstm import StackedLSTM

Architecture = Literal[
    "grid", "stacked", "tanh", "relu", "highway", "highway_layerwise", "residual", "plain"
]


MAX_COMPILED_LAYERS = 8
"""Largest number of layers of a feed-forward net whose training step is one XLA program."""


@dataclasses.dataclass(frozen=True)
class Net:
    """A net between a projection of the input and one to the classes.

    Attributes:
      architecture: "grid" for a grid over the dimensions of the input and depth, "stacked" for a
        stacked LSTM over a sequence, "tanh" or "relu" for a grid of plain layers, or a connection
        of `StackedDense` for a feed-forward net over vectors.
      layers: Number of layers along depth.
      units: Width of each layer.
      tied: Whether the layers share all their weights. Default False.
      input_signs: Magnitude of the random signs that initialise the input projection; 0 for
        Glorot's uniform initialisation. Default 0.
      forget_bias: Initial bias of the forget gates of LSTMs. Default 1.
      activation: Activation of the layers of a `StackedDense`. Default "tanh".
      transform_bias: Initial bias of the transform gates of a highway network. Default -2.
      input_activation: Activation of the input projection. Default "linear".
    """

    architecture: Architecture
    layers: int
    units: int
    tied: bool = False
    input_signs: float = 0.0
    forget_bias: float = 1.0
    activation: str = "tanh"
    transform_bias: float = -2.0
    input_activation: str = "linear"

    def __post_init__(self) -> None:
        require_one_of("architecture", self.architecture, Architecture)
        require_range("layers", self.layers, 1, 1 << 20)
        require_range("units", self.units, 1, 1 << 20)


def build(net: Net, task: Task, batch: int, compiled: bool) -> keras.Model:
    """Builds a model from a task's inputs to logits, for all steps or for the last one.

    Args:
      net: Net to build.
      task: Task whose inputs and classes it has.
      batch: Number of examples of a training step.
      compiled: Whether to compile by XLA where possible, which takes longer than a few steps.
    """
    inputs, labels = task.held_out()
    across = inputs.shape.rank - 2  # dimensions of the input between batch and features
    entering = keras.Input(inputs.shape[1:], dtype=inputs.dtype)
    layers, width = _layers(net, across, _plan(net, across, batch) if compiled else PLAIN)
    hidden = _projection(net, width)(entering)
    for layer in layers:
        hidden = layer(hidden)
    if labels.shape.rank == 1:
        hidden = hidden[(slice(None), *[-1] * across)]
    return keras.Model(entering, keras.layers.Dense(task.classes, dtype="float32")(hidden))


class _GridOptions(TypedDict):
    """Arguments that grids of any number of dimensions share; see `grid_layer.GridLayer`."""

    cells: str
    tied: Tied
    recurrent_initializer: str | None
    project_inputs: bool
    forget_bias: float


def _layers(net: Net, across: int, plan: Plan) -> tuple[list[keras.layers.Layer], int]:
    """Returns the layers in order, and the width of the input that the first expects."""
    if net.architecture in get_args(DenseConnection):
        return _feed_forward(net), net.units
    if net.architecture == "stacked":
        layers = [
            StackedLSTM(net.units, net.layers, return_sequences=True, forget_bias=net.forget_bias)
        ]
        width = net.units
    else:
        options: _GridOptions = {
            "cells": net.architecture if net.architecture in ("tanh", "relu") else "lstm",
            "tied": "all" if net.tied else "none",
            "recurrent_initializer": None if net.architecture == "grid" else "glorot_uniform",
            "project_inputs": False,
            "forget_bias": net.forget_bias,
        }
        if across == 1:
            layers = [GridLSTM(net.units, net.layers, return_sequences=True, **options)]
        else:
            layers = [GridLSTMND(net.units, net.layers, **options)]
        width = net.units * (2 if net.architecture == "grid" else 1)
    layers[0].plan = plan
    # Keras compiles a step as one program if all layers support it.
    layers[0].supports_jit = plan.compilation.jits_step
    return layers, width


def _feed_forward(net: Net) -> list[keras.layers.Layer]:
    """Returns the layers of a feed-forward net, whose initial kernels preserve the variance."""
    # A residual connection adds a variance at each layer, all of which sum to that of the input.
    scale = 1 / net.layers if net.architecture == "residual" else 1.0
    connection: Any = net.architecture
    initializer: str | keras.initializers.Initializer = "glorot_uniform"
    if net.activation == "relu" or scale < 1:
        by_activation = 2.0 if net.activation == "relu" else 1.0
        initializer = keras.initializers.VarianceScaling(by_activation * scale)
    layer = StackedDense(
        net.units,
        1 if net.tied else net.layers,
        connection=connection,
        activation=net.activation,
        transform_bias=net.transform_bias,
        kernel_initializer=initializer,
    )
    # XLA takes minutes to compile a step of many layers.
    layer.supports_jit = net.layers <= MAX_COMPILED_LAYERS
    return [layer] * (net.layers if net.tied else 1)


def _plan(net: Net, across: int, batch: int) -> Plan:
    """Returns the fastest plan on one core: one XLA program for small products and accelerators."""
    # In a grid of depth alone, each diagonal is one cell.
    execution: Execution = "wavefront" if across else "reference"
    small = across == 1 and (net.architecture == "stacked" or net.layers <= 2)
    jits_step = small or visible_device() == "accelerator"
    architecture = "stacked" if net.architecture == "stacked" else "grid"
    return choose(
        net.units,
        net.layers,
        batch,
        execution,
        "float32",
        jits_step=jits_step,
        architecture=architecture,
    )


def _projection(net: Net, width: int) -> keras.layers.Layer:
    if not net.input_signs:
        return keras.layers.Dense(width, net.input_activation)
    bias = 2 * net.input_signs
    return keras.layers.Dense(
        width,
        net.input_activation,
        kernel_initializer=RandomSigns(net.input_signs),
        bias_initializer=keras.initializers.RandomUniform(-bias, bias),
    )


@keras.saving.register_keras_serializable(package="grid_lstm")
class RandomSigns(keras.initializers.Initializer):
    """An initializer of weights of one magnitude with random signs.

    Args:
      magnitude: Magnitude of the weights.
    """

    def __init__(self, magnitude: float):
        self.magnitude = magnitude

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        return self.magnitude * keras.ops.sign(keras.random.uniform(shape, -1, 1, dtype))

    def get_config(self) -> dict:
        return {"magnitude": self.magnitude}
