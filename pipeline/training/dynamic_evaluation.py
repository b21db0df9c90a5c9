"""Dynamic evaluation: the weights of a trained model follow the text that it predicts.

Krause, Kahembwe, Murray, Renals, "Dynamic Evaluation of Neural Sequence Models" (arXiv 1709.07432),
sections 4 and 5. The text is read window after window. With the gradient g of a window's mean loss,
taken after the window has been scored, each weight w follows

    w' = w - rate * g / (r + mean(r)) + min(decay * r / mean(r), 1) * (w_trained - w)

where r is the root of the mean square of the gradient of w over a part of the training split, and
mean(r) its mean over all weights. (The paper has a constant in place of mean(r) in the first
denominator, which would depend on the size of the model.)
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from common.progress import progress_bar
from model.execution.planner import choose
from model.language_model.character_model import CharacterModel
from model.language_model.forward import CharacterState
from model.language_model.losses import character_losses
from model.text.code_points import TextVocabulary
from pipeline.training.initial_weights import InitialWeights


class Rates(NamedTuple):
    """How fast the weights follow a text.

    Attributes:
      learning_rate: The rate of the gradient's steps; 0 for a static evaluation.
      decay: The rate at which weights return to the trained ones.
    """

    learning_rate: float
    decay: float


class Losses(NamedTuple):
    """The losses of a text.

    Attributes:
      nats: Sum of -ln p over the characters that count.
      characters: Number of characters that count.
    """

    nats: float
    characters: int

    @property
    def mean(self) -> float:
        """Mean of -ln p, in nats per character."""
        return self.nats / max(self.characters, 1)

    def plus(self, other: "Losses") -> "Losses":
        """Returns the losses of both texts."""
        return Losses(self.nats + other.nats, self.characters + other.characters)


class DynamicModel:
    """A character model whose weights follow the text that it scores.

    A window is scored before the weights learn from it, so no character changes the score of an
    earlier one. The recurrent state is carried from window to window.

    Attributes:
      state: State of the text before the next window.
    """

    def __init__(self, model: CharacterModel):
        """Takes a trained model, whose weights will change.

        Args:
          model: The trained model, with float32 weights.
        """
        self._model = model
        self._weights = [variable.value for variable in model.trainable_variables]
        self._trained = [tf.Variable(weight, trainable=False) for weight in self._weights]
        self._squares = [tf.Variable(tf.zeros_like(w), trainable=False) for w in self._weights]
        self._windows = tf.Variable(0.0, trainable=False)
        # 1 / (r + mean(r)) and r / mean(r), computed once and not with each window.
        self._scales = [tf.Variable(tf.zeros_like(w), trainable=False) for w in self._weights]
        self._pulls = [tf.Variable(tf.zeros_like(w), trainable=False) for w in self._weights]
        self.state = model.initial_state(1)

    def measure_gradients(self, windows: Iterable[np.ndarray]) -> None:
        """Measures the mean squares of the gradients of windows, with the trained weights.

        Args:
          windows: Ids `[1, window]` of consecutive windows of the training split.
        """
        self.reset()
        for variable in (*self._squares, self._windows):
            variable.assign(tf.zeros_like(variable))
        for ids in windows:
            self.state = self._add_squares(tf.constant(ids), self.state)
        roots = [tf.sqrt(square / self._windows) for square in self._squares]
        count = sum(math.prod(root.shape) for root in roots)
        mean = tf.add_n([tf.reduce_sum(root) for root in roots]) / count
        for root, scale, pull in zip(roots, self._scales, self._pulls, strict=True):
            scale.assign(1 / (root + mean))
            pull.assign(root / mean)
        self.reset()

    def reset(self) -> None:
        """Returns to the trained weights and the state of a text of which nothing has been read."""
        for weight, trained in zip(self._weights, self._trained, strict=True):
            weight.assign(trained)
        self.state = self._model.initial_state(1)

    def score(self, ids: np.ndarray, rates: Rates) -> Losses:
        """Scores the next window of the text, and then learns from it.

        Args:
          ids: Ids `[1, window]`, int32; those outside the vocabulary do not count.
          rates: How fast the weights follow the text.
        """
        learning_rate, decay = (tf.constant(rate, tf.float32) for rate in rates)
        nats, characters, self.state = self._score(
            tf.constant(ids), self.state, learning_rate, decay
        )
        return Losses(float(nats), int(characters))

    def evaluate(self, ids: np.ndarray) -> Losses:
        """Scores the next window of the text and leaves the weights as they are.

        Args:
          ids: Ids `[1, window]`, int32; those outside the vocabulary do not count.
        """
        nats, characters, self.state = self._evaluate(tf.constant(ids), self.state)
        return Losses(float(nats), int(characters))

    @tf.function(autograph=False, jit_compile=True)
    def _evaluate(
        self, ids: tf.Tensor, state: CharacterState
    ) -> tuple[tf.Tensor, tf.Tensor, CharacterState]:
        logits, state = self._model(tf.maximum(ids, 0), state)
        losses, counted = character_losses(logits, ids)
        return tf.reduce_sum(losses), tf.reduce_sum(counted), state

    @tf.function(autograph=False, jit_compile=True)
    def _add_squares(self, ids: tf.Tensor, state: CharacterState) -> CharacterState:
        _, _, gradients, state = self._gradients(ids, state)
        for square, gradient in zip(self._squares, gradients, strict=True):
            square.assign_add(gradient**2)
        self._windows.assign_add(1.0)
        return state

    @tf.function(autograph=False, jit_compile=True)
    def _score(
        self,
        ids: tf.Tensor,
        state: CharacterState,
        rate: tf.Tensor,
        decay: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, CharacterState]:
        nats, characters, gradients, state = self._gradients(ids, state)
        for weight, trained, scale, pull, gradient in zip(
            self._weights, self._trained, self._scales, self._pulls, gradients, strict=True
        ):
            back = tf.minimum(decay * pull, 1.0) * (trained - weight)
            weight.assign_add(back - rate * scale * gradient)
        return nats, characters, state

    def _gradients(
        self, ids: tf.Tensor, state: CharacterState
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor], CharacterState]:
        """Returns the sum of losses, the number of characters, and the mean loss's gradients."""
        with tf.GradientTape() as tape:
            logits, state = self._model(tf.maximum(ids, 0), state, training=True)
            losses, counted = character_losses(logits, ids)
            nats, characters = tf.reduce_sum(losses), tf.reduce_sum(counted)
            loss = nats / tf.maximum(characters, 1.0)
        # What a context predicts in training only, such as words, has no gradient here.
        zero = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(loss, self._weights, unconnected_gradients=zero)
        return nats, characters, list(map(tf.convert_to_tensor, gradients)), state

    def saved(self) -> dict[str, np.ndarray]:
        """Returns all that a text in progress resumes from, by name."""
        named = {f"weight{number}": w.numpy() for number, w in enumerate(self._weights)}
        return named | {name: part.numpy() for name, part in _named_parts(self.state).items()}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Continues where `saved` was called.

        Args:
          saved: What it returned.
        """
        for number, weight in enumerate(self._weights):
            weight.assign(saved[f"weight{number}"])
        parts = [tf.constant(saved[name]) for name in _named_parts(self.state)]
        self.state = tf.nest.pack_sequence_as(self.state, parts)


def _named_parts(state: CharacterState) -> dict[str, tf.Tensor]:
    """Returns the tensors of a state by name, in the order of `tf.nest.flatten`."""
    parts = state._asdict()
    contexts = {f"context{number}": one for number, one in enumerate(parts.pop("contexts"))}
    return parts | contexts


def dynamic_model(training: str) -> tuple[DynamicModel, TextVocabulary]:
    """Returns the model of the best checkpoint of a training, and its vocabulary.

    Args:
      training: Directory of the training, an artifact of Trainer.
    """
    weights = InitialWeights(training)
    config, vocabulary = weights.architecture, weights.vocabulary
    plan = choose(
        config.units,
        config.layers,
        batch=1,
        dtype="float32",
        jits_step=True,
        architecture=config.architecture,
    )
    model = CharacterModel(config, vocabulary.size, plan)
    weights.load(model, vocabulary)
    return DynamicModel(model), vocabulary


class Trial(NamedTuple):
    """Rates that were tried on a part of the training split.

    Attributes:
      rates: The rates.
      losses: The losses of the part.
    """

    rates: Rates
    losses: Losses


def choose_rates(
    dynamic: DynamicModel,
    windows: Sequence[np.ndarray],
    learning_rates: Sequence[float],
    decays: Sequence[float],
) -> list[Trial]:
    """Tries rates on a text: learning rates with the first decay, then decays with the best one.

    Args:
      dynamic: The model, whose gradients have been measured.
      windows: Windows of the text, a part of the training split.
      learning_rates: Learning rates to try, in ascending order. None is tried after one whose loss
        is not lower than that of its predecessor.
      decays: Decays to try, likewise.

    Returns:
      All trials, that with the lowest loss first. One that diverged has an infinite loss.
    """
    tried: dict[Rates, Trial] = {}

    def search(candidates: Sequence[Rates]) -> Rates:
        best: Trial | None = None
        for rates in candidates:
            if rates not in tried:
                tried[rates] = Trial(rates, score_all(dynamic, windows, rates))
                progress(len(tried), len(learning_rates) + len(decays) - 1)
            if best and tried[rates].losses.nats >= best.losses.nats:
                break
            best = tried[rates]
        assert best is not None
        return best.rates

    with progress_bar("Choosing rates", unit="readings") as progress:
        best = search([Rates(rate, decays[0]) for rate in learning_rates])
        best = search([best._replace(decay=decay) for decay in decays])
    return sorted(tried.values(), key=lambda trial: trial.rates != best)


def score_all(dynamic: DynamicModel, windows: Iterable[np.ndarray], rates: Rates) -> Losses:
    """Scores a text from its beginning, with the trained weights at first.

    The loss of a text on which the weights diverge is infinite.

    Args:
      dynamic: The model, whose gradients have been measured.
      windows: Windows of the text.
      rates: How fast the weights follow it.
    """
    dynamic.reset()
    total = Losses(0.0, 0)
    for ids in windows:
        total = total.plus(dynamic.score(ids, rates))
        if not math.isfinite(total.nats):
            return total._replace(nats=math.inf)
    return total
