"""Character models for experiments, trained by the pipeline's stages, and what is asked of them."""

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from common import files
from experiments.experiment import Measured, Row
from model.errors import InputError
from pipeline.data.corpus import Mixture
from pipeline.data.records import read_records, shard_paths
from pipeline.settings import DataConfig, Settings
from pipeline.stages import example_gen, schema_gen, statistics_gen, trainer
from pipeline.store.artifacts import Artifact, Store, copy_tree
from pipeline.training.training_log import LAYER_GRADIENT, LOSS, SPEED, read_scalars
from serving.graph.batching import set_batching
from serving.graph.export import read_text_vocabulary

PIECE = 1000
"""Characters that an export reads at once."""
WARM = 100
"""Characters of a piece that do not count, as nothing has been read before them."""
SAMPLE = 300


def examples_of(store: Store, text: Mixture, data: DataConfig) -> tuple[Artifact, Artifact]:
    """Examples and schema of a text."""
    examples = example_gen.run(store, text, data)
    return examples, schema_gen.run(store, statistics_gen.run(store, examples))


def train(store: Store, text: Mixture, settings: Settings) -> tuple[Artifact, Artifact]:
    """The examples of a text, and a model trained on them."""
    examples, schema = examples_of(store, text, settings.data)
    return examples, trainer.run(store, examples, schema, settings)


def measure(store: Store, text: Mixture, settings: Settings, pieces: int = 64) -> Measured:
    """Trains a model, and measures it.

    Args:
      store: where artifacts are.
      text: what to train on.
      settings: how.
      pieces: of `PIECE` characters, from the eval split, for the losses by class of character.

    Returns:
      Tables curves (validation loss over characters read and seconds of training), gradients (norm
      of each layer's over steps), classes (loss by class of character) and models (one row).
    """
    examples, model = train(store, text, settings)
    export = Export.load(trainer.saved_models(model)["float32"])
    return Measured(
        {
            **_logged(model, settings),
            "classes": list(losses_by_class(export, text_of(examples, "eval"), pieces)),
            "models": [_facts(model, export)],
        },
        model.manifest.seconds,
    )


def _logged(model, settings):
    """The curves that a training has left."""
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


def _facts(model, export) -> Row:
    counters = model.manifest.counters
    return {
        "loss": counters["validation_nats"],
        "parameters": counters["parameters"],
        "characters": counters["characters"],
        "seconds": model.manifest.seconds,
        "text": export.sample(),
    }


class Export(NamedTuple):
    """An exported model, loaded.

    Attributes:
      signatures: by name.
      known: the bytes of its vocabulary.
    """

    signatures: Mapping[str, Any]
    known: bytes

    @classmethod
    def load(cls, path: str) -> "Export":
        """Loads a SavedModel.

        Raises:
          InputError: if there is none, or its characters are not bytes.
        """
        if not files.exists(os.path.join(path, tf.saved_model.SAVED_MODEL_FILENAME_PB)):
            raise InputError(f"{path} is not an exported model; give one with a saved_model.pb")
        vocabulary = read_text_vocabulary(path)
        if vocabulary.unit != "bytes":
            raise InputError(f"the characters of {path} are code points; give a model of bytes")
        # The threads that merge the requests of one model look for some a thousand times a second,
        # for as long as the process lives; those that all models share wait until there are some.
        with tempfile.TemporaryDirectory() as copy:
            copy_tree(path, copy)
            set_batching(copy, {"num_batch_threads": 0})
            signatures = tf.saved_model.load(copy).signatures
        return cls(signatures, bytes(vocabulary.code_points))

    def pieces(self, text: bytes, count: int) -> list[bytes]:
        """Pieces of `PIECE` bytes, evenly spread over a text, that the model can read.

        Raises:
          InputError: if it can read none of them.
        """
        starts = np.linspace(0, max(len(text) - PIECE, 0), count).astype(int)
        pieces = [text[start : start + PIECE] for start in np.unique(starts)]
        readable = [p for p in pieces if len(p) == PIECE and not p.translate(None, self.known)]
        if not readable:
            raise InputError(
                f"the text is shorter than {PIECE} characters, or has some that the vocabulary of "
                "the model lacks; give the model's own by --corpus"
            )
        return readable

    def score(self, pieces: Sequence[bytes]) -> np.ndarray:
        """ln p of each character, `[pieces, PIECE]`."""
        scored = self.signatures["score"](text=tf.constant(pieces))
        return scored["log_probabilities"].numpy()

    def sample(self, length: int = SAMPLE) -> str:
        """A text that the model writes from nothing."""
        written = self.signatures["serving_default"](
            prompt=tf.constant([b""]),
            length=tf.constant([length]),
            temperature=tf.constant([0.8]),
            top_k=tf.constant([0]),
            top_p=tf.constant([1.0]),
            seed=tf.constant([0], tf.int64),
        )
        return written["text"].numpy()[0].decode("utf-8", "replace")


def text_of(examples: Artifact, split: str) -> bytes:
    """The first shard of a split."""
    return b"".join(record.text for record in read_records(shard_paths(examples.path, split)[0]))


def losses_by_class(export: Export, text: bytes, pieces: int) -> Iterator[Row]:
    """The mean loss of an exported model on each class of characters.

    Args:
      export: the model.
      text: to be predicted.
      pieces: how many to cut from it, evenly spread.

    Yields:
      Rows of the class, how many characters it had, and their mean -ln p.
    """
    cut = export.pieces(text, pieces)
    scores = export.score(cut)
    letters = np.frombuffer(b"".join(cut), np.uint8).reshape(len(cut), PIECE)[:, WARM:]
    losses = -scores[:, WARM:]
    for name, members in CLASSES.items():
        chosen = np.isin(letters, np.frombuffer(members, np.uint8))
        if chosen.any():
            loss = float(losses[chosen].mean())
            yield {"class": name, "count": int(chosen.sum()), "loss": round(loss, 5)}


def _bytes_where(holds) -> bytes:
    return bytes(code for code in range(128) if holds(chr(code)))


CLASSES = {
    "lower case": _bytes_where(str.islower),
    "upper case": _bytes_where(str.isupper),
    "digit": _bytes_where(str.isdigit),
    "space": b" \t",
    "line feed": b"\n\r",
    "bracket": b"()[]{}<>",
    "quote": b"'\"`",
    "other": _bytes_where(
        lambda c: c.isprintable() and not c.isalnum() and c not in "()[]{}<>'\"` "
    ),
}
"""Classes of ASCII characters; each character is in one."""
