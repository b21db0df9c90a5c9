"""Checks the inputs of a request against a signature, and converts them to arrays."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.limits import MAX_DIMENSIONS, MAX_ELEMENTS, MAX_REPEATED_ELEMENTS
from serving.server.errors import RequestError
from serving.tensors import to_array, values_given

_DTYPES = set(types_pb2.DataType.values()) - {types_pb2.DT_INVALID}


def check_names(signature: meta_graph_pb2.SignatureDef, inputs: Iterable[str]) -> None:
    """Checks that a request has all inputs of a signature without a default, and no unknown ones.

    Args:
      signature: Definition of the signature.
      inputs: Names of the inputs of the request.

    Raises:
      RequestError: With TensorFlow Serving's message, which names the unknown or missing inputs.
    """
    given, known, defaults = set(inputs), set(signature.inputs), set(signature.defaults)
    if len(given) > len(known) or (len(given) < len(known) and not defaults):
        raise RequestError(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(given)}!={len(known)} "
            f"len({{{_joined(given)}}}) != len({{{_joined(known)}}}). "
            f"Sent extra: {{{_joined(given - known)}}}. "
            f"Missing but required: {{{_joined(known - given)}}}.",
        )
    for name in sorted(known - given - defaults):
        raise RequestError(
            "INVALID_ARGUMENT",
            f"Signature input alias: {name}(feed name: {signature.inputs[name].name}) not found in "
            f"request and no default value provided. Inputs expected to be in the request "
            f"{{{_joined(given)}}}, or default input alias set: {_joined(defaults)}",
        )
    if given - known:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"Inputs contains invalid name. Used request inputs: {_joined(given & known)}, request "
            f"input: {_joined(given)}",
        )


def check_filter(signature: meta_graph_pb2.SignatureDef, names: Sequence[str]) -> None:
    """Checks that the outputs which a request asks for are outputs of a signature, each once.

    Args:
      signature: Definition of the signature.
      names: Names of the outputs.

    Raises:
      RequestError: With TensorFlow Serving's message, which names the first that is not.
    """
    for name in names:
        if name not in signature.outputs:
            raise RequestError(
                "INVALID_ARGUMENT",
                f"output tensor alias not found in signature: {name} Outputs expected to be in the "
                f"set {{{_joined(signature.outputs)}}}.",
            )
        if list(names).count(name) > 1:
            raise RequestError("INVALID_ARGUMENT", f"duplicate output tensor alias: {name}")


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def parse_input(
    name: str, proto: tensor_pb2.TensorProto, info: meta_graph_pb2.TensorInfo
) -> np.ndarray:
    """Returns the array in an input of a request.

    Args:
      name: Name of the input.
      proto: The input.
      info: Dtype that it must have. Its shape is left to the graph, as TensorFlow Serving does.

    Raises:
      RequestError: If it has another dtype, or cannot be parsed.
    """
    if proto.dtype not in _DTYPES:
        raise RequestError("INVALID_ARGUMENT", f"tensor parsing error: {name}")
    if proto.dtype != info.dtype:
        given = types_pb2.DataType.Name(proto.dtype)
        expected = tf.as_dtype(info.dtype).name
        raise RequestError(
            "INVALID_ARGUMENT",
            f"input {name} expects {expected}, the request has {given.lower().removeprefix('dt_')}",
        )
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    if len(sizes) > MAX_DIMENSIONS:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"input {name} has {len(sizes)} dimensions; at most {MAX_DIMENSIONS} are served",
        )
    elements = math.prod(sizes)
    if min(sizes, default=0) < 0 or elements > MAX_ELEMENTS:
        raise RequestError("INVALID_ARGUMENT", f"tensor parsing error: {name}")
    # A proto of one value may have a shape of any size, and would take memory before it is counted.
    if elements > MAX_REPEATED_ELEMENTS and (given := values_given(proto)) < elements:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"input {name} has {elements} elements and gives {given} values; "
            f"give all of them, as the last stands for those missing in at most "
            f"{MAX_REPEATED_ELEMENTS} elements",
        )
    try:
        array = to_array(proto)
    except (ValueError, TypeError) as error:
        raise RequestError("INVALID_ARGUMENT", f"tensor parsing error: {name}") from error
    return array
