"""Exports a model as a SavedModel with signatures, assets and warm-up requests."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from model.config import Precision
from model.language_model.character_model import CharacterModel
from model.language_model.frozen import freeze
from model.text.code_points import TextVocabulary
from serving.generate_inputs import SMALLER_SIGNATURES
from serving.graph.batching import Batching, edited_saved_model, set_attributes
from serving.graph.input_specs import with_rank_checks
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
    is_compiled: bool = False,
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
      batching: How requests are merged; None, the default, for `Batching.default_for(model)`, or
        `Batching.compiled()` where sampling is.
      is_compiled: Whether XLA compiles sampling, so that one text of a small model is written
        faster. A stock TensorFlow Serving loads such a model only with
        `--xla_cpu_compilation_enabled`. Default False.
    """
    if batching is None:
        batching = Batching.compiled() if is_compiled else Batching.default_for(model)
    frozen = freeze(model, precision)
    files = {**(documents or {}), os.path.basename(VOCABULARY): vocabulary.to_text()}
    with temporary_files(files) as paths:
        served = ServedModel(frozen, vocabulary, paths, batching, is_compiled)
        save_signatures(served, served.signatures(), directory)
    logs = _warm_up_logs(vocabulary, batching.generated_batch_sizes)
    write_warm_up(directory, logs)


def save_signatures(
    served: tf.Module,
    functions: Mapping[str, tf.types.experimental.PolymorphicFunction],
    directory: str,
    row: str = "text",
) -> None:
    """Writes a SavedModel with signatures that check the ranks of their inputs.

    Args:
      served: Module that the functions belong to.
      functions: Functions with input signatures, by the name of the signature.
      directory: Directory to write.
      row: What a row of an input is for, in messages. Default "text".
    """
    checked = {name: with_rank_checks(function, row) for name, function in functions.items()}
    # A served model is not trained, and the custom gradients would keep their own loops.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(served, directory, signatures=checked, options=options)
    specs = {name: function.input_signature for name, function in functions.items()}
    _complete_signatures(directory, specs)


def _complete_signatures(directory: str, specs: Mapping[str, Sequence[tf.TensorSpec]]) -> None:
    """Gives the signatures of a SavedModel the shapes of their inputs, and their method names."""
    with edited_saved_model(directory) as saved_model:
        (meta_graph,) = saved_model.meta_graphs
        for name, inputs in specs.items():
            signature = meta_graph.signature_def[name]
            signature.method_name = METHODS.get(name, signature.method_name)
            for spec in inputs:
                signature.inputs[spec.name].tensor_shape.CopyFrom(spec.shape.as_proto())


def set_batching(directory: str, attributes: Mapping[str, int]) -> None:
    """Changes how a SavedModel merges requests, in place, and its warm-up requests accordingly.

    Args:
      directory: Directory of the SavedModel.
      attributes: New values for attributes of its `BatchFunction` ops, by name, such as
        `{"batch_timeout_micros": 500}`.
    """
    with edited_saved_model(directory) as saved_model:
        batch_sizes = set_attributes(saved_model, attributes)
    if batch_sizes:  # other warm-up requests have a row each, whatever a batch holds
        write_warm_up(directory, _warm_up_logs(read_text_vocabulary(directory), batch_sizes))


@contextlib.contextmanager
def temporary_files(files: dict[str, str]) -> Iterator[list[str]]:
    """Writes files of the given names and texts, and yields their paths.

    Args:
      files: Texts by name.
    """
    with tempfile.TemporaryDirectory() as directory:
        paths = []
        for name, text in files.items():
            paths.append(os.path.join(directory, name))
            with open(paths[-1], "w", encoding="utf-8", newline="") as file:
                file.write(text)
        yield paths


def _warm_up_logs(
    vocabulary: TextVocabulary, batch_sizes: tuple[int, ...]
) -> list[prediction_log_pb2.PredictionLog]:
    """Returns a request of each signature.

    Args:
      vocabulary: The model's vocabulary.
      batch_sizes: Sizes of the batches for which sampling is compiled.
    """
    text = vocabulary.decode(tf.constant([[0, 0]])).numpy().astype(object)
    generating = (*SMALLER_SIGNATURES, "generate")
    requests = {
        **{name: {"prompt": text, "length": np.array([2], np.int32)} for name in generating},
        "score": {"text": text},
        "embed": {"text": text},
        "inspect": {"text": text},
    }
    batches = [
        ("generate", {"prompt": text.repeat(rows), "length": np.array([2], np.int32)})
        for rows in batch_sizes
    ]
    logs = [predict_log(signature, inputs) for signature, inputs in [*requests.items(), *batches]]
    example = tf.train.Example()
    example.features.feature[TEXT_FEATURE].bytes_list.value.extend(text)
    for signature in METHODS:
        logs.append(prediction_log_pb2.PredictionLog())
        request = getattr(logs[-1], f"{signature}_log").request
        request.model_spec.signature_name = signature
        request.input.example_list.examples.append(example)
    return logs


def predict_log(
    signature: str, inputs: Mapping[str, np.ndarray]
) -> prediction_log_pb2.PredictionLog:
    """Returns a warm-up request of Predict.

    Args:
      signature: Name of the signature.
      inputs: Inputs by name.
    """
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(predict_request("", signature, inputs))
    return log


def write_warm_up(directory: str, logs: Iterable[prediction_log_pb2.PredictionLog]) -> None:
    """Writes requests that a server answers before it makes the version available.

    Args:
      directory: Directory of the SavedModel.
      logs: The requests.
    """
    path = os.path.join(directory, WARM_UP)
    tf.io.gfile.makedirs(os.path.dirname(path))
    if tf.io.gfile.exists(path):
        tf.io.gfile.remove(path)  # some filesystems do not truncate on overwrite
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
