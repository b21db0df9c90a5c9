"""One training, from its last checkpoint or from the beginning to the export."""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar, get_args

import tensorflow as tf

from common import files
from common.progress import print_warning, progress_bar
from model.config import Precision
from model.decoding.packed_kernels import has_integer_products
from model.language_model import sampling
from model.language_model.forward import CharacterState
from model.text.code_points import NormalizedTextVocabulary, TextVocabulary
from pipeline.data import text_transform
from pipeline.data.examples import ExamplesProperties
from pipeline.data.windows import StreamedSplit
from pipeline.settings import Settings
from pipeline.store.artifacts import Artifact, Outcome
from pipeline.store.manifest import Properties
from pipeline.training import model_card
from pipeline.training.checkpoints import Checkpoints, write_architecture
from pipeline.training.explosions import explosion, require_finite
from pipeline.training.exports import Variant, directory_name
from pipeline.training.initial_weights import InitialWeights
from pipeline.training.learner import Learner, StepResult
from pipeline.training.properties import TrainerProperties
from pipeline.training.training_log import LAYER_GRADIENT, LOSS, TrainingLog
from pipeline.training.workers import this_worker
from serving.graph.export import export

STEPS_PER_LOG = 10
CACHED = 1 << 24
"""Largest number of characters to validate on, at 4 bytes each, that are cached in memory."""

ADAPTED = 1 << 20
"""Largest number of characters of the training split that contexts count before training."""

T = TypeVar("T")


class TrainingRun:
    """A training on one worker, from its last checkpoint or from the beginning to the export."""

    def __init__(
        self,
        directory: str,
        write_dir: str,
        examples: Artifact,
        vocabulary: TextVocabulary,
        settings: Settings,
        strategy: tf.distribute.Strategy,
    ):
        """Builds the model and opens the text.

        Args:
          directory: Directory in which an earlier attempt may have left a checkpoint.
          write_dir: Directory that this worker writes to; for the chief the same.
          examples: Artifact of ExampleGen or Transform.
          vocabulary: Vocabulary of the model.
          settings: Settings of the model and of the training.
          strategy: Strategy that places the replicas on devices.
        """
        self._directory = write_dir
        self._vocabulary = vocabulary
        self._settings = settings
        self._config = config = settings.training
        self._corpus = ExamplesProperties.read(examples).corpus
        self._transform = text_transform.load(examples.path)
        self._train_split = StreamedSplit.open(examples.path, "train", vocabulary)
        self._epoch_steps = self._train_split.windows_per_epoch(config.batch_size, config.window)
        self._steps = config.steps or config.epochs * self._epoch_steps
        self._learner = Learner(
            strategy, settings.model, vocabulary.size, config, self._epoch_steps, self._steps
        )
        self._checkpoints = Checkpoints(directory, self._learner, write_dir)
        # Tracing and reading take as long as a validation of a small model, so both happen once.
        self._validation, count = StreamedSplit.open(
            examples.path, "eval", vocabulary
        ).evaluation_windows(
            config.batch_size, config.window, config.validation_characters, self._learner.rows
        )
        if count * config.batch_size * config.window <= CACHED:
            self._validation = self._validation.cache()

    def run(self, initial: InitialWeights | None, fingerprint: str) -> Outcome:
        """Trains, restores the best checkpoint and exports it.

        Args:
          initial: Weights to start from; None for random ones.
          fingerprint: Fingerprint of the artifact, which names the training in TensorBoard.

        Returns:
          The outcome. Workers other than the chief export nothing; theirs is of no use.
        """
        write_architecture(self._directory, self._settings.model, self._vocabulary)
        self._adapt_contexts()
        if initial:
            initial.load(self._learner.model, self._vocabulary)
        state = self._checkpoints.restore(print_warning)
        first = int(self._checkpoints.step)
        self._log = TrainingLog(self._directory, self._settings, self._corpus, fingerprint)
        self._stall = _InputStall()
        with progress_bar("Training", unit="characters") as progress:
            done = self._loop(state, first, progress)
        if not this_worker().is_chief:
            return Outcome(Properties(), "")
        self._checkpoints.restore_best()
        best = float(self._checkpoints.best_loss)
        properties = TrainerProperties(
            steps=done,
            characters=done * self._config.batch_size * self._config.window,
            epochs=round(done / self._epoch_steps, 3),
            parameters=self._learner.model.count_params(),
            checkpoint=f"checkpoints/best/ckpt-{int(self._checkpoints.step)}",
            validation_nats=round(best, 5),
        )
        self._export(properties)
        return Outcome(properties, f"{best:.4f} nats per character in validation, {done:,} steps")

    def _adapt_contexts(self) -> None:
        """Gives the contexts of the model, if it has any, the beginning of the training split."""
        if not self._settings.model.contexts:
            return
        config = self._config
        count = max(1, ADAPTED // (config.batch_size * config.window))
        windows = self._train_split.training_windows(config.batch_size, config.window).take(count)
        with self._learner.strategy.scope():
            self._learner.model.adapt(self._vocabulary, list(windows.as_numpy_iterator()))

    def _export(self, properties: TrainerProperties) -> None:
        """Exports the model in every variant that the settings request."""
        card = model_card.documents(
            self._settings.model, self._vocabulary, self._corpus, properties
        )
        vocabulary = self._vocabulary
        if self._transform is not None:
            vocabulary = NormalizedTextVocabulary(
                vocabulary.unit, vocabulary.code_points, self._transform
            )
        for variant in get_args(Variant):
            path = os.path.join(self._directory, directory_name(variant))
            if files.exists(path):
                files.rmtree(path)
            if variant == "xla" and self._config.xla:
                export(self._learner.model, vocabulary, path, card, is_compiled=True)
            elif variant in self._precisions():
                export(self._learner.model, vocabulary, path, card, variant)

    def _loop(self, state: CharacterState | None, first: int, progress: Callable[..., None]) -> int:
        """Trains from step `first` to the end; returns the number of steps done."""
        config, learner = self._config, self._learner
        per_step = config.batch_size * config.window
        profiler = _Profiler(os.path.join(self._directory, "logs"), first, config.profile_steps)
        pending, note = [], ""
        for step, ids in self._batches(first):
            # After the last step, or when the checkpoint was written.
            if self._checkpoints.is_stale(self._config.patience):
                break
            if state is None or (step % self._epoch_steps == 0):
                state = learner.initial_state()
            number = tf.constant(step, tf.int64)
            result, state = learner.train(ids, state, number)
            pending.append(result)
            done = step + 1
            profiler.step(step)
            last = done == self._steps
            validate = last or done % (config.validate_every or self._epoch_steps) == 0
            if step == first:
                traced = learner.train.get_concrete_function(ids, state, number)
                self._log.graph(traced.graph)
            if validate or done % STEPS_PER_LOG == 0:
                loss = self._report(pending, done)
                progress(done * per_step, self._steps * per_step, f"loss {loss:.3f}{note}")
                pending = []
            if validate:
                validation_loss = self._validate(done)
                note = f", validation {validation_loss:.3f}"
                self._checkpoints.save(state, done, validation_loss)
        profiler.stop()
        return int(self._checkpoints.step)

    def _precisions(self) -> list[Precision]:
        """Returns the precisions to export the model in."""
        if not self._config.quantize:
            return ["float32"]
        has_int8 = self._learner.model.core.is_bounded and has_integer_products()
        return [one for one in get_args(Precision) if one != "int8" or has_int8]

    def _batches(self, first: int) -> Iterator[tuple[int, tf.Tensor]]:
        """Yields the steps from `first` on, each with the ids of every stream's window."""
        config, step = self._config, first
        while step < self._steps:
            windows = self._train_split.training_windows(
                config.batch_size, config.window, step % self._epoch_steps, self._learner.rows
            )
            for ids in self._stall.timed(self._learner.distribute(windows)):
                if step == self._steps:
                    return
                yield step, ids
                step += 1

    def _report(self, results: Sequence[StepResult], done: int) -> float:
        """Logs the steps since the last report; returns their mean loss."""
        loss = sum(float(result.loss) for result in results) / len(results)
        norm = float(results[-1].gradient_norm)
        # A random guess costs ln(vocabulary); far above that the model learns nothing.
        limit = 4 * math.log(self._vocabulary.size + 1) + 4
        if not math.isfinite(norm) or not loss < limit:
            raise explosion(loss, done, norm)
        values = {
            LOSS: loss,
            "rate/learning_rate": float(self._learner.learning_rate()),
            "norm/gradient": norm,
            **_by_layer(results[-1].layer_gradient_norms),
            "norm/weights": float(self._learner.weight_norm()),
            "speed/share_waiting_for_input": self._stall.share(),
        }
        self._log.step(done, done * self._config.batch_size * self._config.window, values)
        return loss

    def _validate(self, done: int) -> float:
        with self._learner.evaluated():
            loss = require_finite(self._learner.validate(self._validation), done)
            self._log.validation(done, loss, self._sample())
        return loss

    def _sample(self) -> str:
        """Returns a text that the model generates without a prompt."""
        text = self._sample_graph(tf.constant([self._config.sample_length]))
        return text.numpy()[0].decode("utf-8", "replace")

    @tf.function(autograph=False)
    def _sample_graph(self, length: tf.Tensor) -> tf.Tensor:
        generated = sampling.generate(
            self._learner.model,
            prompt=tf.zeros([1, 0], tf.int32),
            length=length,
            temperature=tf.constant([0.8]),
            top_k=tf.constant([0]),
            top_p=tf.constant([1.0]),
            seed=tf.constant([0], tf.int64),
        )
        return self._vocabulary.decode(generated.ids)


def _by_layer(norms: tf.Tensor) -> dict[str, float]:
    """Returns the norms of the layers' gradients by tag; none if all weights are shared."""
    if not tf.reduce_any(norms > 0):
        return {}
    return {f"{LAYER_GRADIENT}{n}": float(norm) for n, norm in enumerate(norms.numpy(), 1)}


class _InputStall:
    """A measurement of the share of time that training waits for input."""

    def __init__(self) -> None:
        self._since, self._waited = time.monotonic(), 0.0

    def timed(self, items: Iterable[T]) -> Iterator[T]:
        """Yields the same items, and counts the time until each arrives as waiting."""
        iterator = iter(items)
        while True:
            asked = time.monotonic()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self._waited += time.monotonic() - asked
            yield item

    def share(self) -> float:
        """Returns the share, from 0 to 1, since the last call."""
        now = time.monotonic()
        share = self._waited / max(now - self._since, 1e-9)
        self._since, self._waited = now, 0.0
        return share


class _Profiler:
    """A profile of a few steps for TensorBoard, after the first ones, which compile."""

    def __init__(self, directory: str, first: int, steps: int):
        self._directory = directory
        self._begin = first + 5
        self._end = self._begin + steps
        self._running = False

    def step(self, step: int) -> None:
        if self._begin <= step < self._end and not self._running:
            tf.profiler.experimental.start(self._directory)
            self._running = True
        elif step >= self._end:
            self.stop()

    def stop(self) -> None:
        if self._running:
            with contextlib.suppress(tf.errors.UnavailableError):
                tf.profiler.experimental.stop()
            self._running = False
