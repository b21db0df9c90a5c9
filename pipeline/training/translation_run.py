"""One training of a model that translates, from its last checkpoint to the export.

checkpoints/latest/     weights, optimizer, step, and the state of the dropout's seeds
checkpoints/best/       the same, at the step with the lowest loss on the eval split
logs/                   events for TensorBoard
Format-Serving/         the SavedModel; see `serving.graph.export_translator`
"""

import dataclasses
import itertools
import math
import os
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from common import files
from common.progress import print_warning, progress_bar
from model.errors import InputError
from model.translation.losses import targets_before, word_losses
from model.translation.reencoder import Reencoder
from pipeline.data.pair_batches import PairedSplit, Vocabularies, steps_per_epoch
from pipeline.data.pair_statistics import Lengths
from pipeline.settings import Settings
from pipeline.store.artifacts import Artifact, Outcome
from pipeline.store.manifest import Properties
from pipeline.training import checkpoint_files
from pipeline.training.exports import directory_name
from pipeline.training.weight_updates import WeightUpdates
from serving.graph.export_translator import export_translator

IDS = tf.TensorSpec([None, None], tf.int32)
STEPS_PER_LOG = 10
EVALUATED = 64
"""Number of pairs that are validated at once."""


@dataclasses.dataclass(frozen=True)
class TranslationProperties(Properties):
    """The properties of a TranslationTrainer artifact.

    Attributes:
      steps: Number of steps done.
      epochs: Number of passes over the training split, with three decimals.
      parameters: Number of trainable parameters of the model.
      best_step: Step of the weights that were exported.
      validation_nats: Their loss on the eval split, in nats per word, the ends included.
    """

    steps: int
    epochs: float
    parameters: int
    best_step: int
    validation_nats: float


class TranslationRun:
    """A training on the replicas of one worker."""

    def __init__(
        self,
        directory: str,
        examples: Artifact,
        vocabularies: Vocabularies,
        lengths: Lengths,
        settings: Settings,
        strategy: tf.distribute.Strategy,
    ):
        """Builds the model and opens the pairs.

        Args:
          directory: Directory in which an earlier attempt may have left a checkpoint.
          examples: Artifact of ExampleGen, of records of whole lines.
          vocabularies: Vocabularies of the model.
          lengths: Number of pairs of the training split by the numbers of words of both sides.
          settings: Settings of the model and of the training.
          strategy: Strategy that places the replicas on devices.
        """
        self._directory = directory
        self._vocabularies = vocabularies
        self._settings = settings
        self._config = config = settings.training
        self._strategy = strategy
        most = settings.translation.max_words
        self._train_split, self._eval_split = (
            PairedSplit(examples.path, split, vocabularies, most) for split in ("train", "eval")
        )
        self._epoch_steps = steps_per_epoch(lengths, config.batch_size, most)
        self._steps = config.steps or config.epochs * self._epoch_steps
        keras.utils.set_random_seed(config.seed)
        with strategy.scope():
            self.model = make_model(settings, vocabularies)
        self._updates = WeightUpdates(
            strategy, self.model.trainable_variables, config, self._epoch_steps, self._steps
        )
        self._checkpoints = _Checkpoints(directory, self.model, self._updates)

    def run(self) -> Outcome:
        """Trains, restores the best checkpoint and exports it."""
        first = self._checkpoints.restore()
        logs = {
            name: tf.summary.create_file_writer(os.path.join(self._directory, "logs", name))
            for name in ("train", "validation")
        }
        with progress_bar("Training", unit="steps") as progress:
            pending, note = [], ""
            for step, (sources, targets) in self._batches(first):
                if self._stale():
                    break
                pending.append(self._train(sources, targets))
                done = step + 1
                validate = done == self._steps or (
                    done % (self._config.validate_every or self._epoch_steps) == 0
                )
                if validate or done % STEPS_PER_LOG == 0:
                    loss = self._report(logs["train"], pending, done)
                    progress(done, self._steps, f"loss {loss:.3f}{note}")
                    pending = []
                if validate:
                    validation = self._validate(logs["validation"], done)
                    note = f", validation {validation:.3f}"
                    self._checkpoints.save(done, validation)
        self._checkpoints.restore_best()
        return self._export()

    def _batches(self, first: int) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
        """Yields the steps from `first` on, each with the ids of its pairs."""
        step = first
        while step < self._steps:
            epoch, place = divmod(step, self._epoch_steps)
            batches = self._train_split.training_batches(
                self._config.batch_size, self._config.seed, epoch
            )
            for batch in batches.skip(place).as_numpy_iterator():
                if step == self._steps:
                    return
                yield step, batch
                step += 1

    def _stale(self) -> bool:
        """Returns whether training stops, after `patience` validations without a lower loss."""
        patience = self._config.patience
        return bool(patience) and int(self._checkpoints.validations_since_best) >= patience

    @tf.function(autograph=False, input_signature=[IDS, IDS])
    def _train(self, sources: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Takes a step; returns the mean loss of the words, and the norm of the gradient."""
        replicas = self._strategy.num_replicas_in_sync
        more = -tf.shape(sources)[0] % replicas
        # A sentence without words to predict fills up what does not divide among the replicas.
        sources = tf.concat([sources, tf.repeat(sources[:1], more, axis=0)], axis=0)
        words = tf.math.count_nonzero(targets, dtype=tf.float32)
        targets = tf.pad(targets, [[0, more], [0, 0]])
        results = self._strategy.run(self._train_replica, (sources, targets, words))
        first = self._strategy.experimental_local_results
        loss, norm = (first(result)[0] for result in results)
        return loss, norm

    def _train_replica(
        self, sources: tf.Tensor, targets: tf.Tensor, words: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        context = tf.distribute.get_replica_context()
        first, replicas = context.replica_id_in_sync_group, context.num_replicas_in_sync
        sources, targets = (ids[first::replicas] for ids in (sources, targets))
        with tf.GradientTape() as tape:
            logits = self.model([sources, targets_before(targets)], training=True)
            loss = tf.reduce_sum(word_losses(logits, targets)[0]) / words
        found = tape.gradient(loss, [v.value for v in self.model.trainable_variables])
        gradients = [tf.convert_to_tensor(gradient) for gradient in found]
        loss, *gradients = context.all_reduce(tf.distribute.ReduceOp.SUM, [loss, *gradients])
        norm = tf.linalg.global_norm(gradients)
        self._updates.apply(self._updates.clip(gradients, norm))
        return loss, norm

    def _report(
        self,
        log: tf.summary.SummaryWriter,
        results: list[tuple[tf.Tensor, tf.Tensor]],
        done: int,
    ) -> float:
        """Logs the steps since the last report; returns their mean loss."""
        losses, norms = zip(*results, strict=True)
        loss, norm = float(np.mean(losses)), float(norms[-1])
        if not math.isfinite(norm) or not math.isfinite(loss):
            raise InputError(
                f"the loss exploded to {loss:.3g} nats (gradient norm {norm:.3g}) at step {done}; "
                "try a lower --learning_rate, or --clip_norm 1"
            )
        with log.as_default(step=done):
            tf.summary.scalar("loss/nats_per_word", loss)
            tf.summary.scalar("norm/gradient", norm)
            tf.summary.scalar("rate/learning_rate", float(self._updates.learning_rate()))
        log.flush()
        return loss

    def _validate(self, log: tf.summary.SummaryWriter, done: int) -> float:
        """Logs and returns the loss of the eval split, in nats per word."""
        with self._updates.evaluated():
            loss = nats_per_word(self.model, self._eval_split)
        with log.as_default(step=done):
            tf.summary.scalar("loss/nats_per_word", loss)
        log.flush()
        return loss

    def _export(self) -> Outcome:
        path = os.path.join(self._directory, directory_name("float32"))
        if files.exists(path):
            files.rmtree(path)
        search = self._settings.translation
        # Variables of a strategy are mirrored; those of a plain model are not.
        plain = make_model(self._settings, self._vocabularies)
        plain.set_weights(self.model.get_weights())
        export_translator(
            plain,
            *self._vocabularies,
            path,
            beam_width=search.beam_width,
            max_words=search.max_words,
            length_power=search.length_power,
        )
        best, done = float(self._checkpoints.best_loss), self._checkpoints.last
        properties = TranslationProperties(
            steps=done,
            epochs=round(done / self._epoch_steps, 3),
            parameters=self.model.count_params(),
            best_step=int(self._checkpoints.step),
            validation_nats=round(best, 5),
        )
        return Outcome(properties, f"{best:.4f} nats per word in validation, {done:,} steps")


def make_model(settings: Settings, vocabularies: Vocabularies) -> Reencoder:
    """Returns a model with random weights.

    Args:
      settings: Settings; the width and the dropout are those of the section `[model]`.
      vocabularies: Vocabularies of both languages.
    """
    turns = itertools.cycle(("forward", "backward"))
    directions = itertools.islice(turns, settings.translation.grids)
    return Reencoder(
        vocabularies.source.size,
        vocabularies.target.size,
        settings.model.units,
        directions=tuple(directions),
        dropout=settings.model.dropout,
        execution=settings.training.execution,
        name="reencoder",
    )


def nats_per_word(model: Reencoder, split: PairedSplit) -> float:
    """Returns the mean of -ln p of the target words of a split, the ends included.

    Args:
      model: The model.
      split: The split.
    """

    @tf.function(autograph=False, input_signature=[IDS, IDS])
    def sums(sources: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        losses, counted = word_losses(model([sources, targets_before(targets)]), targets)
        return tf.reduce_sum(losses), tf.reduce_sum(counted)

    nats = words = 0.0
    for sources, targets in split.evaluation_batches(EVALUATED):
        loss, count = sums(sources, targets)
        nats, words = nats + float(loss), words + float(count)
    return nats / max(words, 1.0)


class _Checkpoints:
    """The checkpoints of a training.

    Attributes:
      step: Number of steps done, an int64 variable.
      best_loss: Lowest validation loss so far, in nats, a float64 variable.
      validations_since_best: Number of validations since then, an int64 variable.
      last: Number of steps done at the end of the training.
    """

    def __init__(self, directory: str, model: Reencoder, updates: WeightUpdates):
        self._updates = updates
        self._folder = os.path.join(directory, "checkpoints")
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.best_loss = tf.Variable(math.inf, dtype=tf.float64, trainable=False)
        self.validations_since_best = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.last = 0
        # Checkpoints of a model leave out its seeds, from which the dropout's masks are drawn.
        weights = {id(one) for one in model.weights}
        self._checkpoint = tf.train.Checkpoint(
            model=model,
            optimizer=updates.optimizer,
            seeds=[one.value for one in model.variables if id(one) not in weights],
            step=self.step,
            best_loss=self.best_loss,
            validations_since_best=self.validations_since_best,
            **({"averages": updates.averages} if updates.averages else {}),
        )
        self._managers = {
            name: tf.train.CheckpointManager(
                self._checkpoint, os.path.join(self._folder, name), max_to_keep=keep
            )
            for name, keep in (("latest", 2), ("best", 1))
        }

    def restore(self) -> int:
        """Restores the latest checkpoint that is whole; returns the number of steps done."""
        path = checkpoint_files.newest_whole(os.path.join(self._folder, "latest"), print_warning)
        if path is not None:
            self._checkpoint.restore(path).assert_existing_objects_matched()
        self.last = int(self.step)
        return self.last

    def restore_best(self) -> None:
        """Restores the best checkpoint, for the export.

        Raises:
          InputError: If it is damaged.
        """
        best, *_ = checkpoint_files.newest_first(os.path.join(self._folder, "best"))
        if told := checkpoint_files.damage(best):
            raise InputError(f"{told}; remove {self._folder} to train again")
        self._checkpoint.restore(best).expect_partial()

    def save(self, step: int, loss: float) -> None:
        """Writes the latest checkpoint and, if the loss is the lowest so far, the best one."""
        self.step.assign(step)
        self.last = step
        improved = loss < float(self.best_loss)
        self.validations_since_best.assign(0 if improved else self.validations_since_best + 1)
        if improved:
            self.best_loss.assign(loss)
            with self._updates.evaluated():
                checkpoint_files.save(self._managers["best"], step)
        checkpoint_files.save(self._managers["latest"], step)
