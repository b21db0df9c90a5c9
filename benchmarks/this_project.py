"""This project's training step, as the Trainer runs it."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks.problem import CLIP_VALUE, LEARNING_RATE, RHO, Problem, Size, pieces
from model.config import ComputeType, Tied
from model.execution.plan import Plan
from model.execution.planner import Variant, plan_of
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.layers.grid_lstm import GridLSTM
from model.layers.stacked_lstm import StackedLSTM
from pipeline.settings import TrainingConfig
from pipeline.training.learner import Learner


def make_step(size: Size, problem: Problem, dtype: ComputeType) -> Callable[[], float]:
    """Returns a function that trains on the window once and returns the loss.

    Args:
      size: Size of the network.
      problem: Weights and text.
      dtype: Compute dtype; "auto" for the fastest execution.
    """
    return _make_step(size, problem, dtype, plan=None)


def make_variant_step(size: Size, problem: Problem, variant: Variant) -> Callable[[], float]:
    """Returns the training step of one variant of the execution table, as `make_step` does."""
    return _make_step(size, problem, "auto", plan_of(variant, size.batch))


def _make_step(
    size: Size, problem: Problem, dtype: ComputeType, plan: Plan | None
) -> Callable[[], float]:
    count = pieces(size)
    tied: Tied = "all" if size.model == "grid" else "none"
    model = ModelConfig(architecture=size.model, layers=size.layers, units=size.units, tied=tied)
    training = TrainingConfig(
        batch_size=size.batch,
        window=size.window,
        optimizer="rmsprop",
        learning_rate=LEARNING_RATE,
        rho=RHO,
        schedule="constant",
        clip_value=CLIP_VALUE,
        remat_steps=size.window // count if count > 1 else 0,
        dtype=dtype,
    )
    vocabulary = len(problem.embedding)
    strategy = tf.distribute.MirroredStrategy(["cpu:0"])
    learner = Learner(strategy, model, vocabulary, training, 1, 1, plan)
    _assign(learner.model, problem)
    ids = tf.constant(problem.ids[:, 1:])
    state = learner.initial_state()._replace(previous=tf.constant(problem.ids[:, 0]))
    number = tf.constant(0, tf.int64)

    def step() -> float:
        # Every step starts from the same state, like those of the peers.
        result, _ = learner.train(ids, state, number)
        return float(result.loss)

    return step


def _assign(model: CharacterModel, problem: Problem) -> None:
    """Sets the weights of a model."""
    net = model.core
    if isinstance(net, GridLSTM):
        for weights, kernel, bias in zip(
            net.block_weights, problem.kernels, problem.biases, strict=True
        ):
            weights.kernel.assign(kernel[None])
            weights.bias.assign(bias[None])
    else:
        assert isinstance(net, StackedLSTM)
        net.kernel.assign(np.stack(problem.kernels))
        net.bias.assign(np.stack(problem.biases))
    unknown = np.zeros_like(problem.embedding[:1])
    model.embedding.assign(np.concatenate([problem.embedding, unknown]))
    model.output_kernel.assign(problem.output_kernel)
    model.output_bias.assign(problem.output_bias)
