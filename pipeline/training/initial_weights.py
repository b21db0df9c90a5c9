"""The weights of an earlier training, from which another starts."""

import dataclasses
import json
import os

import keras
import numpy as np
import tensorflow as tf

from common import checksums, files
from common.files import read_text
from model.errors import InputError
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.text.code_points import TextVocabulary
from pipeline.store.manifest import fingerprint_of
from pipeline.training import checkpoint_files
from pipeline.training.checkpoints import ARCHITECTURE

LATEST = "latest"
_SHAPELESS = ("dropout", "weight_dropout", "forget_bias", "transform_bias", "init_scale")
"""Parameters of an architecture that leave the shapes of its weights as they are."""


class InitialWeights:
    """The best weights of an earlier training, from which another starts.

    Characters are matched by what they are: the weights of those that the earlier corpus did not
    have start afresh.
    """

    def __init__(self, path: str):
        """Finds the checkpoint.

        Args:
          path: Path of a Trainer artifact, of a directory or checkpoint within one, or of the
            pointer `latest` beside the artifacts.

        Raises:
          InputError: If there is no checkpoint, or it is damaged.
        """
        self.path = path
        directory = _followed(path).rstrip("/")
        candidates = [directory, tf.train.latest_checkpoint(directory)]
        while directory and not files.exists(os.path.join(directory, ARCHITECTURE)):
            parent = os.path.dirname(directory)
            directory = "" if parent == directory else parent
        if directory:
            best = os.path.join(directory, "checkpoints", "best")
            candidates.append(tf.train.latest_checkpoint(best))
        found = [c for c in candidates if c and files.exists(c + ".index")]
        if not directory or not found:
            raise InputError(
                f"there is no checkpoint in {path}; give the directory of a Trainer artifact"
            )
        self._checkpoint = found[0]
        if told := checkpoint_files.damage(self._checkpoint):
            raise InputError(f"{told}; give another checkpoint")
        description = os.path.join(directory, ARCHITECTURE)
        try:
            architecture = json.loads(read_text(description))
            self._config = architecture["model"]
            vocabulary = architecture["vocabulary"]
            self._vocabulary = TextVocabulary.of(vocabulary["unit"], vocabulary["code_points"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{description} is damaged; give another checkpoint") from error

    @property
    def fingerprint(self) -> str:
        """A fingerprint that changes with the weights, wherever they lie."""
        # The index has checksums of all tensors.
        return fingerprint_of(checksums.of_file(f"{self._checkpoint}.index"))

    @property
    def architecture(self) -> ModelConfig:
        """The architecture of the checkpoint.

        Raises:
          InputError: If it has parameters that are not known here.
        """
        unknown = self._config.keys() - {field.name for field in dataclasses.fields(ModelConfig)}
        if unknown:
            raise InputError(
                f"the checkpoint {self.path} is of another version of this software, which has the "
                f"parameter {min(unknown)}; train again"
            )
        return ModelConfig.from_dict(self._config)

    @property
    def vocabulary(self) -> TextVocabulary:
        """The vocabulary of the checkpoint."""
        return self._vocabulary

    def require_architecture(self, config: ModelConfig) -> None:
        """Compares the architecture with that of the model to train.

        Args:
          config: Architecture of the model.

        Raises:
          InputError: If the weights do not fit, naming the first difference.
        """
        defaults = dataclasses.asdict(ModelConfig())
        for name, ours in dataclasses.asdict(config).items():
            # Checkpoints of before an option existed have its default.
            theirs = self._config.get(name, defaults[name])
            option = f"use --{name} {theirs}"
            if isinstance(ours, tuple):
                option = "use " + " ".join(f"--{name} {one}" for one in theirs)
                option = option if theirs else f"leave out --{name}"
                ours, theirs = (", ".join(one) or "none" for one in (ours, theirs))
            if name not in _SHAPELESS and theirs != ours:
                raise InputError(
                    f"the checkpoint {self.path} is of another architecture: its {name} is "
                    f"{theirs}, here it is {ours}; {option} or use another checkpoint"
                )

    def require_unit(self, vocabulary: TextVocabulary) -> None:
        """Checks that characters are what they are in the vocabulary of the model to train.

        Args:
          vocabulary: Vocabulary of the model.

        Raises:
          InputError: If one has bytes and the other code points, or no character is in both.
        """
        if self._vocabulary.unit != vocabulary.unit:
            raise InputError(
                f"the characters of the checkpoint {self.path} are {self._vocabulary.unit}, here "
                f"they are {vocabulary.unit}; use --character_unit {self._vocabulary.unit}, or "
                "another checkpoint"
            )
        if self._config.get("contexts") and self._vocabulary != vocabulary:
            raise InputError(
                f"the checkpoint {self.path} has contexts, whose weights belong to its own "
                "characters, and this corpus has others; leave out --init_from"
            )
        if not set(self._vocabulary.code_points) & set(vocabulary.code_points):
            raise InputError(
                f"the checkpoint {self.path} knows no character of this corpus; leave out "
                "--init_from"
            )

    def load(self, model: CharacterModel, vocabulary: TextVocabulary) -> None:
        """Loads the weights into a model of the same architecture.

        Args:
          model: Model to train.
          vocabulary: Vocabulary of the model.
        """
        if vocabulary == self._vocabulary:
            tf.train.Checkpoint(model=model).restore(self._checkpoint).expect_partial()
            return
        theirs = CharacterModel(model.config, self._vocabulary.size, model.plan)
        tf.train.Checkpoint(model=theirs).restore(self._checkpoint).expect_partial()
        core, source = model.core, theirs.core
        assert isinstance(core, keras.Layer) and isinstance(source, keras.Layer)
        core.set_weights(source.get_weights())
        known = np.isin(vocabulary.code_points, self._vocabulary.code_points)
        here = np.flatnonzero(known)
        there = np.searchsorted(
            self._vocabulary.code_points, np.array(vocabulary.code_points)[here]
        )
        # The last row of an embedding is that of no known character, in either.
        rows = np.append(here, vocabulary.size), np.append(there, self._vocabulary.size)
        _copy(model.embedding, theirs.embedding, rows[0], rows[1], axis=0)
        if not model.config.tied_embeddings:
            _copy(model.output_kernel, theirs.output_kernel, here, there, axis=1)
        _copy(model.output_bias, theirs.output_bias, here, there, axis=0)


def _copy(
    target: tf.Variable, source: tf.Variable, here: np.ndarray, there: np.ndarray, axis: int
) -> None:
    """Copies slices of a variable to other positions of another."""
    values = np.moveaxis(np.array(target), axis, 0)
    values[here] = np.moveaxis(np.array(source), axis, 0)[there]
    target.assign(np.moveaxis(values, 0, axis))


def _followed(path: str) -> str:
    """Returns the directory that a pointer `latest` names; another path as it is."""
    if os.path.basename(path) != LATEST or not files.exists(path) or files.isdir(path):
        return path
    return os.path.join(os.path.dirname(path), read_text(path).strip())
