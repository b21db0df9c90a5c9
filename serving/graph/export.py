"""The SavedModel as it is written: signatures, assets, and requests to warm a server up with."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from model.decoding.packed_kernels import Precision
from model.execution.plan import PLAIN
from model.language_model.character_model import CharacterModel
from model.text.code_points import TextVocabulary
from serving.graph.batching import Batching
from serving.graph.served_model import TEXT_FEATURE, ServedModel
from serving.protocol import CLASSIFY, REGRESS, predict_request

VOCABULARY = os.path.join("assets", "vocabulary.txt")
WARM_UP = os.path.join("assets.extra", "tf_serving_warmup_requests")
METHODS = {"classify": CLASSIFY, "regress": REGRESS}


def export(
    model: CharacterModel,
    vocabulary: TextVocabulary,
    directory: str,
    documents: dict[str, str] | None = None,
    precision: Precision = "float32",
    batching: Batching | None = None,
) -> None:
    """Writes a SavedModel with the signatures of `ServedModel`.

    Args:
      model: the model.
      vocabulary: its characters, which go to `assets/vocabulary.txt`.
      directory: where to.
      documents: texts for people by file name, to go among the assets.
      precision: of the net's kernels, and of what enters products with them; with "int8" all else
        is float32, and a machine without VNNI can write the model but not answer with it.
      batching: how requests are merged; None for `Batching.default_for` the model.
    """
    # A model trained by a strategy has mirrored variables; the export is to have plain ones.
    quantize = precision == "int8"
    dtype = "float32" if quantize else precision
    plain = CharacterModel(model.config, model.vocabulary_size, PLAIN._replace(dtype=dtype))
    plain.set_weights(model.get_weights())
    plain.freeze(quantize)
    files = {**(documents or {}), os.path.basename(VOCABULARY): vocabulary.to_text()}
    with _written(files) as paths:
        served = ServedModel(plain, vocabulary, paths, batching or Batching.default_for(model))
        # Nobody trains a served model, and the hand-written gradients hold on to loops of theirs.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(served, directory, signatures=served.signatures(), options=options)
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(directory)
    for signature, method in METHODS.items():
        updater.replace_method_name(signature, method, "serve")
    # Not every filesystem cuts a file that is written anew.
    tf.io.gfile.remove(os.path.join(directory, tf.saved_model.SAVED_MODEL_FILENAME_PB))
    updater.save()
    _write_warm_up(directory, vocabulary)


@contextlib.contextmanager
def _written(files: dict[str, str]) -> Iterator[list[str]]:
    """Paths of files with the given names and texts."""
    with tempfile.TemporaryDirectory() as directory:
        paths = []
        for name, text in files.items():
            paths.append(os.path.join(directory, name))
            with open(paths[-1], "w", encoding="utf-8", newline="") as file:
                file.write(text)
        yield paths


def _write_warm_up(directory, vocabulary):
    """Requests that a server answers before it calls the version available."""
    text = vocabulary.decode(tf.constant([[0, 0]])).numpy().astype(object)
    requests = {
        "serving_default": {"prompt": text, "length": np.array([2], np.int32)},
        "generate": {"prompt": text, "length": np.array([2], np.int32)},
        **{signature: {"text": text} for signature in ("score", "embed", "inspect")},
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
    """The vocabulary of a SavedModel."""
    path = os.path.join(directory, VOCABULARY)
    with tf.io.gfile.GFile(path) as file:
        return TextVocabulary.from_text(file.read(), path)
