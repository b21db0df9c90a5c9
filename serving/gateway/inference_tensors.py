"""Tensors as the Open Inference Protocol has them in JSON.

The protocol is described at https://github.com/kserve/open-inference-protocol.
"""

import base64
import binascii
import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2, types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.gateway.bounded_model import MAX_FIELDS, BoundedModel, at_most
from serving.gateway.errors import ApiError, invalid
from serving.gateway.options import MAX_ANSWER_VALUES, MAX_NAME
from serving.limits import MAX_ELEMENTS
from serving.protocol import DEFAULT_SIGNATURE
from serving.server.json_tensors import shortest_decimals

_DATATYPES: dict[str, tuple[int, str]] = {
    "BOOL": (types_pb2.DT_BOOL, "bool"),
    "UINT8": (types_pb2.DT_UINT8, "uint8"),
    "UINT16": (types_pb2.DT_UINT16, "uint16"),
    "UINT32": (types_pb2.DT_UINT32, "uint32"),
    "UINT64": (types_pb2.DT_UINT64, "uint64"),
    "INT8": (types_pb2.DT_INT8, "int8"),
    "INT16": (types_pb2.DT_INT16, "int16"),
    "INT32": (types_pb2.DT_INT32, "int32"),
    "INT64": (types_pb2.DT_INT64, "int64"),
    "FP16": (types_pb2.DT_HALF, "float16"),
    "FP32": (types_pb2.DT_FLOAT, "float32"),
    "FP64": (types_pb2.DT_DOUBLE, "float64"),
    "BYTES": (types_pb2.DT_STRING, "object"),
}
_NAMES = {dtype: name for name, (dtype, _) in _DATATYPES.items()}
_NAMES_OF_ARRAYS = {np.dtype(array): name for name, (_, array) in _DATATYPES.items()}
_MAX_RANK = 8
_BASE64 = "base64"


Parameters = Annotated[dict[str, Any], at_most(MAX_FIELDS)]


class RequestParameters(BoundedModel):
    """The parameters of a request."""

    signature_name: str = Field(
        default=DEFAULT_SIGNATURE, max_length=MAX_NAME, description="Name of the signature."
    )


class RequestInput(BoundedModel):
    """A tensor of a request."""

    name: str = Field(max_length=MAX_NAME)
    shape: list[int] = Field(max_length=_MAX_RANK, description="Sizes of the dimensions.")
    datatype: str = Field(max_length=20, description=f"One of {', '.join(_DATATYPES)}.")
    parameters: Parameters = Field(
        default={}, description='`{"content_type": "base64"}` for bytes that are no text.'
    )
    data: list[Any] = Field(description="The elements row by row, flat or nested.")


class RequestOutput(BoundedModel):
    """An output that is wanted."""

    name: str = Field(max_length=MAX_NAME)
    parameters: Parameters = Field(default={})


class InferenceRequest(BoundedModel):
    """A request to call a signature."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "parameters": {"signature_name": "score"},
                    "inputs": [
                        {
                            "name": "text",
                            "shape": [1],
                            "datatype": "BYTES",
                            "data": ["import os"],
                        }
                    ],
                }
            ]
        },
    )

    id: str = Field(default="", max_length=MAX_NAME)
    parameters: RequestParameters = RequestParameters()
    inputs: list[RequestInput] = Field(min_length=1, max_length=100)
    outputs: list[RequestOutput] = Field(default=[], max_length=100)


def to_array(tensor: RequestInput) -> np.ndarray:
    """Returns the array of a tensor.

    Args:
      tensor: The tensor.

    Raises:
      ApiError: If its data is not that of its shape and datatype.
    """
    if tensor.datatype not in _DATATYPES:
        raise _problem(tensor, f"has the unknown datatype {tensor.datatype}")
    size = math.prod(tensor.shape)
    if any(dimension < 0 for dimension in tensor.shape):
        raise _problem(tensor, "has a negative size in its shape")
    if math.prod(max(dimension, 1) for dimension in tensor.shape) > MAX_ELEMENTS:
        raise _problem(tensor, f"has a shape of more than {MAX_ELEMENTS} elements")
    values = _flat(tensor)
    if len(values) != size:
        raise _problem(tensor, f"has {len(values)} elements, and a shape of {size}")
    _, dtype = _DATATYPES[tensor.datatype]
    if tensor.datatype == "BYTES":
        array = np.empty([size], object)
        array[:] = [_to_bytes(tensor, value) for value in values]
        return array.reshape(tensor.shape)
    allowed: tuple[type, ...] = (int,)
    if tensor.datatype == "BOOL":
        allowed = (bool,)
    elif tensor.datatype.startswith("FP"):
        allowed = (int, float)
    if not all(type(value) in allowed for value in values):
        raise _problem(tensor, f"has an element that is no {tensor.datatype}")
    try:
        with np.errstate(over="raise"):
            array = np.array(values, dtype)
    except (OverflowError, FloatingPointError) as error:
        raise _problem(tensor, f"has a number beyond {tensor.datatype}") from error
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _problem(tensor, f"has an element that is no finite {tensor.datatype}")
    return array.reshape(tensor.shape)


def _flat(tensor: RequestInput) -> list[Any]:
    """Returns the elements in a list; nested lists are concatenated level by level."""
    values = tensor.data
    for _ in range(_MAX_RANK):
        if not any(isinstance(value, list) for value in values):
            return values
        if not all(isinstance(value, list) for value in values):
            break
        values = list(itertools.chain.from_iterable(values))
    raise _problem(tensor, "is nested unevenly")


def _to_bytes(tensor: RequestInput, value: Any) -> bytes:
    if not isinstance(value, str):
        raise _problem(tensor, "has an element that is no string")
    try:
        if tensor.parameters.get("content_type") == _BASE64:
            return base64.b64decode(value, validate=True)
        return value.encode()
    except (binascii.Error, ValueError) as error:
        raise _problem(tensor, "has a string that cannot be encoded") from error


def _problem(tensor: RequestInput, what: str) -> ApiError:
    return invalid(f"input {tensor.name} {what}; fix its shape, datatype and data", tensor.name)


def check_size(outputs: Mapping[str, tensor_pb2.TensorProto]) -> None:
    """Raises an `ApiError` if outputs have more elements than an answer in JSON may have.

    Args:
      outputs: The outputs as they came, of which no array is made yet.
    """
    elements = sum(
        math.prod(dim.size for dim in tensor.tensor_shape.dim) for tensor in outputs.values()
    )
    if elements > MAX_ANSWER_VALUES:
        raise invalid(
            f"the answer has {elements} elements, over the limit of {MAX_ANSWER_VALUES}; ask for "
            "fewer outputs or rows, or over gRPC"
        )


def to_json(name: str, array: np.ndarray) -> dict[str, Any]:
    """Returns a tensor of an answer.

    Args:
      name: Name of the output.
      array: Its values; bytes that are no UTF-8 become base64, all of a tensor alike.

    Raises:
      ApiError: If it holds what JSON has not.
    """
    datatype = _NAMES_OF_ARRAYS.get(array.dtype)
    if datatype is None:
        raise invalid(f"output {name} has the dtype {array.dtype}, which the protocol lacks")
    tensor = {"name": name, "shape": list(array.shape), "datatype": datatype}
    if datatype == "BYTES":
        strings = array.ravel().tolist()
        try:
            return {**tensor, "data": [one.decode() for one in strings]}
        except UnicodeDecodeError:
            data = [base64.b64encode(one).decode() for one in strings]
            return {**tensor, "parameters": {"content_type": _BASE64}, "data": data}
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise invalid(f"output {name} holds a number that JSON lacks; ask for it over gRPC")
    flat = array.ravel()
    values = shortest_decimals(flat) if array.dtype == np.float32 else flat
    return {**tensor, "data": values.tolist()}


def describe(name: str, info: meta_graph_pb2.TensorInfo) -> dict[str, Any]:
    """Returns the metadata of an input or output.

    Args:
      name: Name of the tensor.
      info: What the signature says of it.
    """
    return {
        "name": name,
        "datatype": _NAMES.get(info.dtype, types_pb2.DataType.Name(info.dtype)),
        "shape": _sizes(info.tensor_shape),
    }


def _sizes(shape: tensor_shape_pb2.TensorShapeProto) -> list[int]:
    return [-1] if shape.unknown_rank else [dim.size for dim in shape.dim]
