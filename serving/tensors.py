"""Converts arrays to TensorProtos and back, with values in typed fields as TensorFlow Serving has.

The state of a text is thousands of numbers. Copied one by one they would cost a server and its
clients more time than everything else outside of the model. The values of a packed field of numbers
of fixed width are contiguous in the serialized message
(https://protobuf.dev/programming-guides/encoding), and are copied at once.
"""

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
}
_DTYPES = {tf.as_dtype(dtype).as_numpy_dtype: dtype for dtype in _FIELDS}
_FIXED_WIDTH: dict[int, np.dtype] = {
    types_pb2.DT_FLOAT: np.dtype("<f4"),
    types_pb2.DT_DOUBLE: np.dtype("<f8"),
}
_LENGTH_DELIMITED = 2


def fill_proto(proto: tensor_pb2.TensorProto, array: np.ndarray) -> None:
    """Writes an array into an empty TensorProto.

    Args:
      proto: The TensorProto.
      array: Array of any dtype; an uncommon one is written as `tensor_content`.
    """
    dtype = _DTYPES.get(array.dtype.type)
    if dtype is None:
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = dtype
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype in _FIXED_WIDTH:
        values = array.astype(_FIXED_WIDTH[dtype], copy=False).tobytes()
        proto.MergeFromString(_header(_FIELDS[dtype], len(values)) + values)
    else:
        getattr(proto, _FIELDS[dtype]).extend(array.ravel().tolist())


def to_array(proto: tensor_pb2.TensorProto) -> np.ndarray:
    """Returns the array in a TensorProto, as `tf.make_ndarray` does, which copies one by one.

    Args:
      proto: The TensorProto.

    Raises:
      ValueError: If values and shape do not match.
    """
    dtype = _FIXED_WIDTH.get(proto.dtype)
    shape = [dim.size for dim in proto.tensor_shape.dim]
    # A proto of one value may have a larger shape.
    if dtype and len(getattr(proto, _FIELDS[proto.dtype])) == math.prod(shape):
        size = math.prod(shape) * dtype.itemsize
        message = proto.SerializeToString()
        start = len(message) - size
        # The field may not be the last.
        if message.endswith(_header(_FIELDS[proto.dtype], size), 0, start):
            return np.frombuffer(message, dtype, offset=start).reshape(shape).copy()
    return tf.make_ndarray(proto)


def values_given(proto: tensor_pb2.TensorProto) -> int:
    """Returns the number of values in a TensorProto, the last of which stands for those missing.

    Args:
      proto: The TensorProto, of any dtype.
    """
    if proto.tensor_content:
        return len(proto.tensor_content) // max(tf.as_dtype(proto.dtype).size, 1)
    fields = (descriptor.name for descriptor in tensor_pb2.TensorProto.DESCRIPTOR.fields)
    return max(len(getattr(proto, field)) for field in fields if field.endswith("_val"))


def _header(field: str, size: int) -> bytes:
    """Returns the bytes before a packed field of a size: its tag and the size, as varints."""
    tag = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[field].number << 3 | _LENGTH_DELIMITED
    header = bytearray()
    for number in (tag, size):
        while number > 0x7F:
            header.append(number & 0x7F | 0x80)
            number >>= 7
        header.append(number)
    return bytes(header)
