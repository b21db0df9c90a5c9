"""The models and versions that a server has loaded, and how it changes from one to the next."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, model_pb2
from tensorflow_serving.config import model_server_config_pb2

from common.files import error_text
from model.errors import InputError
from serving.base_path import version_paths
from serving.server.errors import RequestError
from serving.server.servable import TAG, Servable
from serving.server.warm_up import warm_up

State = get_model_status_pb2.ModelVersionStatus.State


class LoadOptions(NamedTuple):
    """Options of how versions are loaded; the names are those of tensorflow_model_server's flags.

    Attributes:
      max_num_load_retries: Number of retries for a version that fails to load. Default 5.
      load_retry_interval_micros: Least number of microseconds between these retries. Default one
        minute.
      allow_version_labels_for_unavailable_models: Whether a label may name a version that is not
        loaded yet. Default False.
      allow_reload: Directory below which ReloadConfig requests may name base paths; empty (the
        default) to refuse such requests.
      enable_model_warmup: Whether a version answers its warm-up requests first. Default True.
      num_request_iterations_for_warmup: How often it answers each of them; 0 for once. Default 1.
      tags: Tags of the graph to load. Default: that of serving.
      session: Configuration of TensorFlow's sessions; None for TensorFlow's defaults.
      observe: Callback for each call of a signature, with the model's name, the method's name and
        the seconds that TensorFlow took. Default: no effect.
    """

    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    allow_version_labels_for_unavailable_models: bool = False
    allow_reload: str = ""
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 1
    tags: tuple[str, ...] = (TAG,)
    session: tf.compat.v1.ConfigProto | None = None
    observe: Callable[[str, str, float], None] = lambda *_: None


class Version:
    """One version of a model, from its discovery to its end.

    Attributes:
      name: Name of the model.
      number: Number of the version.
      state: START, LOADING, AVAILABLE, UNLOADING or END.
      error: Why the version could not be loaded; empty otherwise.
      servable: The loaded version; None where it is not loaded.
    """

    def __init__(self, path: str, name: str, number: int):
        """Describes a version, without loading it.

        Args:
          path: Directory of the version.
          name: Name of the model.
          number: Number of the version.
        """
        self.name = name
        self.number = number
        self.state = State.START
        self.error = ""
        self.servable: Servable | None = None
        self._path = path
        self._attempts = 0
        self._last_attempt = 0.0

    def should_load(self, options: LoadOptions) -> bool:
        """Returns whether it is not loaded, and has not failed too often or too recently."""
        elapsed = time.monotonic() - self._last_attempt
        may_retry = (
            self._attempts <= options.max_num_load_retries
            and elapsed >= options.load_retry_interval_micros / 1e6
        )
        return self.servable is None and (self._attempts == 0 or may_retry)

    def load(self, options: LoadOptions) -> None:
        """Loads the version; if that fails, sets `error`."""
        self.state = State.LOADING
        self._attempts += 1
        try:
            servable = Servable(
                self._path,
                self.name,
                self.number,
                options.session,
                options.observe,
                options.tags,
            )
            if options.enable_model_warmup:
                for _ in range(max(1, options.num_request_iterations_for_warmup)):
                    warm_up(servable, self._path)
            self.servable = servable
            self.state, self.error = State.AVAILABLE, ""
        except InputError as error:
            self.state, self.error = State.END, str(error)
        except Exception as error:  # whatever a version does, the others are served
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            self.error = f"{self._path} cannot be loaded ({problem}); push it again"
            self.state = State.END
        self._last_attempt = time.monotonic()

    def unload(self) -> None:
        """Releases the version; requests that already use it finish."""
        self.state = State.END
        self.servable = None
        self._attempts = 0  # it may be loaded again later


class Model:
    """The versions of one model.

    Attributes:
      config: ModelConfig of the model.
      versions: All versions found so far, by number.
    """

    def __init__(self, config: model_server_config_pb2.ModelConfig, options: LoadOptions):
        """Describes a model, without loading anything.

        Args:
          config: ModelConfig of the model.
          options: How versions are loaded.
        """
        self.config = config
        self.versions: dict[int, Version] = {}
        self._options = options

    def refresh(self, log: Callable[[str], None]) -> None:
        """Loads the versions that the policy selects, and then unloads the others.

        A version is only unloaded where another is available, so every request finds one.

        Args:
          log: Callback for a line about each version that was loaded or failed to load.
        """
        paths = version_paths(self.config.base_path)
        selected = self._select(sorted(paths))
        for number in selected:
            found = Version(paths[number], self.config.name, number)
            version = self.versions.setdefault(number, found)
            if version.should_load(self._options):
                version.load(self._options)
                log(version.error or f"serving version {number} of {self.config.name}")
        if any(self.versions[number].servable for number in selected):
            for number, version in self.versions.items():
                if number not in selected and version.servable:
                    version.unload()

    def _select(self, present: list[int]) -> list[int]:
        """Returns the versions that the policy selects among those that are present."""
        policy = self.config.model_version_policy
        choice = policy.WhichOneof("policy_choice")
        if choice == "all":
            return present
        if choice == "specific":
            return [number for number in present if number in policy.specific.versions]
        return present[-(policy.latest.num_versions or 1) :]

    @property
    def available(self) -> list[int]:
        """Numbers of the loaded versions, ascending."""
        return sorted(n for n, version in list(self.versions.items()) if version.servable)

    def servable(self, number: int | None) -> Servable | None:
        """Returns a loaded version.

        Args:
          number: Number of the version; None for the newest that is loaded.

        Returns:
          The version; None if it is not loaded.
        """
        # A snapshot, as a version may be unloaded at any time.
        servables = {n: version.servable for n, version in list(self.versions.items())}
        if number is None:
            number = max((n for n, servable in servables.items() if servable), default=None)
        return None if number is None else servables.get(number)


class Manager:
    """The models of a server, by name."""

    def __init__(
        self,
        config: model_server_config_pb2.ModelServerConfig,
        options: LoadOptions,
        log: Callable[[str], None],
    ):
        """Configures models; nothing is loaded before `refresh`.

        Args:
          config: Models to serve.
          options: How versions are loaded.
          log: Callback for a line about each version that was loaded or failed to load.

        Raises:
          InputError: If the configuration is invalid.
        """
        self._options = options
        self._log = log
        self._lock = threading.Lock()
        self._models: dict[str, Model] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._set_models(config)
        self._set_labels(config, check=False)

    def _set_models(self, config: model_server_config_pb2.ModelServerConfig) -> None:
        """Replaces the models; those whose base path is unchanged stay loaded."""
        names = set()
        for entry in config.model_config_list.config:
            if entry.name in names:
                raise InputError(f"two models are called {entry.name}; give each a name of its own")
            if entry.model_platform not in ("", "tensorflow"):
                raise InputError(
                    f"model {entry.name} is for the platform {entry.model_platform}; only "
                    "'tensorflow' can be served"
                )
            names.add(entry.name)
        models: dict[str, Model] = {}
        for entry in config.model_config_list.config:
            old = self._models.get(entry.name)
            if old and old.config.base_path == entry.base_path:
                old.config = entry
                models[entry.name] = old
            else:
                models[entry.name] = Model(entry, self._options)
        self._models = models

    def _set_labels(self, config: model_server_config_pb2.ModelServerConfig, check: bool) -> None:
        """Replaces the labels; a check refuses new labels for versions that are not loaded."""
        labels = {}
        for entry in config.model_config_list.config:
            for label, number in entry.version_labels.items():
                known = self._labels.get(entry.name, {}).get(label) == number
                if check and not known and number not in self._models[entry.name].available:
                    raise RequestError(
                        "FAILED_PRECONDITION",
                        f"Request to assign label to version {number} of model {entry.name}, which "
                        "is not currently available for inference",
                    )
            labels[entry.name] = dict(entry.version_labels)
        self._labels = labels

    def refresh(self) -> None:
        """Loads and unloads versions as the base paths have changed.

        Raises:
          InputError: If a base path cannot be read; its model stays as it is.
        """
        with self._lock:
            self._refresh()

    def _refresh(self) -> None:
        problems = []
        for model in list(self._models.values()):
            try:
                model.refresh(self._log)
            except OSError as error:
                path = model.config.base_path
                problems.append(
                    f"{path} cannot be read ({error_text(error)}); check its permissions"
                )
        if problems:
            raise InputError("; ".join(problems))

    def reload_for_client(self, config: model_server_config_pb2.ModelServerConfig) -> None:
        """Replaces the configuration by one that a client has sent; see `reload`.

        A SavedModel is a program, so that only base paths below a directory that the options name
        are accepted.

        Raises:
          RequestError: If it names another one, or clients may not reload at all.
        """
        allowed = self._options.allow_reload
        if not allowed:
            raise RequestError(
                "PERMISSION_DENIED",
                "this server takes no configuration from clients; start it with --allow_reload",
            )
        top = os.path.realpath(allowed)
        for model in config.model_config_list.config:
            if not os.path.isabs(model.base_path):
                raise RequestError(
                    "INVALID_ARGUMENT",
                    f"Expected model {model.name} to have an absolute path or URI; got "
                    f"base_path()={model.base_path}",
                )
            if os.path.commonpath([top, os.path.realpath(model.base_path)]) != top:
                raise RequestError(
                    "PERMISSION_DENIED",
                    f"{model.base_path} is not below the directory of --allow_reload",
                )
        self.reload(config)

    def reload(self, config: model_server_config_pb2.ModelServerConfig) -> None:
        """Replaces the configuration.

        Labels are checked once the models are loaded; if one is refused, all labels stay as they
        were.

        Args:
          config: Models to serve from now on.

        Raises:
          RequestError: If a label names a version that is not available.
          InputError: If the configuration is invalid.
        """
        with self._lock:
            self._set_models(config)
            self._refresh()
            unchecked = self._options.allow_version_labels_for_unavailable_models
            self._set_labels(config, check=not unchecked)

    def model(self, name: str) -> Model | None:
        """Returns the model of a name; None if there is none."""
        return self._models.get(name)

    def __iter__(self) -> Iterator[Model]:
        return iter(list(self._models.values()))

    def requested_version(self, spec: model_pb2.ModelSpec) -> int | None:
        """Returns the version that a request names by number or label; None for the newest.

        Args:
          spec: Spec of the request.

        Raises:
          RequestError: If there is no such label.
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
        """Returns the loaded version that a request names.

        Args:
          spec: Spec of the request.

        Raises:
          RequestError: If it names no model, or there is no such version.
        """
        if not spec.name:
            raise RequestError("INVALID_ARGUMENT", "ModelSpec has no name specified.")
        number = self.requested_version(spec)
        model = self.model(spec.name)
        servable = model.servable(number) if model else None
        if servable is None:
            requested = f"Latest({spec.name})"
            if number is not None:
                requested = f"Specific({spec.name}, {number})"
            raise RequestError("NOT_FOUND", f"Servable not found for request: {requested}")
        return servable
