"""Arrays as TensorProtos, as TensorFlow Serving writes them: values in typed fields."""

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


def fill_proto(proto: tensor_pb2.TensorProto, array: np.ndarray) -> None:
    """Writes an array; those of other dtypes than the common ones as `tensor_content`."""
    dtype = _DTYPES.get(array.dtype.type)
    if dtype is None:
        proto.CopyFrom(tf.make_tensor_proto(array))
        return
    proto.dtype = dtype
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, _FIELDS[dtype]).extend(array.ravel().tolist())
