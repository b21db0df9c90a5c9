"""One loaded version of a model, which is called as TensorFlow Serving calls it."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops a SavedModel over code points has
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.client import pywrap_tf_session

from model.errors import InputError
from serving.graph.batching import threads_per_op
from serving.limits import MAX_ELEMENTS
from serving.server import deadline, errors
from serving.server.errors import RequestError
from serving.tensors import to_array

DEFAULT_SIGNATURE = "serving_default"
"""Name of the signature of a request that names none."""

TAG = "serve"
"""Tag of the graph that a server loads."""

_DTYPES = set(types_pb2.DataType.values()) - {types_pb2.DT_INVALID}


def session_config(
    intra_op_threads: int = 0, inter_op_threads: int = 0
) -> tf.compat.v1.ConfigProto:
    """Returns the configuration of the session that runs a version.

    Args:
      intra_op_threads: Threads of one op; 0 for `batching.threads_per_op`.
      inter_op_threads: Ops of a request that run at once; 0 to run one after the other in the
        calling thread, as handing over the small ops of a single text takes longer than to run
        them.
    """
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=intra_op_threads or threads_per_op(),
        inter_op_parallelism_threads=inter_op_threads or -1,
    )
    # A second pass of the optimizer makes no request faster, but delays each new version.
    config.graph_options.rewrite_options.meta_optimizer_iterations = RewriterConfig.ONE
    return config


class Servable:
    """A SavedModel in a session.

    Attributes:
      version: Number of the version.
      signatures: SignatureDefs by name.
    """

    def __init__(
        self,
        path: str,
        name: str,
        version: int,
        config: tf.compat.v1.ConfigProto | None,
        observe: Callable[[str, str, float], None],
    ):
        """Loads a version.

        Args:
          path: Directory of the version.
          name: Name of the model.
          version: Number of the version.
          config: Configuration of the session; None for TensorFlow's defaults.
          observe: Callback for each call, with the model's name, the method's name and the seconds
            that TensorFlow took.

        Raises:
          InputError: If the version cannot be loaded.
        """
        self.version = version
        self._name = name
        self._observe = observe
        self._tensors: dict[str, Any] = {}
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                loaded = tf.compat.v1.saved_model.load(self._session, [TAG], path)
            self._session._extend_graph()
            self.signatures: dict[str, meta_graph_pb2.SignatureDef] = {
                name: signature
                for name, signature in loaded.signature_def.items()
                if not name.startswith("__")
            }
            self._defaults = {
                name: {key: tf.make_ndarray(value) for key, value in signature.defaults.items()}
                for name, signature in self.signatures.items()
            }
        except (tf.errors.OpError, OSError, ValueError, RuntimeError) as error:
            self._session.close()
            problem = str(error).splitlines()[0]
            raise InputError(f"{path} cannot be loaded ({problem}); push it again") from error

    def signature(self, name: str) -> meta_graph_pb2.SignatureDef:
        """Returns the definition of a signature.

        Args:
          name: Name of the signature; empty for the default one.

        Raises:
          RequestError: If there is no such signature.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            message = f'Serving signature key "{name}" not found.'
            raise RequestError("FAILED_PRECONDITION", message)
        return self.signatures[name]

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, tensor_pb2.TensorProto],
        output_filter: Sequence[str],
    ) -> dict[str, np.ndarray]:
        """Calls a signature with the tensors of a request.

        Args:
          signature_name: Name of the signature; empty for the default one.
          inputs: Tensors by name; those with a default may be missing.
          output_filter: Names of the outputs to compute; empty for all.

        Returns:
          The outputs as arrays, by name.

        Raises:
          RequestError: If the inputs do not match the signature, or the graph refuses the values.
        """
        signature = self.signature(signature_name)
        check_names(signature, inputs)
        arrays = {
            **self._defaults[signature_name or DEFAULT_SIGNATURE],
            **{name: parse_input(name, inputs[name], signature.inputs[name]) for name in inputs},
        }
        _check_filter(signature, output_filter)
        return self.run(signature_name, arrays, tuple(output_filter))

    def run(
        self, signature_name: str, arrays: Mapping[str, np.ndarray], outputs: tuple[str, ...] = ()
    ) -> dict[str, np.ndarray]:
        """Calls a signature with arrays that match it.

        Args:
          signature_name: Name of the signature; empty for the default one.
          arrays: Arrays for all inputs, by name.
          outputs: Names of the outputs to compute; empty for all.

        Returns:
          The outputs as arrays, by name.

        Raises:
          RequestError: If the graph refuses the values, or the deadline passes.
        """
        signature_name = signature_name or DEFAULT_SIGNATURE
        signature = self.signature(signature_name)
        outputs = outputs or tuple(sorted(signature.outputs))
        feeds = {self._tensor(info): arrays[name] for name, info in signature.inputs.items()}
        fetches = [self._tensor(signature.outputs[name]) for name in outputs]
        start = time.perf_counter()
        try:
            results = self._run(feeds, fetches, deadline.milliseconds_left())
        except tf.errors.OpError as error:
            raise errors.from_op_error(error) from error
        method = signature.method_name.rsplit("/", 1)[-1].capitalize()
        self._observe(self._name, method, time.perf_counter() - start)
        return dict(zip(outputs, results, strict=True))

    def _tensor(self, info: meta_graph_pb2.TensorInfo) -> Any:
        """Returns a handle of a tensor, as `_call_tf_sessionrun` takes it."""
        if info.name not in self._tensors:
            tensor = self._session.graph.get_tensor_by_name(info.name)
            self._tensors[info.name] = tensor._as_tf_output()
        return self._tensors[info.name]

    def _run(self, feeds: dict, fetches: list, milliseconds: int) -> list[np.ndarray]:
        # The overhead of the public `Session.run` is as long as a short request.
        options = config_pb2.RunOptions(timeout_in_ms=milliseconds).SerializeToString()
        buffer = pywrap_tf_session.TF_NewBufferFromString(options)
        try:
            return self._session._call_tf_sessionrun(buffer, feeds, fetches, [], None)
        finally:
            pywrap_tf_session.TF_DeleteBuffer(buffer)


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


def _check_filter(signature: meta_graph_pb2.SignatureDef, names: Sequence[str]) -> None:
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
      info: Dtype and shape that it must have.

    Raises:
      RequestError: If it has another dtype or shape, or cannot be parsed.
    """
    if proto.dtype != info.dtype:
        given = types_pb2.DataType.Name(proto.dtype) if proto.dtype in _DTYPES else "no dtype"
        expected = tf.as_dtype(info.dtype).name
        raise RequestError(
            "INVALID_ARGUMENT",
            f"input {name} expects {expected}, the request has {given.lower().removeprefix('dt_')}",
        )
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    # A proto of one value may have a shape of any size.
    if min(sizes, default=0) < 0 or math.prod(sizes) > MAX_ELEMENTS:
        raise RequestError("INVALID_ARGUMENT", f"tensor parsing error: {name}")
    try:
        array = to_array(proto)
    except (ValueError, TypeError) as error:
        raise RequestError("INVALID_ARGUMENT", f"tensor parsing error: {name}") from error
    expected = tf.TensorShape(info.tensor_shape)
    if not expected.is_compatible_with(array.shape):
        raise RequestError(
            "INVALID_ARGUMENT", f"input {name} has shape {array.shape}, expected {expected}"
        )
    return array
