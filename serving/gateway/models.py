"""Which models there are: their versions, and what a character of each is."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from model.config import CharacterUnit
from serving.gateway.backend import Backend
from serving.gateway.characters import unit_of_answer
from serving.gateway.errors import ApiError
from serving.protocol import predict_request, read_outputs, to_bytes_array

_FRESH_SECONDS = 1.0
_NOT_FOUND = "model_not_found"
_NO_SIGNATURE = "Serving signature key"
"""Beginning of TensorFlow Serving's message where a model lacks a signature."""
_PROBE = "é".encode()
_MARKS: Mapping[str, CharacterUnit] = {"0x": "bytes", "U+": "unicode"}
"""How messages name a byte and a code point."""


class ServedModel(NamedTuple):
    """The newest version of a model.

    Attributes:
      name: Name of the model.
      version: Number of the version.
      unit: What a character is.
    """

    name: str
    version: int
    unit: CharacterUnit


class _Known(NamedTuple):
    model: ServedModel
    seen: float  # of the monotonic clock


class _Failed(NamedTuple):
    error: ApiError
    seen: float  # of the monotonic clock


class Models:
    """The models that clients may use, as the server has them from second to second."""

    def __init__(self, backend: Backend, names: Callable[[], Sequence[str]]):
        """Knows nothing of the models yet.

        Args:
          backend: The model server.
          names: Function that returns the names of the models, which may change.
        """
        self._backend = backend
        self._names = names
        self._known: dict[str, _Known] = {}
        self._failed: dict[str, _Failed] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models."""
        return tuple(dict.fromkeys(self._names()))

    async def get(self, name: str) -> ServedModel:
        """Returns a model with the version that answers now.

        Args:
          name: Name of the model.

        Raises:
          ApiError: If there is none of that name, no version of it answers, or it is no model of
            characters.
        """
        self.require(name)
        async with self._locks.setdefault(name, asyncio.Lock()):
            known = self._known.get(name)
            if known and time.monotonic() - known.seen < _FRESH_SECONDS:
                return known.model
            failed = self._failed.get(name)
            if failed and time.monotonic() - failed.seen < _FRESH_SECONDS:
                # All that waited for the same answer have it, and keep nothing of each other.
                raise failed.error.with_traceback(None)
            try:
                version = await self.newest_version(name)
            except ApiError as error:
                self._failed[name] = _Failed(error, time.monotonic())
                raise
            if known and known.model.version == version:
                model = known.model
            else:
                try:
                    model = ServedModel(name, version, await self._unit(name, version))
                except ApiError as error:
                    if error.code == _NOT_FOUND:  # others, as of a version just unloaded, go away
                        self._failed[name] = _Failed(error, time.monotonic())
                    raise
            self._failed.pop(name, None)
            self._known[name] = _Known(model, time.monotonic())
            return model

    def require(self, name: str) -> None:
        """Raises an `ApiError` unless clients may use a model of that name."""
        if name not in self.names:
            raise ApiError(
                404,
                f"there is no model {name[:100]!r}; use one of {', '.join(self.names)}",
                "model",
                _NOT_FOUND,
            )

    def forget(self, model: ServedModel) -> None:
        """Has the next `get` ask the server, as a version was not what it was expected to be.

        Args:
          model: The model with that version; another one that is known by now stays so.
        """
        known = self._known.get(model.name)
        if known and known.model.version == model.version:
            del self._known[model.name]

    async def newest_version(self, name: str) -> int:
        """Returns the number of the newest version that answers requests."""
        versions = await self._backend.available_versions(name)
        if not versions:
            raise ApiError(503, f"no version of {name} is available; ask again later", "model")
        return versions[-1]

    async def _unit(self, name: str, version: int) -> CharacterUnit:
        """Finds out what a character is, from how a model reads one beyond ASCII.

        Where its vocabulary lacks the character, its message names a byte or a code point.
        """
        request = predict_request(name, "score", {"text": to_bytes_array([_PROBE])}, version)
        try:
            outputs = read_outputs(await self._backend.predict(request))
            unit = unit_of_answer(_PROBE, outputs["log_probabilities"].shape[1])
        except ApiError as error:
            if error.grpc_code == "INVALID_ARGUMENT":
                unit = next((one for mark, one in _MARKS.items() if mark in error.message), None)
            elif _NO_SIGNATURE in error.message:
                unit = None
            else:
                raise
        except (KeyError, IndexError):
            unit = None
        if unit is None:
            raise ApiError(
                404,
                f"{name} is no character model with the signatures `generate` and `score`; call it "
                f"by /v2/models/{name}/infer",
                "model",
                _NOT_FOUND,
            )
        return unit
