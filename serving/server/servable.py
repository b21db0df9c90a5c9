"""One loaded version of a model, which is called as TensorFlow Serving calls it."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops a SavedModel over code points has
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig
from tensorflow.python.client import pywrap_tf_session

from model.errors import InputError
from serving.graph.batching import merges_requests, threads_per_op
from serving.protocol import DEFAULT_SIGNATURE
from serving.server import errors, generation, memory_budget, request_scope
from serving.server.errors import RequestError
from serving.server.request_inputs import check_filter, check_names, parse_input

EMBED = "embed"
"""Name of the signature whose answer tells the number of units."""

TAG = "serve"
"""Tag of the graph that a server loads."""


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
      signatures: SignatureDefs by name, of what can be called.
      signature_defs: All SignatureDefs, as the metadata list them.
    """

    def __init__(
        self,
        path: str,
        name: str,
        version: int,
        config: tf.compat.v1.ConfigProto | None,
        observe: Callable[[str, str, float], None],
        tags: Sequence[str] = (TAG,),
    ):
        """Loads a version.

        Args:
          path: Directory of the version.
          name: Name of the model.
          version: Number of the version.
          config: Configuration of the session; None for TensorFlow's defaults.
          observe: Callback for each call, with the model's name, the method's name and the seconds
            that TensorFlow took.
          tags: Tags of the graph to load. Default: that of serving.

        Raises:
          InputError: If the version cannot be loaded.
        """
        self.version = version
        self._name = name
        self._observe = observe
        self._piece = generation.PieceLength()
        self._tensors: dict[str, Any] = {}
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                loaded = tf.compat.v1.saved_model.load(self._session, list(tags), path)
            self._session._extend_graph()
            self._merges = merges_requests(loaded.graph_def)
            self.signature_defs = dict(loaded.signature_def.items())
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
        check_filter(signature, output_filter)
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
          RequestError: If the graph refuses the values, there is too little memory for the answer,
            the deadline passes, or the client goes.
        """
        signature_name = signature_name or DEFAULT_SIGNATURE
        signature = self.signature(signature_name)
        outputs = outputs or tuple(sorted(signature.outputs))
        method = signature.method_name.rsplit("/", 1)[-1].capitalize()
        in_pieces = generation.can_resume(self.signatures, signature_name) and generation.is_long(
            arrays, self._piece
        )
        computed = outputs
        if in_pieces:
            signature = self.signatures[generation.GENERATE]
            arrays = {**self._defaults[generation.GENERATE], **arrays}
            computed = tuple(sorted({*outputs, *generation.NEEDED}))
        request_scope.reserve(memory_budget.size_of(signature, arrays, computed, self._units))
        start = time.perf_counter()

        def call(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return self._call(signature, inputs, computed)

        found = generation.in_pieces(call, arrays, self._piece) if in_pieces else call(arrays)
        self._observe(self._name, method, time.perf_counter() - start)
        return {name: found[name] for name in outputs}

    @property
    def _units(self) -> int:
        """The number of units of all layers; 1 for a model that does not tell it."""
        embed = self.signatures.get(EMBED)
        return embed.outputs["embedding"].tensor_shape.dim[1].size if embed else 1

    def _call(
        self,
        signature: meta_graph_pb2.SignatureDef,
        arrays: Mapping[str, np.ndarray],
        outputs: tuple[str, ...],
    ) -> dict[str, np.ndarray]:
        """Runs the graph once."""
        feeds = {self._tensor(info): arrays[name] for name, info in signature.inputs.items()}
        fetches = [self._tensor(signature.outputs[name]) for name in outputs]
        # A timeout cancels the whole of a merged batch; such requests end between two calls.
        milliseconds = request_scope.milliseconds_left()
        try:
            results = self._run(feeds, fetches, 0 if self._merges else milliseconds)
        except tf.errors.OpError as error:
            raise errors.from_op_error(error) from error
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
