"""Loaded models: SavedModels, called with TensorProtos as TensorFlow Serving calls them."""

import os
import threading
from collections.abc import Iterable

import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the ops a SavedModel over code points has
from google.protobuf import message
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from model.errors import InputError

DEFAULT_SIGNATURE = "serving_default"


class RequestError(Exception):
    """A request that cannot be answered; `code` is the name of a gRPC status code."""

    def __init__(self, code: str, text: str):
        super().__init__(text)
        self.code = code
        self.message = text


class Servable:
    """One version of a model.

    Attributes:
      version: its number.
      signatures: its SignatureDefs, as its `saved_model.pb` has them.
    """

    def __init__(self, path: str, version: int):
        self.version = version
        self._loaded = tf.saved_model.load(path)
        with tf.io.gfile.GFile(os.path.join(path, "saved_model.pb"), "rb") as file:
            proto = saved_model_pb2.SavedModel.FromString(file.read())
        self.signatures: dict[str, meta_graph_pb2.SignatureDef] = {
            name: signature
            for name, signature in proto.meta_graphs[0].signature_def.items()
            if not name.startswith("__")
        }

    def signature(self, name: str) -> meta_graph_pb2.SignatureDef:
        """The definition of a signature; an empty name is the default one.

        Raises:
          RequestError: if there is none of this name.
        """
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise RequestError("INVALID_ARGUMENT", f'Serving signature key "{name}" not found.')
        return self.signatures[name]

    def predict(
        self, signature_name: str, inputs: dict[str, tensor_pb2.TensorProto], outputs: list[str]
    ) -> dict[str, tensor_pb2.TensorProto]:
        """Calls a signature.

        Args:
          signature_name: empty for the default one.
          inputs: by name.
          outputs: names of those wanted; empty for all.

        Raises:
          RequestError: if inputs and signature do not fit, or the graph refuses the values.
        """
        signature = self.signature(signature_name)
        check_names(signature, inputs)
        tensors = {}
        for name, proto in inputs.items():
            info = signature.inputs[name]
            if proto.dtype != info.dtype:
                expected, given = tf.as_dtype(info.dtype).name, tf.as_dtype(proto.dtype).name
                raise RequestError(
                    "INVALID_ARGUMENT", f"input {name} expects {expected}, the request has {given}"
                )
            tensors[name] = _tensor(name, proto, info)
        for name in outputs:
            if name not in signature.outputs:
                raise _unknown_alias("output", name, "Outputs", signature.outputs)
        try:
            results = self._loaded.signatures[signature_name or DEFAULT_SIGNATURE](**tensors)
        except tf.errors.OpError as error:
            raise RequestError(_code_name(error), _essence(error.message)) from error
        wanted = outputs or list(results)
        return {name: tf.make_tensor_proto(results[name].numpy()) for name in wanted}


def check_names(signature: meta_graph_pb2.SignatureDef, inputs: Iterable[str]) -> None:
    """Checks that a request has exactly the inputs of a signature.

    Raises:
      RequestError: in TensorFlow Serving's words, naming what is unknown or missing.
    """
    for name in inputs:
        if name not in signature.inputs:
            raise _unknown_alias("input", f"{name}.", "Inputs", signature.inputs)
    missing = sorted(set(signature.inputs) - set(inputs))
    if missing:
        raise RequestError(
            "INVALID_ARGUMENT",
            f"input size does not match signature: {len(inputs)}!={len(signature.inputs)} "
            f"len({{{','.join(sorted(inputs))}}}) != "
            f"len({{{','.join(sorted(signature.inputs))}}}). "
            f"Missing but required: {{{','.join(missing)}}}.",
        )


def _unknown_alias(kind, name, kinds, known):
    return RequestError(
        "INVALID_ARGUMENT",
        f"{kind} tensor alias not found in signature: {name} {kinds} expected to be in the set "
        f"{{{','.join(sorted(known))}}}.",
    )


def _tensor(name, proto, info):
    try:
        tensor = tf.constant(tf.make_ndarray(proto))
    except (ValueError, TypeError) as error:
        raise RequestError("INVALID_ARGUMENT", f"tensor parsing error: {name}") from error
    expected = tf.TensorShape(info.tensor_shape)
    if not expected.is_compatible_with(tensor.shape):
        raise RequestError(
            "INVALID_ARGUMENT", f"input {name} has shape {tensor.shape}, expected {expected}"
        )
    return tensor


def _code_name(error):
    for name, value in vars(tf.errors).items():
        if name.isupper() and value == error.error_code:
            return name
    return "UNKNOWN"


def _essence(text):
    """A message without the nodes and Python frames that TensorFlow puts around it."""
    lines = [line.strip() for line in text.splitlines()]
    assertions = [line for line in lines if "assertion failed" in line]
    plain = [line for line in lines if line and not line.startswith(("[[", "Graph execution"))]
    return (assertions or plain[-1:] or ["unknown"])[0].split(" [[")[0].strip()


class Model:
    """The newest version under a base path, replaced when a newer one appears.

    Attributes:
      name: what requests call it.
      base_path: the directory with a directory per version.
    """

    def __init__(self, name: str, base_path: str):
        self.name = name
        self.base_path = base_path
        self._servable: Servable | None = None
        self._newest_tried: int | None = None
        self._loading = threading.Lock()

    def refresh(self) -> bool:
        """Loads the newest version, unless that was tried before; returns whether it did.

        The old version answers until the new one is ready.

        Raises:
          InputError: if the newest version cannot be loaded; the old one goes on answering.
        """
        with self._loading:
            newest = max(versions(self.base_path), default=None)
            if newest == self._newest_tried:
                return False
            self._newest_tried = newest
            path = os.path.join(self.base_path, str(newest))
            try:
                self._servable = Servable(path, newest)
            except (tf.errors.OpError, OSError, ValueError, message.DecodeError) as error:
                problem = str(error).splitlines()[0]
                raise InputError(f"{path} cannot be loaded ({problem}); push it again") from error
            return True

    @property
    def versions(self) -> list[int]:
        """The versions that are loaded."""
        return [self._servable.version] if self._servable else []

    def servable(self, version: int | None) -> Servable:
        """The version to ask; None is the newest.

        Raises:
          RequestError: if it is not loaded.
        """
        servable = self._servable
        if servable is None or version not in (None, servable.version):
            which = f"Latest({self.name})"
            if version is not None:
                which = f"Specific({self.name}, {version})"
            raise RequestError("NOT_FOUND", f"Servable not found for request: {which}")
        return servable


def versions(base_path: str) -> list[int]:
    """The complete versions under a base path, ascending."""
    gfile = tf.io.gfile
    names = gfile.listdir(base_path) if gfile.isdir(base_path) else []
    return sorted(
        int(name.rstrip("/"))
        for name in names
        if name.rstrip("/").isdecimal()
        and gfile.exists(os.path.join(base_path, name, "saved_model.pb"))
    )


def require_versions(base_path: str) -> None:
    """Checks that there is something to serve.

    Raises:
      InputError: if not.
    """
    if not versions(base_path):
        raise InputError(
            f"{base_path} holds no model version; push one with `python -m pipeline run`, or give "
            "the directory above the version directories"
        )
