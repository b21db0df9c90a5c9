"""Character models for experiments: trained by the pipeline's stages, exported and measured."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from common import files
from experiments.framework.experiment import Measurement, Row, Tables
from model.errors import InputError
from pipeline.corpora.corpus import Mixture
from pipeline.data.records import read_records, shard_paths
from pipeline.settings import DataConfig, Settings
from pipeline.stages import example_gen, schema_gen, statistics_gen, trainer
from pipeline.store.artifacts import Artifact, Store, copy_tree
from pipeline.training.exports import saved_models
from pipeline.training.training_log import LAYER_GRADIENT, LOSS, SPEED, read_scalars
from serving.graph.export import read_text_vocabulary, set_batching

PIECE = 1000
"""Number of characters of a piece of text, which an export reads at once."""
WARM_UP = 100
"""Number of characters at the start of a piece that do not count, for lack of context."""
SAMPLE = 300
"""Number of characters of a sample."""


def examples_of(store: Store, text: Mixture, data: DataConfig) -> tuple[Artifact, Artifact]:
    """Returns examples and schema of a text.

    Args:
      store: Store of the artifacts, held by this process.
      text: Corpus.
      data: How the corpus is split and sharded.
    """
    examples = example_gen.run(store, text, data)
    return examples, schema_gen.run(store, statistics_gen.run(store, examples))


def train(store: Store, text: Mixture, settings: Settings) -> tuple[Artifact, Artifact]:
    """Returns examples of a text, and a model trained on them.

    Args:
      store: Store of the artifacts, held by this process.
      text: Corpus.
      settings: Settings of data, model and training.
    """
    examples, schema = examples_of(store, text, settings.data)
    return examples, trainer.run(store, examples, schema, settings)


def measure(store: Store, text: Mixture, settings: Settings, pieces: int = 64) -> Measurement:
    """Trains a model and measures it.

    Args:
      store: Store of the artifacts, held by this process.
      text: Corpus.
      settings: Settings of data, model and training.
      pieces: Number of pieces of the eval split for the losses by class of character.

    Returns:
      The tables `curves` (validation loss over training characters and seconds), `gradients` (norm
      of each layer's gradient over steps), `classes` (loss by class of character) and `models` (one
      row).
    """
    examples, model = train(store, text, settings)
    export = Export.load(saved_models(model)["float32"])
    return Measurement(
        {
            **_logged_curves(model, settings),
            "classes": list(losses_by_class(export, text_of(examples, "eval"), pieces)),
            "models": [_model_row(model, export)],
        },
        model.manifest.seconds,
    )


def _logged_curves(model: Artifact, settings: Settings) -> Tables:
    """Returns the curves in the logs of a training."""
    train, validation = (read_scalars(model.path, run) for run in ("train", "validation"))
    size = settings.training.batch_size * settings.training.window
    speed = median(train[SPEED].values()) if SPEED in train else math.nan
    curves = [
        {
            "step": step,
            "characters": step * size,
            "seconds": round(step * size / speed, 2),
            "loss": round(loss, 5),
        }
        for step, loss in validation[LOSS].items()
    ]
    gradients = [
        {"step": step, "layer": int(tag.removeprefix(LAYER_GRADIENT)), "norm": float(f"{norm:.4g}")}
        for tag, norms in train.items()
        if tag.startswith(LAYER_GRADIENT)
        for step, norm in norms.items()
    ]
    return {"curves": curves, "gradients": gradients}


def _model_row(model: Artifact, export: "Export") -> Row:
    properties = trainer.Properties.read(model)
    return {
        "loss": properties.validation_nats,
        "parameters": properties.parameters,
        "characters": properties.characters,
        "seconds": model.manifest.seconds,
        "text": export.sample(),
    }


class Export(NamedTuple):
    """An exported model, loaded into this process.

    Attributes:
      signatures: Functions of the signatures, by name.
      vocabulary: Bytes that the model knows.
    """

    signatures: Mapping[str, Any]
    vocabulary: bytes

    @classmethod
    def load(cls, path: str) -> "Export":
        """Loads a SavedModel.

        Args:
          path: Directory of the SavedModel.

        Raises:
          InputError: If there is none, or its characters are not bytes.
        """
        if not files.exists(os.path.join(path, tf.saved_model.SAVED_MODEL_FILENAME_PB)):
            raise InputError(f"{path} is not an exported model; give one with a saved_model.pb")
        vocabulary = read_text_vocabulary(path)
        if vocabulary.unit != "bytes":
            raise InputError(f"the characters of {path} are code points; give a model of bytes")
        # The batching threads of a model poll a thousand times a second for as long as the process
        # lives; the threads that all models share sleep until there are requests.
        with tempfile.TemporaryDirectory() as copy:
            copy_tree(path, copy)
            set_batching(copy, {"num_batch_threads": 0})
            signatures = tf.saved_model.load(copy).signatures
        return cls(signatures, bytes(vocabulary.code_points))

    def pieces(self, text: bytes, count: int) -> list[bytes]:
        """Cuts pieces of `PIECE` bytes, evenly spread over a text, that the model can read.

        Args:
          text: The text.
          count: Number of pieces to cut.

        Raises:
          InputError: If the model can read none of them.
        """
        starts = np.linspace(0, max(len(text) - PIECE, 0), count).astype(int)
        pieces = [text[start : start + PIECE] for start in np.unique(starts)]
        readable = [p for p in pieces if len(p) == PIECE and not p.translate(None, self.vocabulary)]
        if not readable:
            raise InputError(
                f"the text is shorter than {PIECE} characters, or has some that the vocabulary of "
                "the model lacks; give the model's own by --corpus"
            )
        return readable

    def score(self, pieces: Sequence[bytes]) -> np.ndarray:
        """Returns ln p of each character of pieces, float32 `[pieces, PIECE]`."""
        scored = self.signatures["score"](text=tf.constant(pieces))
        return scored["log_probabilities"].numpy()

    def sample(self, length: int = SAMPLE) -> str:
        """Returns a text that the model generates without a prompt.

        Args:
          length: Number of characters.
        """
        outputs = self.signatures["serving_default"](
            prompt=tf.constant([b""]),
            length=tf.constant([length]),
            temperature=tf.constant([0.8]),
            top_k=tf.constant([0]),
            top_p=tf.constant([1.0]),
            seed=tf.constant([0], tf.int64),
        )
        return outputs["text"].numpy()[0].decode("utf-8", "replace")


def text_of(examples: Artifact, split: str) -> bytes:
    """Returns the text in the first shard of a split.

    Args:
      examples: Examples.
      split: Name of the split.
    """
    return b"".join(record.text for record in read_records(shard_paths(examples.path, split)[0]))


def losses_by_class(export: Export, text: bytes, pieces: int) -> Iterator[Row]:
    """Computes the mean loss of an exported model on each class of characters.

    Args:
      export: The model.
      text: Text to predict.
      pieces: Number of pieces to cut from it, evenly spread.

    Yields:
      Rows with the class, the number of its characters, and their mean -ln p.
    """
    cut = export.pieces(text, pieces)
    scores = export.score(cut)
    letters = np.frombuffer(b"".join(cut), np.uint8).reshape(len(cut), PIECE)[:, WARM_UP:]
    losses = -scores[:, WARM_UP:]
    for name, members in CLASSES.items():
        in_class = np.isin(letters, np.frombuffer(members, np.uint8))
        if in_class.any():
            loss = float(losses[in_class].mean())
            yield {"class": name, "count": int(in_class.sum()), "loss": round(loss, 5)}


def _ascii_bytes(predicate: Callable[[str], bool]) -> bytes:
    """Returns the ASCII characters for which a predicate is true."""
    return bytes(code for code in range(128) if predicate(chr(code)))


CLASSES = {
    "lower case": _ascii_bytes(str.islower),
    "upper case": _ascii_bytes(str.isupper),
    "digit": _ascii_bytes(str.isdigit),
    "space": b" \t",
    "line feed": b"\n\r",
    "bracket": b"()[]{}<>",
    "quote": b"'\"`",
    "other": _ascii_bytes(
        lambda c: c.isprintable() and not c.isalnum() and c not in "()[]{}<>'\"` "
    ),
}
"""Classes of ASCII characters, of which each is in one."""
