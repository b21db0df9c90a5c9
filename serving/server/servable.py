"""One version of a model, loaded and called as TensorFlow Serving loads and calls it."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

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
from serving.tensors import array_of

DEFAULT_SIGNATURE = "serving_default"
TAG = "serve"
_DTYPES = set(types_pb2.DataType.values()) - {types_pb2.DT_INVALID}


def session_config(
    intra_op_threads: int = 0, inter_op_threads: int = 0
) -> tf.compat.v1.ConfigProto:
    """How TensorFlow is to run a version.

    Args:
      intra_op_threads: of one op; 0 for `batching.threads_per_op`.
      inter_op_threads: ops at once; 0 for one after the other, in the thread that asks, as handing
        over the small ops of a text alone takes longer than to run them.
    """
    config = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=intra_op_threads or threads_per_op(),
        inter_op_parallelism_threads=inter_op_threads or -1,
    )
    # A second round at optimizing the graphs makes no request faster, but a new version later.
    config.graph_options.rewrite_options.meta_optimizer_iterations = RewriterConfig.ONE
    return config


class Servable:
    """A SavedModel in a session.

    Attributes:
      version: its number.
      signatures: its SignatureDefs by name.
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
          path: its directory.
          name: of the model.
          version: its number.
          config: of its session; None for TensorFlow's own.
          observe: is told the name, the method and the seconds of each call.

        Raises:
          InputError: if it cannot be loaded.
        """
        self.version = version
        self._name = name
        self._observe = observe
        self._tensors = {}
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
        """The definition of a signature; an empty name is the default one.

        Raises:
          RequestError: if there is none of this name.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            text = f'Serving signature key "{name}" not found.'
            raise RequestError("FAILED_PRECONDITION", text)
        return self.signatures[name]

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, tensor_pb2.TensorProto],
        output_filter: Sequence[str],
    ) -> dict[str, np.ndarray]:
        """Calls a signature.

        Args:
          signature_name: empty for the default one.
          inputs: by name; those with a default may be missing.
          output_filter: names of the outputs wanted, and only those are computed; empty for all.

        Raises:
          RequestError: if inputs and signature do not fit, or the graph refuses the values.
        """
        signature = self.signature(signature_name)
        check_names(signature, inputs)
        arrays = {
            **self._defaults[signature_name or DEFAULT_SIGNATURE],
            **{name: tensor_of(name, inputs[name], signature.inputs[name]) for name in inputs},
        }
        _check_filter(signature, output_filter)
        return self.run(signature_name, arrays, tuple(output_filter))

    def run(
        self, signature_name: str, arrays: Mapping[str, np.ndarray], outputs: tuple[str, ...] = ()
    ) -> dict[str, np.ndarray]:
        """Calls a signature with arrays for all its inputs, which are taken to fit.

        Raises:
          RequestError: if the graph refuses the values, or has no answer before it is due.
        """
        signature_name = signature_name or DEFAULT_SIGNATURE
        signature = self.signature(signature_name)
        outputs = outputs or tuple(sorted(signature.outputs))
        feeds = {self._tensor(info): arrays[name] for name, info in signature.inputs.items()}
        fetches = [self._tensor(signature.outputs[name]) for name in outputs]
        begun = time.perf_counter()
        try:
            results = self._run(feeds, fetches, deadline.milliseconds_left())
        except tf.errors.OpError as error:
            raise errors.of_graph(error) from error
        method = signature.method_name.rsplit("/", 1)[-1].capitalize()
        self._observe(self._name, method, time.perf_counter() - begun)
        return dict(zip(outputs, results, strict=True))

    def _tensor(self, info):
        if info.name not in self._tensors:
            tensor = self._session.graph.get_tensor_by_name(info.name)
            self._tensors[info.name] = tensor._as_tf_output()
        return self._tensors[info.name]

    def _run(self, feeds, fetches, milliseconds):
        # What the public `Session.run` adds to this takes as long as a short request.
        options = config_pb2.RunOptions(timeout_in_ms=milliseconds).SerializeToString()
        buffer = pywrap_tf_session.TF_NewBufferFromString(options)
        try:
            return self._session._call_tf_sessionrun(buffer, feeds, fetches, [], None)
        finally:
            pywrap_tf_session.TF_DeleteBuffer(buffer)


def check_names(signature: meta_graph_pb2.SignatureDef, inputs: Iterable[str]) -> None:
    """Checks that a request has the inputs of a signature that have no default, and no others.

    Raises:
      RequestError: in TensorFlow Serving's words, naming what is unknown or missing.
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


def _check_filter(signature, names):
    for name in names:
        if name not in signature.outputs:
            raise RequestError(
                "INVALID_ARGUMENT",
                f"output tensor alias not found in signature: {name} Outputs expected to be in the "
                f"set {{{_joined(signature.outputs)}}}.",
            )
        if list(names).count(name) > 1:
            raise RequestError("INVALID_ARGUMENT", f"duplicate output tensor alias: {name}")


def _joined(names):
    return ",".join(sorted(names))


def tensor_of(
    name: str, proto: tensor_pb2.TensorProto, info: meta_graph_pb2.TensorInfo
) -> np.ndarray:
    """The array of a TensorProto, which is to be of the dtype and the shape of a TensorInfo."""
    if proto.dtype != info.dtype:
        given = types_pb2.DataType.Name(proto.dtype) if proto.dtype in _DTYPES else "no dtype"
        expected = tf.as_dtype(info.dtype).name
        raise RequestError(
            "INVALID_ARGUMENT",
            f"input {name} expects {expected}, the request has {given.lower().removeprefix('dt_')}",
        )
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    # One value may stand for all of a shape, however large.
    if min(sizes, default=0) < 0 or math.prod(sizes) > MAX_ELEMENTS:
        raise RequestError("INVALID_ARGUMENT", f"tensor parsing error: {name}")
    try:
        array = array_of(proto)
    except (ValueError, TypeError) as error:
        raise RequestError("INVALID_ARGUMENT", f"tensor parsing error: {name}") from error
    expected = tf.TensorShape(info.tensor_shape)
    if not expected.is_compatible_with(array.shape):
        raise RequestError(
            "INVALID_ARGUMENT", f"input {name} has shape {array.shape}, expected {expected}"
        )
    return array
