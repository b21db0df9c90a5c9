"""Which versions of which models a server has loaded, and how it gets from one to the next."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, model_pb2
from tensorflow_serving.config import model_server_config_pb2

from model.errors import InputError
from serving.base_path import versions
from serving.server.errors import RequestError
from serving.server.servable import Servable
from serving.server.warm_up import warm_up

State = get_model_status_pb2.ModelVersionStatus.State


class LoadOptions(NamedTuple):
    """How versions are loaded; the names are those of tensorflow_model_server's flags.

    Attributes:
      max_num_load_retries: how often a version that cannot be loaded is tried again.
      load_retry_interval_micros: at least so long after the last time.
      allow_version_labels_for_unavailable_models: whether a label may name a version that is not
        loaded yet.
      enable_model_warmup: whether a version answers its warm-up requests first.
      session: of TensorFlow.
      observe: is told a model's name, its method and the seconds that TensorFlow took.
    """

    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    allow_version_labels_for_unavailable_models: bool = False
    enable_model_warmup: bool = True
    session: tf.compat.v1.ConfigProto | None = None
    observe: Callable[[str, str, float], None] = lambda *_: None


class Version:
    """One version of a model, from its discovery to its end.

    Attributes:
      name: of the model.
      number: of the version.
      state: START, LOADING, AVAILABLE, UNLOADING or END.
      problem: why it could not be loaded; empty otherwise.
    """

    def __init__(self, path: str, name: str, number: int):
        self.name = name
        self.number = number
        self.state = State.START
        self.problem = ""
        self.servable: Servable | None = None
        self._path = path
        self._tries = 0
        self._tried = 0.0

    def is_to_be_tried(self, options: LoadOptions) -> bool:
        """Whether it is not loaded, and has not failed too often or too recently."""
        waited = time.monotonic() - self._tried >= options.load_retry_interval_micros / 1e6
        again = self._tries <= options.max_num_load_retries and waited
        return self.servable is None and (self._tries == 0 or again)

    def load(self, options: LoadOptions) -> None:
        """Loads it; where that fails, `problem` says why."""
        self.state = State.LOADING
        self._tries += 1
        try:
            servable = Servable(
                self._path, self.name, self.number, options.session, options.observe
            )
            if options.enable_model_warmup:
                warm_up(servable, self._path)
            self.servable = servable
            self.state, self.problem = State.AVAILABLE, ""
        except InputError as error:
            self.state, self.problem = State.END, str(error)
        self._tried = time.monotonic()

    def unload(self) -> None:
        """Lets go of it; requests that have it finish."""
        self.state = State.END
        self.servable = None
        self._tries = 0  # it may be wanted again


class Model:
    """The versions of one model.

    Attributes:
      config: its ModelConfig.
      versions: all that have been seen, by number.
    """

    def __init__(self, config: model_server_config_pb2.ModelConfig, options: LoadOptions):
        self.config = config
        self.versions: dict[int, Version] = {}
        self._options = options

    def refresh(self, report: Callable[[str], None]) -> None:
        """Loads the versions that the policy asks for, then unloads the others.

        A version is only unloaded where another is available, so requests always find one.

        Args:
          report: is told in a line what was loaded or could not be.
        """
        wanted = self._wanted(versions(self.config.base_path))
        for number in wanted:
            path = os.path.join(self.config.base_path, str(number))
            version = self.versions.setdefault(number, Version(path, self.config.name, number))
            if version.is_to_be_tried(self._options):
                version.load(self._options)
                name = f"version {number} of {self.config.name}"
                report(version.problem or f"serving {name}")
        if any(self.versions[number].servable for number in wanted):
            for number, version in self.versions.items():
                if number not in wanted and version.servable:
                    version.unload()

    def _wanted(self, present):
        policy = self.config.model_version_policy
        kind = policy.WhichOneof("policy_choice")
        if kind == "all":
            return present
        if kind == "specific":
            return [number for number in present if number in policy.specific.versions]
        return present[-(policy.latest.num_versions or 1) :]

    @property
    def available(self) -> list[int]:
        """The versions that can be asked, ascending."""
        return sorted(n for n, version in list(self.versions.items()) if version.servable)

    def servable(self, number: int | None) -> Servable | None:
        """A version; None is the newest that is available."""
        # Taken all at once, as a version may be unloaded at any time.
        loaded = {n: version.servable for n, version in list(self.versions.items())}
        available = [n for n, servable in loaded.items() if servable]
        return loaded.get(max(available, default=None) if number is None else number)


class Manager:
    """The models of a server, by name."""

    def __init__(
        self, config: model_server_config_pb2.ModelServerConfig, options: LoadOptions, report
    ):
        """Takes what to serve; nothing is loaded before `refresh`.

        Args:
          config: which models.
          options: how they are loaded.
          report: is told in a line what is loaded and what cannot be.
        """
        self._options = options
        self._report = report
        self._changing = threading.Lock()
        self._models: dict[str, Model] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._configure(config)
        self._set_labels(config, check=False)

    def _configure(self, config):
        models = {}
        for one in config.model_config_list.config:
            if one.name in models:
                raise InputError(f"two models are called {one.name}; give each a name of its own")
            if one.model_platform not in ("", "tensorflow"):
                raise InputError(
                    f"model {one.name} is for the platform {one.model_platform}; only "
                    "'tensorflow' can be served"
                )
            old = self._models.get(one.name)
            if old and old.config.base_path == one.base_path:
                old.config = one
                models[one.name] = old
            else:
                models[one.name] = Model(one, self._options)
        self._models = models

    def _set_labels(self, config, check):
        labels = {}
        for one in config.model_config_list.config:
            for label, number in one.version_labels.items():
                known = self._labels.get(one.name, {}).get(label) == number
                if check and not known and number not in self._models[one.name].available:
                    raise RequestError(
                        "FAILED_PRECONDITION",
                        f"Request to assign label to version {number} of model {one.name}, which "
                        "is not currently available for inference",
                    )
            labels[one.name] = dict(one.version_labels)
        self._labels = labels

    def refresh(self) -> None:
        """Brings what is loaded in line with what is under the base paths."""
        with self._changing:
            self._refresh()

    def _refresh(self):
        for model in list(self._models.values()):
            model.refresh(self._report)

    def reload(self, config: model_server_config_pb2.ModelServerConfig) -> None:
        """Serves other models, or the same ones otherwise.

        Labels are looked at once the models are loaded; if one is refused, all stay as they were.

        Raises:
          RequestError: if a label names a version that is not available.
          InputError: if the configuration contradicts itself.
        """
        with self._changing:
            self._configure(config)
            self._refresh()
            unchecked = self._options.allow_version_labels_for_unavailable_models
            self._set_labels(config, check=not unchecked)

    def model(self, name: str) -> Model | None:
        """The model of this name."""
        return self._models.get(name)

    def __iter__(self) -> Iterator[Model]:
        return iter(list(self._models.values()))

    def version_of(self, spec: model_pb2.ModelSpec) -> int | None:
        """The version that a request names, by number or label; None for the newest.

        Raises:
          RequestError: if there is no such label.
        """
        if not spec.version_label:
            return spec.version.value if spec.HasField("version") else None
        number = self._labels.get(spec.name, {}).get(spec.version_label)
        if number is None:
            raise RequestError(
                "INVALID_ARGUMENT", f"Unrecognized servable version label: {spec.version_label}"
            )
        return number

    def servable(self, spec: model_pb2.ModelSpec) -> Servable:
        """The version that a request asks for.

        Raises:
          RequestError: if it names no model, or there is no such version.
        """
        if not spec.name:
            raise RequestError("INVALID_ARGUMENT", "ModelSpec has no name specified.")
        number = self.version_of(spec)
        model = self.model(spec.name)
        servable = model and model.servable(number)
        if servable is None:
            which = f"Latest({spec.name})"
            if number is not None:
                which = f"Specific({spec.name}, {number})"
            raise RequestError("NOT_FOUND", f"Servable not found for request: {which}")
        return servable
