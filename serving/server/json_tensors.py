"""Tensors and tf.Examples as TensorFlow Serving's REST protocol has them in JSON.

https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import binascii
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from serving.server.errors import RequestError

MAX_SHOWN = 100  # characters of a value in a message


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object of a request.

    Raises:
      RequestError: if it is none.
    """
    if not body:
        raise _invalid("JSON Parse error: The document is empty")
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"JSON Parse error: Invalid value. ({type(error).__name__})") from error
    if not isinstance(parsed, dict):
        raise _invalid(f"JSON Value: {_shown(parsed)} Is not object")
    return parsed


def signature_name(parsed: Mapping[str, Any]) -> str:
    """The signature that a request names; empty for none."""
    name = parsed.get("signature_name", "")
    if not isinstance(name, str):
        raise _invalid(
            f"JSON Value: {_shown(parsed)} not formatted correctly. 'signature_name' key must be a "
            "string value."
        )
    return name


def inputs(
    parsed: Mapping[str, Any], signature: meta_graph_pb2.SignatureDef
) -> tuple[dict[str, tensor_pb2.TensorProto], bool]:
    """The inputs of a request to predict.

    Returns:
      The tensors by name, and whether they came row by row (`instances`) and not as columns
      (`inputs`).

    Raises:
      RequestError: in TensorFlow Serving's words.
    """
    both = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
    if "instances" in parsed and "inputs" in parsed:
        raise _invalid(f"JSON Value: {_shown(parsed)} {both}")
    if "instances" in parsed:
        return _from_instances(parsed["instances"], signature), True
    if "inputs" in parsed:
        return _from_inputs(parsed["inputs"], signature), False
    raise _invalid("Missing 'inputs' or 'instances' key")


def _from_instances(instances, signature):
    if not isinstance(instances, list):
        raise _invalid(f"JSON Value: {_shown(instances)} Excepting 'instances' to be an list/array")
    if not instances:
        raise _invalid(f"JSON Value: {_shown(instances)} No values in 'instances' array")
    names = sorted(signature.inputs)
    named = [_is_named(row) for row in instances]
    if not named[0] and len(names) > 1 and not signature.defaults:
        raise _invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    if len(set(named)) > 1:
        at = named.index(not named[0])
        problem = (
            "Expecting object but got list" if named[0] else "Expecting value/list but got object"
        )
        raise _invalid(f"{problem} at item {at} of input list")
    if not named[0]:
        name = next(n for n in names if n not in signature.defaults or len(names) == 1)
        instances = [{name: row} for row in instances]
    required = set(names) - set(signature.defaults)
    first = set(instances[0])
    for at, row in enumerate(instances):
        if not required <= set(row) <= set(names) or set(row) != first:
            raise _invalid(
                f"Failed to process element: {at} of 'instances' list. JSON object: {_shown(row)} "
                f"keys must be equal to: {','.join(sorted(required | (first & set(names))))}"
            )
    return {
        name: _tensor(name, [row[name] for row in instances], signature.inputs[name])
        for name in sorted(first)
    }


def _from_inputs(given, signature):
    if not _is_named(given):
        if len(signature.inputs) > 1 and not signature.defaults:
            raise _invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        names = [n for n in signature.inputs if n not in signature.defaults]
        given = {(names or list(signature.inputs))[0]: given}
    for name in sorted(set(signature.inputs) - set(signature.defaults)):
        if name not in given:
            raise _invalid(f"Missing named input: {name} in 'inputs' object.")
    return {
        name: _tensor(name, given[name], signature.inputs[name])
        for name in sorted(signature.inputs)
        if name in given
    }


def _is_named(value):
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value):
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def _tensor(name, value, info):
    """A TensorProto of nested lists, whose leaves are all to be at the same depth."""
    dtype = tf.as_dtype(info.dtype)
    shape = _shape(value)
    leaves: list = []
    _collect(value, shape, 0, dtype, leaves)
    try:
        array = np.array(leaves, object if dtype == tf.string else dtype.as_numpy_dtype)
        return tf.make_tensor_proto(array.reshape(shape), dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise _invalid(f"JSON Value: {_shown(value)} is not of expected type: {name}") from error


def _shape(value):
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _collect(value, shape, level, dtype, leaves):
    if not isinstance(value, list):
        if level != len(shape):
            raise _invalid(
                f"JSON Value: {_shown(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        leaves.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise _invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise _invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for one in value:
        _collect(one, shape, level + 1, dtype, leaves)


def _leaf(value, dtype):
    if dtype == tf.string:
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
        if isinstance(value, dict):
            return _decoded(value)
    elif dtype == tf.bool:
        if isinstance(value, bool):
            return value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if dtype.is_floating:
            # Compared as Python numbers, of which integers have any size.
            if abs(value) > float(dtype.max) and abs(value) != math.inf:
                raise _invalid(
                    f"Cannot convert JSON value: {_shown(value)} to {dtype.name} without loss of "
                    "precision."
                )
            return value
        if isinstance(value, int) and dtype.is_integer and dtype.min <= value <= dtype.max:
            return value
    raise _invalid(
        f"JSON Value: {_shown(value)} Type: {_kind(value)} is not of expected type: {dtype.name}"
    )


def _decoded(value):
    if not _is_base64(value):
        raise _invalid(f"JSON Value: {_shown(value)} not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("Unable to base64 decode") from error


def outputs(values: Mapping[str, np.ndarray], by_row: bool) -> dict[str, Any]:
    """The answer of predict: `predictions` row by row, or `outputs` as columns.

    Raises:
      RequestError: if the outputs have no, or different, numbers of rows.
    """
    if not by_row:
        plain = {name: _plain(name, array) for name, array in values.items()}
        return {"outputs": plain if len(plain) > 1 else next(iter(plain.values()))}
    sizes = {name: array.shape[:1] for name, array in values.items()}
    for name, size in sizes.items():
        if not size:
            raise _invalid(f"Tensor name: {name} has no shape information ")
        if size != next(iter(sizes.values())):
            raise _invalid(
                f"Tensor name: {name} has inconsistent batch size: {size[0]} expecting: "
                f"{next(iter(sizes.values()))[0]}"
            )
    columns = {name: _plain(name, array) for name, array in values.items()}
    if len(columns) == 1:
        return {"predictions": next(iter(columns.values()))}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def _plain(name, array):
    """Nested lists; a string that is no UTF-8, or whose name says so, is given as base64."""
    if array.dtype == np.float32:
        # The shortest decimals that stand for the number, and not for its double.
        return array.astype(str).astype(np.float64).tolist()
    if array.dtype != object:
        return array.tolist()
    as_bytes = name.endswith("_bytes")

    def text(value):
        if isinstance(value, list):
            return [text(one) for one in value]
        if not as_bytes:
            try:
                return value.decode()
            except UnicodeDecodeError:
                pass
        return {"b64": base64.b64encode(value).decode()}

    return text(array.tolist())


def examples(parsed: Mapping[str, Any]) -> list[bytes]:
    """The serialized tf.Examples of a request to classify or regress.

    Raises:
      RequestError: in TensorFlow Serving's words.
    """
    given = parsed.get("examples")
    if given is None:
        raise _invalid(
            f"JSON Value: {_shown(parsed)} When method is classify, key 'examples' is expected and "
            "was not found"
        )
    if not isinstance(given, list):
        raise _invalid(
            f"JSON Value: {_shown(parsed)} Expecting 'examples' value to be an list/array"
        )
    if not given:
        raise _invalid(f"JSON Value: {_shown(parsed)} 'examples' value is an empty array")
    context = _example(parsed["context"]) if "context" in parsed else b""
    return [context + _example(one) for one in given]


def _example(features):
    if not isinstance(features, dict):
        raise _invalid(f"Example must be JSON object but got JSON {_kind(features)}")
    example = tf.train.Example()
    for name, value in features.items():
        feature = example.features.feature[name]
        for one in value if isinstance(value, list) else [value]:
            _add_to_feature(name, feature, one)
    return example.SerializeToString()


def _add_to_feature(name, feature, value):
    if isinstance(value, bool | int):
        kind, added = "int64_list", int(value)
    elif isinstance(value, float):
        kind, added = "float_list", value
    elif isinstance(value, str):
        kind, added = "bytes_list", value.encode("utf-8", "surrogatepass")
    elif _is_base64(value):
        kind, added = "bytes_list", _decoded(value)
    else:
        raise _invalid(f"Feature: {name} has element with unexpected JSON type: {_kind(value)}")
    if feature.WhichOneof("kind") not in (None, kind):
        raise _invalid(
            f"Unexpected element type in feature: {name} expecting type: "
            f"{feature.WhichOneof('kind').removesuffix('_list')}"
        )
    try:
        getattr(feature, kind).value.append(added)
    except ValueError as error:
        raise _invalid(f"Feature: {name} has uint64 element. Only int64 is supported.") from error


def _kind(value):
    if isinstance(value, bool):
        return str(value)
    kinds = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}
    return kinds.get(type(value), "Null")


def _shown(value):
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _invalid(message):
    return RequestError("INVALID_ARGUMENT", message)
