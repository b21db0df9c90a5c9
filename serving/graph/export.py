"""Exports a model as a SavedModel with signatures, assets and warm-up requests."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from model.config import Precision
from model.language_model.character_model import CharacterModel
from model.language_model.frozen import freeze
from model.text.code_points import TextVocabulary
from serving.graph.batching import Batching
from serving.graph.served_model import TEXT_FEATURE, ServedModel
from serving.protocol import CLASSIFY, REGRESS, predict_request

VOCABULARY = os.path.join("assets", "vocabulary.txt")
"""Path of the vocabulary in a SavedModel."""

WARM_UP = os.path.join("assets.extra", "tf_serving_warmup_requests")
"""Path of the warm-up requests in a SavedModel, where TensorFlow Serving looks for them."""

METHODS = {"classify": CLASSIFY, "regress": REGRESS}
"""Method names of the signatures that are not for Predict."""


def export(
    model: CharacterModel,
    vocabulary: TextVocabulary,
    directory: str,
    documents: dict[str, str] | None = None,
    precision: Precision = "float32",
    batching: Batching | None = None,
) -> None:
    """Writes a SavedModel with the signatures of `ServedModel`.

    Example:

      >>> import tempfile
      >>> from model.language_model.character_model import CharacterModel
      >>> from model.language_model.config import ModelConfig
      >>> from model.text.code_points import TextVocabulary
      >>> vocabulary = TextVocabulary.of("bytes", b"abc")
      >>> model = CharacterModel(ModelConfig(layers=1, units=4), vocabulary.size)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     export(model, vocabulary, f"{folder}/1")
      ...     signatures = tf.saved_model.load(f"{folder}/1").signatures
      ...     outputs = signatures["score"](text=tf.constant(["abc", "a"]))
      >>> outputs["log_probabilities"].shape
      TensorShape([2, 3])

    Args:
      model: The model.
      vocabulary: Its vocabulary, which is written to `assets/vocabulary.txt`.
      directory: Directory to write, the directory of a version.
      documents: Further texts to write among the assets, by file name. Default: none.
      precision: Precision of the kernels and of the inputs of products with them. With "int8" all
        else is float32, and a machine without VNNI can export the model but not run it. Default
        "float32".
      batching: How requests are merged; None, the default, for `Batching.default_for(model)`.
    """
    frozen = freeze(model, precision)
    files = {**(documents or {}), os.path.basename(VOCABULARY): vocabulary.to_text()}
    with _temporary_files(files) as paths:
        served = ServedModel(frozen, vocabulary, paths, batching or Batching.default_for(model))
        # A served model is not trained, and the custom gradients would keep their own loops.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(served, directory, signatures=served.signatures(), options=options)
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(directory)
    for signature, method in METHODS.items():
        updater.replace_method_name(signature, method, "serve")
    # Some filesystems do not truncate on overwrite.
    tf.io.gfile.remove(os.path.join(directory, tf.saved_model.SAVED_MODEL_FILENAME_PB))
    updater.save()
    _write_warm_up(directory, vocabulary)


@contextlib.contextmanager
def _temporary_files(files: dict[str, str]) -> Iterator[list[str]]:
    """Writes files of the given names and texts, and yields their paths."""
    with tempfile.TemporaryDirectory() as directory:
        paths = []
        for name, text in files.items():
            paths.append(os.path.join(directory, name))
            with open(paths[-1], "w", encoding="utf-8", newline="") as file:
                file.write(text)
        yield paths


def _write_warm_up(directory: str, vocabulary: TextVocabulary) -> None:
    """Writes requests that a server answers before it makes the version available."""
    text = vocabulary.decode(tf.constant([[0, 0]])).numpy().astype(object)
    requests = {
        "serving_default": {"prompt": text, "length": np.array([2], np.int32)},
        "generate": {"prompt": text, "length": np.array([2], np.int32)},
        "score": {"text": text},
        "embed": {"text": text},
        "inspect": {"text": text},
    }
    logs = []
    for signature, inputs in requests.items():
        logs.append(prediction_log_pb2.PredictionLog())
        logs[-1].predict_log.request.CopyFrom(predict_request("", signature, inputs))
    example = tf.train.Example()
    example.features.feature[TEXT_FEATURE].bytes_list.value.extend(text)
    for signature in METHODS:
        logs.append(prediction_log_pb2.PredictionLog())
        request = getattr(logs[-1], f"{signature}_log").request
        request.model_spec.signature_name = signature
        request.input.example_list.examples.append(example)
    path = os.path.join(directory, WARM_UP)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for log in logs:
            writer.write(log.SerializeToString())


def read_text_vocabulary(directory: str) -> TextVocabulary:
    """Returns the vocabulary of a SavedModel.

    Args:
      directory: Directory of the SavedModel.
    """
    path = os.path.join(directory, VOCABULARY)
    with tf.io.gfile.GFile(path) as file:
        return TextVocabulary.from_text(file.read(), path)
