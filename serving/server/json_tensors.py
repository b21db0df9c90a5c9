"""Converts JSON of TensorFlow Serving's REST protocol to tensors and tf.Examples, and back.

https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import binascii
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server.json_parsing import invalid, shown

_CHUNK = 1 << 16


def signature_name(parsed: Mapping[str, Any]) -> str:
    """Returns the name of the signature in a parsed request; empty for none.

    Raises:
      RequestError: If the name is not a string.
    """
    name = parsed.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {shown(parsed)} not formatted correctly. 'signature_name' key must be a "
            "string value."
        )
    return name


def inputs(
    parsed: Mapping[str, Any], signature: meta_graph_pb2.SignatureDef
) -> tuple[dict[str, tensor_pb2.TensorProto], bool]:
    """Converts the inputs of a request to predict.

    Args:
      parsed: Parsed body of the request.
      signature: Definition of the signature that is called.

    Returns:
      The tensors by name, and whether the request has them in row format (`instances`) instead of
      column format (`inputs`).

    Raises:
      RequestError: If they do not match the signature, with TensorFlow Serving's message.
    """
    both = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
    if "instances" in parsed and "inputs" in parsed:
        raise invalid(f"JSON Value: {shown(parsed)} {both}")
    if "instances" in parsed:
        return _from_instances(parsed["instances"], signature), True
    if "inputs" in parsed:
        return _from_inputs(parsed["inputs"], signature), False
    raise invalid("Missing 'inputs' or 'instances' key")


def _from_instances(
    instances: Any, signature: meta_graph_pb2.SignatureDef
) -> dict[str, tensor_pb2.TensorProto]:
    """Converts inputs in row format."""
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {shown(instances)} Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid(f"JSON Value: {shown(instances)} No values in 'instances' array")
    names = sorted(signature.inputs)
    named = [_is_named(row) for row in instances]
    if not named[0] and len(names) > 1 and not signature.defaults:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    if len(set(named)) > 1:
        index = named.index(not named[0])
        problem = (
            "Expecting object but got list" if named[0] else "Expecting value/list but got object"
        )
        raise invalid(f"{problem} at item {index} of input list")
    if not named[0]:
        name = next(n for n in names if n not in signature.defaults or len(names) == 1)
        instances = [{name: row} for row in instances]
    required = set(names) - set(signature.defaults)
    first = set(instances[0])
    for index, row in enumerate(instances):
        if not required <= set(row) <= set(names) or set(row) != first:
            expected = ",".join(sorted(required | (first & set(names))))
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{shown(row)} keys must be equal to: {expected}"
            )
    return {
        name: _tensor(name, [row[name] for row in instances], signature.inputs[name])
        for name in sorted(first)
    }


def _from_inputs(
    columns: Any, signature: meta_graph_pb2.SignatureDef
) -> dict[str, tensor_pb2.TensorProto]:
    """Converts inputs in column format."""
    if not _is_named(columns):
        if len(signature.inputs) > 1 and not signature.defaults:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        names = [n for n in signature.inputs if n not in signature.defaults]
        columns = {(names or list(signature.inputs))[0]: columns}
    for name in sorted(set(signature.inputs) - set(signature.defaults)):
        if name not in columns:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    for name in sorted(set(columns) - set(signature.inputs)):
        known = ", ".join(sorted(signature.inputs))
        raise invalid(f"'inputs' object has no input called {shown(name)}; there are: {known}")
    return {
        name: _tensor(name, columns[name], signature.inputs[name])
        for name in sorted(signature.inputs)
        if name in columns
    }


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _tensor(name: str, value: Any, info: meta_graph_pb2.TensorInfo) -> tensor_pb2.TensorProto:
    """Converts nested lists, whose leaves must all be at the same depth."""
    dtype = tf.as_dtype(info.dtype)
    shape = _shape(value)
    leaves: list = []
    _collect(value, shape, 0, dtype, leaves)
    try:
        array = np.array(leaves, object if dtype == tf.string else dtype.as_numpy_dtype)
        return tf.make_tensor_proto(array.reshape(shape), dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise invalid(f"JSON Value: {shown(value)} is not of expected type: {name}") from error


def _shape(value: Any) -> list[int]:
    """Returns the lengths of nested lists, as the first element of each has them."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _collect(value: Any, shape: list[int], level: int, dtype: tf.DType, leaves: list) -> None:
    """Appends the leaves of nested lists, which must have a shape."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        leaves.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for element in value:
        _collect(element, shape, level + 1, dtype, leaves)


@functools.cache
def _range(dtype: tf.DType) -> tuple[float, float] | None:
    """Returns the least and the largest number of a dtype; None for one that has no numbers.

    They are Python numbers, whose integers have any size. TensorFlow takes microseconds for each.
    """
    if dtype.is_floating:
        return float(dtype.min), float(dtype.max)
    return (int(dtype.min), int(dtype.max)) if dtype.is_integer else None


def _leaf(value: Any, dtype: tf.DType) -> Any:
    """Converts one value to a dtype."""
    kind, bounds = type(value), _range(dtype)
    if bounds and (kind is int or kind is float):
        if bounds[0] <= value <= bounds[1] and (kind is int or dtype.is_floating):
            return value
        if dtype.is_floating:
            if kind is float and not math.isfinite(value):
                return value
            raise invalid(
                f"Cannot convert JSON value: {shown(value)} to {dtype.name} without loss of "
                "precision."
            )
    elif dtype == tf.string and kind is str:
        return value.encode("utf-8", "surrogatepass")
    elif dtype == tf.string and kind is dict:
        return _decode_base64(value)
    elif dtype == tf.bool and kind is bool:
        return value
    raise invalid(
        f"JSON Value: {shown(value)} Type: {_json_type(value)} is not of expected type: "
        f"{dtype.name}"
    )


def _decode_base64(value: Any) -> bytes:
    if not _is_base64(value):
        raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def outputs(values: Mapping[str, np.ndarray], by_row: bool) -> dict[str, Any]:
    """Returns the answer to a request to predict.

    Args:
      values: Outputs of the signature, by name.
      by_row: Whether to answer in row format (`predictions`) instead of column format (`outputs`).

    Raises:
      RequestError: If the outputs have different numbers of rows, or an output has no rows.
    """
    if not by_row:
        plain = {name: _plain(name, array) for name, array in values.items()}
        return {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))}
    sizes = {name: array.shape[:1] for name, array in values.items()}
    for name, size in sizes.items():
        if not size:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size != next(iter(sizes.values())):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {size[0]} expecting: "
                f"{next(iter(sizes.values()))[0]}"
            )
    columns = {name: _plain(name, array) for name, array in values.items()}
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def shortest_decimals(array: np.ndarray) -> np.ndarray:
    """Returns float32 as float64 with the shortest decimals of the float32, not of the float64."""
    values = np.empty(array.size, np.float64)
    for start in range(0, array.size, _CHUNK):  # as text a number takes 128 bytes
        part = slice(start, start + _CHUNK)
        values[part] = array.reshape(-1)[part].astype(str)
    return values.reshape(array.shape)


def _plain(name: str, array: np.ndarray) -> Any:
    """Converts an array to nested lists.

    Strings that are not UTF-8, and those of an output whose name ends in `_bytes`, become base64.
    """
    if array.dtype == np.float32:
        return shortest_decimals(array).tolist()
    if array.dtype != object:
        return array.tolist()
    as_bytes = name.endswith("_bytes")

    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(element) for element in value]
        if not as_bytes:
            try:
                return value.decode()
            except UnicodeDecodeError:
                pass
        return {"b64": base64.b64encode(value).decode()}

    return text(array.tolist())


def examples(parsed: Mapping[str, Any]) -> list[bytes]:
    """Converts the tf.Examples of a request to classify or regress.

    Args:
      parsed: Parsed body of the request.

    Returns:
      The serialized tf.Examples, each merged with their common context.

    Raises:
      RequestError: If they are not valid, with TensorFlow Serving's message.
    """
    rows = parsed.get("examples")
    if rows is None:
        raise invalid(
            f"JSON Value: {shown(parsed)} When method is classify, key 'examples' is expected and "
            "was not found"
        )
    if not isinstance(rows, list):
        raise invalid(f"JSON Value: {shown(parsed)} Expecting 'examples' value to be an list/array")
    if not rows:
        raise invalid(f"JSON Value: {shown(parsed)} 'examples' value is an empty array")
    context = _example(parsed["context"]) if "context" in parsed else b""
    return [context + _example(row) for row in rows]


def _example(features: Any) -> bytes:
    """Returns a serialized tf.Example of a JSON object of features."""
    if not isinstance(features, dict):
        raise invalid(f"Example must be JSON object but got JSON {_json_type(features)}")
    example = tf.train.Example()
    for name, value in features.items():
        feature = example.features.feature[name]
        for element in value if isinstance(value, list) else [value]:
            _add_to_feature(name, feature, element)
    return example.SerializeToString()


def _add_to_feature(name: str, feature: tf.train.Feature, value: Any) -> None:
    """Appends a JSON value to a feature, all of whose values must have one type."""
    added: int | float | bytes
    if isinstance(value, bool | int):
        kind, added = "int64_list", int(value)
    elif isinstance(value, float):
        kind, added = "float_list", value
    elif isinstance(value, str):
        kind, added = "bytes_list", value.encode("utf-8", "surrogatepass")
    elif _is_base64(value):
        kind, added = "bytes_list", _decode_base64(value)
    else:
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {_json_type(value)}")
    if feature.WhichOneof("kind") not in (None, kind):
        raise invalid(
            f"Unexpected element type in feature: {name} expecting type: "
            f"{feature.WhichOneof('kind').removesuffix('_list')}"
        )
    try:
        getattr(feature, kind).value.append(added)
    except ValueError as error:
        raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.") from error


def _json_type(value: Any) -> str:
    """Returns RapidJSON's name of a value's type."""
    if isinstance(value, bool):
        return str(value)
    names = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}
    return names.get(type(value), "Null")
