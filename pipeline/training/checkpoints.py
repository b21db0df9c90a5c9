"""Checkpoints: everything that a training resumes from.

    architecture.json        the architecture and vocabulary of the weights
    checkpoints/latest/      weights, optimizer, step, carried state, validation history
    checkpoints/best/        the same, at the step with the lowest validation loss

Input position, learning rate and random numbers are functions of the step and the configuration, so
the step stands for them.
"""

import dataclasses
import json
import os
from typing import Any

import tensorflow as tf

from common import files
from common.files import read_text, write_text
from model.errors import InputError
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.language_model.forward import CharacterState
from model.text.code_points import TextVocabulary
from pipeline.store.manifest import fingerprint_of
from pipeline.training.learner import Learner
from pipeline.training.workers import this_worker

ARCHITECTURE = "architecture.json"


class Checkpoints:
    """The checkpoints of one training, and the part of its state that no other object holds.

    Attributes:
      step: Number of steps done, an int64 variable.
      best_loss: Lowest validation loss so far, in nats, a float64 variable.
      stale: Number of validations since then, an int64 variable.
    """

    def __init__(self, directory: str, learner: Learner, write_dir: str = ""):
        """Finds earlier checkpoints.

        Args:
          directory: Directory of the training, whose checkpoints are read.
          learner: Model and optimizer.
          write_dir: Directory of the training to write to; empty (the default) for the same. Every
            worker has to write its checkpoints, but only those of the chief are used.
        """
        self._learner = learner
        self._latest = os.path.join(directory, "checkpoints", "latest")
        written = os.path.join(write_dir or directory, "checkpoints")
        self._carried = CharacterState(
            *(
                tf.Variable(tf.zeros(shape, dtype), trainable=False)
                for shape, dtype in _carried_shapes(learner)
            )
        )
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.best_loss = tf.Variable(float("inf"), dtype=tf.float64, trainable=False)
        self.stale = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._checkpoint = tf.train.Checkpoint(
            model=learner.model,
            optimizer=learner.optimizer,
            carried=list(self._carried),
            step=self.step,
            best_loss=self.best_loss,
            stale=self.stale,
        )
        self._managers = {
            # Two of the latest, as the older one is removed only after the newer is complete.
            name: tf.train.CheckpointManager(
                self._checkpoint,
                os.path.join(written, name),
                max_to_keep=keep,
            )
            for name, keep in (("latest", 2), ("best", 1))
        }

    def restore(self) -> CharacterState | None:
        """Restores the latest checkpoint; returns the carried state, None if there is none."""
        path = tf.train.latest_checkpoint(self._latest)
        if path is None:
            return None
        self._checkpoint.restore(path).assert_existing_objects_matched()
        return self._spread()

    def restore_best(self) -> None:
        """Restores the best checkpoint, for the export."""
        self._checkpoint.restore(self._managers["best"].latest_checkpoint).expect_partial()

    def save(self, state: CharacterState, step: int, validation_loss: float) -> None:
        """Writes the latest checkpoint and, if the loss is the lowest so far, the best one.

        Args:
          state: Recurrent state that the next window continues from, per replica.
          step: Number of steps done.
          validation_loss: Validation loss, in nats per character.
        """
        self.step.assign(step)
        self._gather(state)
        improved = validation_loss < float(self.best_loss)
        self.stale.assign(0 if improved else self.stale + 1)
        if improved:
            self.best_loss.assign(validation_loss)
            self._managers["best"].save(step)
        self._managers["latest"].save(step)

    def _gather(self, state: CharacterState) -> None:
        """Concatenates the states of the replicas, in the order of their streams."""
        strategy = self._learner.strategy
        for variable, part in zip(self._carried, state, strict=True):
            axis = 0 if part is state.previous else 1
            if this_worker().count > 1:
                variable.assign(strategy.gather(part, axis))
            else:  # logical devices of one processor cannot gather
                variable.assign(tf.concat(strategy.experimental_local_results(part), axis))

    def _spread(self) -> CharacterState:
        """Splits the state among the replicas, the inverse of `_gather`."""
        size = self._learner.replica_batch

        def rows(variable: tf.Variable, context: tf.distribute.ReplicaContext) -> tf.Tensor:
            first = context.replica_id_in_sync_group * size
            axis = variable.shape.rank - 2 if variable.shape.rank > 1 else 0
            return tf.gather(variable, tf.range(first, first + size), axis=axis)

        spread = self._learner.strategy.experimental_distribute_values_from_function
        return CharacterState(
            *(spread(lambda context, v=variable: rows(v, context)) for variable in self._carried)
        )


def _carried_shapes(learner: Learner) -> tuple[tuple[list[int], tf.DType], ...]:
    """Returns shapes and types of the state of all streams."""
    config, batch = learner.model.config, learner.config.batch_size
    vectors = [config.layers, batch, config.units], tf.float32
    return ([batch], tf.int32), vectors, vectors


def write_architecture(directory: str, config: ModelConfig, vocabulary: TextVocabulary) -> None:
    """Writes the architecture of the weights in a directory's checkpoints.

    Args:
      directory: Directory of the training.
      config: Architecture of the model.
      vocabulary: Vocabulary of the model.
    """
    architecture = {
        "model": dataclasses.asdict(config),
        "vocabulary": {"unit": vocabulary.unit, "code_points": list(vocabulary.code_points)},
    }
    write_text(os.path.join(directory, ARCHITECTURE), json.dumps(architecture, indent=1) + "\n")


class InitialWeights:
    """The best weights of an earlier training, from which another starts."""

    def __init__(self, path: str):
        """Finds the checkpoint.

        Args:
          path: Path of a Trainer artifact, or of a directory or checkpoint within one.

        Raises:
          InputError: If there is no checkpoint.
        """
        self.path = path
        directory = path.rstrip("/")
        while directory and not files.exists(os.path.join(directory, ARCHITECTURE)):
            parent = os.path.dirname(directory)
            directory = "" if parent == directory else parent
        candidates = [path, tf.train.latest_checkpoint(path)]
        if directory:
            best = os.path.join(directory, "checkpoints", "best")
            candidates.append(tf.train.latest_checkpoint(best))
        found = [c for c in candidates if c and files.exists(c + ".index")]
        if not directory or not found:
            raise InputError(
                f"there is no checkpoint in {path}; give the directory of a Trainer artifact"
            )
        self._checkpoint = found[0]
        self._architecture = json.loads(read_text(os.path.join(directory, ARCHITECTURE)))

    @property
    def fingerprint(self) -> str:
        """A fingerprint that changes with the checkpoint."""
        stat = files.stat(self._checkpoint + ".index")
        return fingerprint_of([self._checkpoint, *stat])

    def check(self, config: ModelConfig, vocabulary: TextVocabulary) -> None:
        """Compares the architecture with that of the model to train.

        Args:
          config: Architecture of the model.
          vocabulary: Vocabulary of the model.

        Raises:
          InputError: If the weights do not fit, naming the first difference.
        """
        theirs = self._architecture["model"]
        for name, ours in dataclasses.asdict(config).items():
            shapeless = ("dropout", "forget_bias", "init_scale")
            if name not in shapeless and theirs.get(name) != ours:
                raise InputError(
                    f"the checkpoint {self.path} is of another architecture: its {name} is "
                    f"{theirs.get(name)}, here it is {ours}; use --{name} {theirs.get(name)} or "
                    "another checkpoint"
                )
        if TextVocabulary(**_tuples(self._architecture["vocabulary"])) != vocabulary:
            raise InputError(
                f"the checkpoint {self.path} is of another vocabulary; train on the corpus it is "
                "from, or leave out --init_from"
            )

    def load(self, model: CharacterModel) -> None:
        """Loads the weights into a model of the same architecture."""
        tf.train.Checkpoint(model=model).restore(self._checkpoint).expect_partial()


def _tuples(vocabulary: dict[str, Any]) -> dict[str, Any]:
    return {"unit": vocabulary["unit"], "code_points": tuple(vocabulary["code_points"])}
