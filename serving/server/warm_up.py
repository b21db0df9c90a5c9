"""Warm-up: requests that a version answers before clients reach it, as the first ones are slow."""

import os

import tensorflow as tf
from google.protobuf import message
from tensorflow_serving.apis import prediction_log_pb2

from model.errors import InputError
from serving.graph.export import WARM_UP
from serving.protocol import REGRESS
from serving.server import examples
from serving.server.errors import RequestError
from serving.server.servable import Servable


def warm_up(servable: Servable, path: str) -> None:
    """Runs the warm-up requests in the directory of a version, if there are any.

    Args:
      servable: The version.
      path: Its directory, with a TFRecord file of PredictionLogs at `export.WARM_UP`.

    Raises:
      InputError: If a request fails or cannot be read.
    """
    records = os.path.join(path, WARM_UP)
    if not tf.io.gfile.exists(records):
        return
    try:
        for record in tf.data.TFRecordDataset(records):
            _run(servable, prediction_log_pb2.PredictionLog.FromString(record.numpy()))
    except (tf.errors.DataLossError, message.Error) as error:
        raise InputError(f"{records} cannot be read; push the model again") from error
    except (RequestError, tf.errors.OpError) as error:
        problem = str(error).splitlines()[0]
        raise InputError(f"{path} cannot answer a warm-up request of its own: {problem}") from error


def _run(servable: Servable, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        servable.predict(request.model_spec.signature_name, request.inputs, ())
    elif kind == "classify_log":
        request = log.classify_log.request
        serialized = examples.serialize_examples(request.input)
        examples.classify(servable, request.model_spec, serialized)
    elif kind == "regress_log":
        request = log.regress_log.request
        serialized = examples.serialize_examples(request.input)
        examples.regress(servable, request.model_spec, serialized)
    elif kind == "multi_inference_log":
        request = log.multi_inference_log.request
        serialized = examples.serialize_examples(request.input)
        for task in request.tasks:
            infer = examples.regress if task.method_name == REGRESS else examples.classify
            infer(servable, task.model_spec, serialized)
    else:
        raise RequestError("UNIMPLEMENTED", f"a {kind} is not supported for warm-up")
