"""Artifacts: directories that a stage has written, complete and described, or not there at all.

    <root>/<Stage>/<fingerprint>/      a complete artifact, with its manifest.json
    <root>/.partial/<Stage>-<...>/     one that is being written

A root may be on any filesystem TensorFlow knows.
"""

import contextlib
import dataclasses
import datetime
import hashlib
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import fasteners

from common import checksums, code_version, files
from common.files import read_text, reason, write_text
from model.errors import InputError

MANIFEST = "manifest.json"
FORMAT = 1
FINGERPRINT_LENGTH = 16
SECONDS_TO_PUBLISH = 600
LIBRARIES = ("tensorflow", "tensorflow-text", "apache-beam")


class Outcome(NamedTuple):
    """What writing an artifact came to.

    Attributes:
      counters: numbers worth keeping.
      figure: the main one, in words, for `status`.
      checksums: as in `Manifest`, of files whose writers have taken them already.
    """

    counters: Mapping[str, Any]
    figure: str
    checksums: Mapping[str, str] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The description that lies in an artifact's directory as `manifest.json`.

    Attributes:
      stage: the stage that wrote it.
      fingerprint: SHA-256 (shortened) over the stage, its inputs' fingerprints, its parameters and
        its code; two artifacts with the same fingerprint have the same content.
      inputs: the fingerprint of each input, by its role.
      parameters: the stage's parameters.
      code: digest of the sources, and the commit.
      versions: of the libraries that decide over the content.
      started: when, ISO 8601 in UTC.
      seconds: how long it took, over all attempts of the process that finished it.
      counters: see `Outcome`.
      figure: see `Outcome`.
      checksums: of each file, see `pipeline.checksums`, by its path relative to the directory.
      format: of the manifest itself.
    """

    stage: str
    fingerprint: str
    inputs: Mapping[str, str]
    parameters: Mapping[str, Any]
    code: Mapping[str, str]
    versions: Mapping[str, str]
    started: str
    seconds: float
    counters: Mapping[str, Any]
    figure: str
    checksums: Mapping[str, str]
    format: int = FORMAT


class Artifact(NamedTuple):
    """A complete artifact: where it is and what its manifest says."""

    path: str
    manifest: Manifest

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its content."""
        return self.manifest.fingerprint

    def file(self, *parts: str) -> str:
        """The path of a file in it."""
        return os.path.join(self.path, *parts)


class Store:
    """The artifacts under a pipeline root."""

    def __init__(
        self,
        root: str,
        report: Callable[[Artifact, bool], None] = lambda *_: None,
        leads: bool = True,
    ):
        """Opens a root.

        Args:
          root: a directory, made where it does not exist.
          report: called with each artifact a stage hands on, and whether it was there already.
          leads: whether this process writes artifacts; otherwise it helps another one to.

        Raises:
          InputError: if it cannot be written.
        """
        self.root = root.rstrip("/") or "/"
        self._report = report
        self._leads = leads
        self._partial = os.path.join(self.root, ".partial")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Holds the root, so that no two runs write the same artifact; helpers need not.

        Raises:
          InputError: if the root cannot be written, or another run holds it.
        """
        if not self._leads:
            yield
            return
        try:
            files.makedirs(self._partial)
            probe = os.path.join(self._partial, ".probe")
            write_text(probe, "")
            files.remove(probe)
        except OSError as error:
            raise InputError(
                f"the pipeline root {self.root} cannot be written ({reason(error)}); "
                "choose another with --root"
            ) from error
        if not files.is_local(self.root):
            yield
            return
        lock = fasteners.InterProcessLock(os.path.join(self._partial, ".lock"))
        if not lock.acquire(blocking=False):
            raise InputError(f"another run is writing {self.root}; wait for it or choose --root")
        try:
            yield
        finally:
            lock.release()

    def all(self, stage: str) -> list[Artifact]:
        """The complete artifacts of a stage, oldest first."""
        found = [_read(path) for path in self.paths(stage)]
        return sorted(found, key=lambda artifact: artifact.manifest.started)

    def paths(self, stage: str = "*") -> list[str]:
        """The directories of the complete artifacts of a stage, or of all."""
        manifests = files.glob(os.path.join(self.root, stage, "*", MANIFEST))
        return sorted(map(os.path.dirname, manifests))

    def damage(self, path: str) -> dict[str, str]:
        """The files of an artifact's directory that are not as its manifest has them, and why."""
        try:
            written = _read(path).manifest.checksums
        except InputError:
            return {os.path.join(path, MANIFEST): "is damaged, or of a later version"}
        found = {}
        for name, checksum in written.items():
            file = os.path.join(path, name)
            if not files.exists(file):
                found[file] = "is missing"
            elif not checksums.holds(file, checksum):
                found[file] = "is not what was written"
        return found

    def latest(self, stage: str) -> Artifact:
        """The artifact of a stage that was used or written last.

        Raises:
          InputError: if there is none.
        """
        pointer = os.path.join(self.root, stage, "latest")
        if files.exists(pointer):
            path = os.path.join(self.root, stage, read_text(pointer))
            if files.exists(os.path.join(path, MANIFEST)):
                return _read(path)
        command = "".join(f"_{c.lower()}" if c.isupper() else c for c in stage).lstrip("_")
        raise InputError(
            f"{self.root} holds no {stage} artifact; run `python -m pipeline {command}` first"
        )

    def find(self, fingerprint: str) -> Artifact | None:
        """The artifact with this fingerprint."""
        for path in files.glob(os.path.join(self.root, "*", fingerprint, MANIFEST)):
            return _read(os.path.dirname(path))
        return None

    def ancestor(self, artifact: Artifact, *roles: str) -> Artifact:
        """The input of an artifact in a role, the input of that in the next, and so on.

        Raises:
          InputError: if it is gone.
        """
        for role in roles:
            found = self.find(artifact.manifest.inputs[role])
            if found is None:
                raise InputError(
                    f"the {role} of {artifact.path} are gone; run `python -m pipeline run` again"
                )
            artifact = found
        return artifact

    def produce(
        self,
        stage: str,
        module: str,
        inputs: Mapping[str, Artifact | str],
        parameters: Mapping[str, Any],
        write: Callable[[str], Outcome],
        resumable: bool = False,
    ) -> Artifact:
        """The artifact of a stage with these inputs and parameters, written if it is not there.

        Args:
          stage: the name of the stage.
          module: the stage's module, whose sources count for the fingerprint.
          inputs: artifacts, or fingerprints of what lies outside the root.
          parameters: everything else the content depends on.
          write: writes the content into the directory it is given.
          resumable: whether `write` can go on with what an interrupted call has left.
        """
        code = {"digest": code_version.source_digest(module), "commit": code_version.commit()}
        fingerprints = {
            role: value if isinstance(value, str) else value.fingerprint
            for role, value in inputs.items()
        }
        fingerprint = fingerprint_of([stage, fingerprints, dict(parameters), code["digest"]])
        final = os.path.join(self.root, stage, fingerprint)
        if files.exists(os.path.join(final, MANIFEST)):
            return self._hand_on(_read(final), cached=True)
        partial = os.path.join(self._partial, f"{stage}-{fingerprint}")
        if not self._leads:
            write(partial)
            return self._published(final)
        if not resumable:
            for leftover in files.glob(os.path.join(self._partial, f"{stage}-*")):
                files.rmtree(leftover)
        files.makedirs(partial)
        started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
        try:
            outcome = write(partial)
        except BaseException:
            if not resumable or not _files(partial):
                files.rmtree(partial)
            raise
        # A resumed attempt may find the manifest of one that was killed before it was published.
        for leftover in files.glob(os.path.join(partial, f"{MANIFEST}*")):
            files.remove(leftover)
        manifest = Manifest(
            stage=stage,
            fingerprint=fingerprint,
            inputs=fingerprints,
            parameters=dict(parameters),
            code=code,
            versions={name: importlib.metadata.version(name) for name in LIBRARIES},
            started=started.isoformat(timespec="milliseconds"),
            seconds=round(time.monotonic() - clock, 3),
            counters=dict(outcome.counters),
            figure=outcome.figure,
            checksums={
                name: outcome.checksums.get(name) or checksums.of_file(os.path.join(partial, name))
                for name in _files(partial)
            },
        )
        text = json.dumps(dataclasses.asdict(manifest), indent=2)
        write_text(os.path.join(partial, MANIFEST), text + "\n")
        publish(partial, final, last=MANIFEST)
        return self._hand_on(Artifact(final, manifest), cached=False)

    def _published(self, final):
        """What another process is about to publish."""
        for _ in range(SECONDS_TO_PUBLISH):
            if files.exists(os.path.join(final, MANIFEST)):
                return _read(final)
            time.sleep(1)
        raise InputError(f"{final} was not published; look at what the first worker says")

    def _hand_on(self, artifact, cached):
        pointer = os.path.join(self.root, artifact.manifest.stage, "latest")
        if not files.exists(pointer) or read_text(pointer) != artifact.fingerprint:
            write_text(pointer, artifact.fingerprint)
        self._report(artifact, cached)
        return artifact


def publish(source: str, destination: str, last: str) -> None:
    """Makes a finished directory appear under its final name, complete or not at all.

    On a local filesystem that is one rename. Object stores have no directories to rename: there the
    file `last` is copied last, and readers take it for the sign that the rest is there.
    """
    files.makedirs(os.path.dirname(destination))
    if files.exists(destination):
        files.rmtree(destination)
    if files.is_local(destination):
        files.rename(source, destination)
        return
    names = _files(source)
    for name in sorted(names, key=lambda name: name == last):
        target = os.path.join(destination, name)
        files.makedirs(os.path.dirname(target))
        files.copy(os.path.join(source, name), target)
    files.rmtree(source)


def copy_tree(source: str, destination: str) -> None:
    """Copies a directory."""
    for name in _files(source):
        target = os.path.join(destination, name)
        files.makedirs(os.path.dirname(target))
        files.copy(os.path.join(source, name), target)


def fingerprint_of(value: Any) -> str:
    """A fingerprint of anything that JSON can express."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]


def _read(path):
    manifest = os.path.join(path, MANIFEST)
    try:
        content = json.loads(read_text(manifest))
        if content.get("format", FORMAT) <= FORMAT:
            return Artifact(path, Manifest(**content))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{manifest} is damaged; remove {path} and run the stage again") from error
    raise InputError(
        f"{manifest} is of a later version of this project (format {content['format']}); use that "
        "version, or another --root"
    )


def _files(directory):
    return sorted(
        os.path.relpath(os.path.join(folder, name), directory)
        for folder, _, names in files.walk(directory)
        for name in names
    )
