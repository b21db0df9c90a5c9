"""Artifacts: directories that a stage has written, complete and described, or not there at all.

    <root>/<Stage>/<fingerprint>/      a complete artifact, with its manifest.json
    <root>/.partial/<Stage>-<...>/     an artifact that is being written

A root may be on any filesystem that TensorFlow supports.
"""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, NoReturn

import fasteners

from common import checksums, code_version, files
from common.files import error_text, read_text, write_text
from model.errors import InputError
from pipeline.store.manifest import MANIFEST, CacheKey, Manifest, Properties, read_manifest

PARTIAL = ".partial"
"""Directory of a root that unfinished artifacts are in."""
SECONDS_TO_PUBLISH = 600
LIBRARIES = ("tensorflow", "tensorflow-text", "apache-beam")

State = Literal["complete", "interrupted", "missing"]


class Outcome(NamedTuple):
    """The result of writing an artifact.

    Attributes:
      properties: Properties that the stage reports.
      summary: Main property, in words, for `status`.
      checksums: Checksums (as in `Manifest`) of files whose writers have computed them already.
    """

    properties: Properties
    summary: str
    checksums: Mapping[str, str] = MappingProxyType({})


class Artifact(NamedTuple):
    """A complete artifact.

    Attributes:
      path: Directory of the artifact.
      manifest: Content of its `manifest.json`.
    """

    path: str
    manifest: Manifest

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its content."""
        return self.manifest.fingerprint

    def file(self, *parts: str) -> str:
        """Returns the path of a file in it."""
        return os.path.join(self.path, *parts)


class ArtifactMissingError(Exception):
    """An expected artifact was to be read, but its stage has not run yet.

    Attributes:
      stage: Name of the stage.
    """

    def __init__(self, stage: str):
        super().__init__(f"the {stage} artifact is missing")
        self.stage = stage


class ExpectedArtifact(NamedTuple):
    """An artifact that a stage is going to write; only its fingerprint is known.

    Attributes:
      stage: Name of the stage.
      fingerprint: Fingerprint that the artifact will have.
    """

    stage: str
    fingerprint: str

    @property
    def path(self) -> NoReturn:
        """Raises an ArtifactMissingError."""
        raise ArtifactMissingError(self.stage)

    @property
    def manifest(self) -> NoReturn:
        """Raises an ArtifactMissingError."""
        raise ArtifactMissingError(self.stage)

    def file(self, *parts: str) -> NoReturn:
        """Raises an ArtifactMissingError."""
        raise ArtifactMissingError(self.stage)


class Store:
    """The artifacts under a pipeline root."""

    def __init__(
        self,
        root: str,
        report: Callable[[Artifact, bool], None] = lambda *_: None,
        is_chief: bool = True,
    ):
        """Opens a root.

        Args:
          root: Directory of all artifacts; `writing` creates it if it does not exist.
          report: Function that is called with each artifact a stage returns, and with whether it
            was cached.
          is_chief: Whether this process writes artifacts. Others help the chief to compute one.
        """
        self.root = root.rstrip("/") or "/"
        self._report = report
        self._is_chief = is_chief
        self._partial = os.path.join(self.root, PARTIAL)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Locks the root, so that no two runs write the same artifact.

        Workers other than the chief write nothing and take no lock.

        Raises:
          InputError: If the root cannot be written, or another run has locked it.
        """
        if not self._is_chief:
            yield
            return
        with contextlib.ExitStack() as stack:
            try:
                files.makedirs(self._partial)
                if files.is_local(self.root):
                    self._lock(stack)
                # Nobody may remove what another run writes at the same time.
                probe = os.path.join(self._partial, f"probe-{uuid.uuid4().hex}")
                write_text(probe, "")
                files.remove(probe)
            except OSError as error:
                raise InputError(
                    f"the pipeline root {self.root} cannot be written ({error_text(error)}); "
                    "choose another with --root"
                ) from error
            yield

    def _lock(self, stack: contextlib.ExitStack) -> None:
        """Locks the root until the end of a stack, and removes what killed runs have left.

        Raises:
          InputError: If another run has locked it.
        """
        lock = fasteners.InterProcessLock(os.path.join(self._partial, ".lock"))
        if not lock.acquire(blocking=False):
            raise InputError(f"another run is writing {self.root}; wait for it or choose --root")
        stack.callback(lock.release)
        # What was killed while it wrote a small file has left it under another name.
        for pattern in ("*/*.tmp", f"{PARTIAL}/*.tmp"):
            for leftover in filter(files.is_unfinished, files.glob_in(self.root, pattern)):
                files.remove(leftover)

    def all(self, stage: str) -> list[Artifact]:
        """Returns the complete artifacts of a stage, oldest first."""
        found = [_read(path) for path in self.paths(stage)]
        return sorted(found, key=lambda artifact: artifact.manifest.started)

    def paths(self, stage: str = "*") -> list[str]:
        """Returns the directories of the complete artifacts of a stage, or of all stages."""
        manifests = files.glob_in(self.root, f"{stage}/*/{MANIFEST}")
        return sorted(map(os.path.dirname, manifests))

    def paths_apart(self) -> list[str]:
        """Returns those of the roots of other corpora, which lie in directories of this one."""
        manifests = files.glob_in(self.root, f"*/*/*/{MANIFEST}")
        return sorted(
            os.path.dirname(path) for path in manifests if not path.startswith(self._partial + "/")
        )

    def unfinished_checkpoints(self) -> list[str]:
        """Returns the checkpoints of interrupted trainings, as paths without suffixes."""
        lists = files.glob_in(self._partial, f"*/checkpoints/*/*{checksums.LIST}")
        return [path.removesuffix(checksums.LIST) for path in lists]

    def damage(self, path: str) -> dict[str, str]:
        """Compares the files of an artifact's directory with its manifest.

        Returns:
          What is wrong with each file that differs, by its path.
        """
        try:
            written = read_manifest(path).checksums
        except InputError:
            return {os.path.join(path, MANIFEST): "is damaged, or of a later version"}
        return checksums.damage(path, written)

    def latest(self, stage: str) -> Artifact:
        """Returns the artifact of a stage that was used or written last.

        Raises:
          InputError: If there is none.
        """
        pointer = os.path.join(self.root, stage, "latest")
        if files.exists(pointer):
            path = os.path.join(self.root, stage, read_text(pointer))
            if files.exists(os.path.join(path, MANIFEST)):
                return _read(path)
        raise InputError(
            f"{self.root} holds no {stage} artifact; run `python -m pipeline {command_of(stage)}` "
            "first"
        )

    def find(self, fingerprint: str) -> Artifact | None:
        """Returns the artifact with a fingerprint; None if there is none."""
        for path in files.glob_in(self.root, f"*/{fingerprint}/{MANIFEST}"):
            return _read(os.path.dirname(path))
        return None

    def ancestor(self, artifact: Artifact, *roles: str) -> Artifact:
        """Returns the input of an artifact in a role, the input of that in the next, and so on.

        Raises:
          InputError: If one of them was removed.
        """
        for role in roles:
            found = self.find(artifact.manifest.inputs[role])
            if found is None:
                raise InputError(
                    f"the {role} of {artifact.path} were removed; run `python -m pipeline run` "
                    "again"
                )
            artifact = found
        return artifact

    def artifact_or_expected(self, key: CacheKey) -> Artifact | ExpectedArtifact:
        """Returns the artifact of a key, or what stands for it until its stage has run."""
        final = self._final(key)
        if files.exists(os.path.join(final, MANIFEST)):
            return _read(final)
        return ExpectedArtifact(key.stage, key.fingerprint)

    def state(self, key: CacheKey) -> State:
        """Returns whether the artifact of a key is complete, was interrupted, or is missing."""
        if files.exists(os.path.join(self._final(key), MANIFEST)):
            return "complete"
        return "interrupted" if files.isdir(self._unfinished(key)) else "missing"

    def produce(
        self, key: CacheKey, write: Callable[[str], Outcome], resumable: bool = False
    ) -> Artifact:
        """Returns the artifact of a key; writes it if it does not exist.

        Args:
          key: Everything that decides over the content.
          write: Function that writes the content into the directory it is given.
          resumable: Whether `write` can resume from what an interrupted call has left.
        """
        final, partial = self._final(key), self._unfinished(key)
        if files.exists(os.path.join(final, MANIFEST)):
            return self._record_latest(_read(final), cached=True)
        if not self._is_chief:
            write(partial)
            return self._wait_for_chief(final)
        if not resumable:
            # Without a lock, another run may be writing what looks like a leftover.
            mine = f"{key.stage}-*" if files.is_local(self.root) else os.path.basename(partial)
            for leftover in files.glob_in(self._partial, mine):
                files.rmtree(leftover)
        files.makedirs(partial)
        started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
        try:
            outcome = write(partial)
        except BaseException:
            if not resumable or not files.below(partial):
                files.rmtree(partial)
            raise
        # A resumed attempt may find the manifest of one that was killed before it was published.
        for leftover in files.glob_in(partial, f"{MANIFEST}*"):
            files.remove(leftover)
        written = list(files.below(partial))
        if lost := min(outcome.checksums.keys() - set(written), default=""):
            raise InputError(
                f"{os.path.join(partial, lost)} was removed while the stage ran; run it again, "
                "with nothing else that writes the same root"
            )
        manifest = Manifest(
            stage=key.stage,
            fingerprint=key.fingerprint,
            inputs=key.inputs,
            parameters=key.parameters,
            code={"digest": key.code_digest, "commit": code_version.commit()},
            versions={name: importlib.metadata.version(name) for name in LIBRARIES},
            started=started.isoformat(timespec="milliseconds"),
            seconds=round(time.monotonic() - clock, 3),
            properties=dataclasses.asdict(outcome.properties),
            summary=outcome.summary,
            checksums={
                name: outcome.checksums.get(name) or checksums.of_file(os.path.join(partial, name))
                for name in written
            },
        )
        text = json.dumps(dataclasses.asdict(manifest), indent=2)
        write_text(os.path.join(partial, MANIFEST), text + "\n")
        publish(partial, final, last=MANIFEST)
        # As JSON has it: a list, say, where the properties have a tuple.
        return self._record_latest(_read(final), cached=False)

    def _final(self, key: CacheKey) -> str:
        return os.path.join(self.root, key.stage, key.fingerprint)

    def _unfinished(self, key: CacheKey) -> str:
        return os.path.join(self._partial, f"{key.stage}-{key.fingerprint}")

    def _wait_for_chief(self, final: str) -> Artifact:
        """Waits until the chief has published an artifact, and returns it."""
        for _ in range(SECONDS_TO_PUBLISH):
            if files.exists(os.path.join(final, MANIFEST)):
                return _read(final)
            time.sleep(1)
        raise InputError(f"{final} was not published; see what the first worker reports")

    def _record_latest(self, artifact: Artifact, cached: bool) -> Artifact:
        """Makes an artifact the latest of its stage, and reports it."""
        pointer = os.path.join(self.root, artifact.manifest.stage, "latest")
        if not files.exists(pointer) or read_text(pointer) != artifact.fingerprint:
            write_text(pointer, artifact.fingerprint)
        self._report(artifact, cached)
        return artifact


def command_of(stage: str) -> str:
    """Returns the command that runs a stage, such as "example_gen" for "ExampleGen"."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in stage).lstrip("_")


def publish(source: str, destination: str, last: str) -> None:
    """Moves a finished directory to its final name, where it appears complete or not at all.

    On a local filesystem that is one rename, of files that are on the disk by then, so that a loss
    of power leaves the whole directory or none. Object stores have no directories to rename: there
    the file `last` is copied last, and readers take its presence as the sign that all others are
    there.

    Args:
      source: Path of the finished directory.
      destination: Path that it gets; a directory there is replaced.
      last: Name of the file in it that marks it as complete.
    """
    files.makedirs(os.path.dirname(destination))
    if files.exists(destination):
        files.rmtree(destination)
    names = files.below(source)
    if files.is_local(destination):
        for path in {*names, *map(os.path.dirname, names)}:
            files.synchronize(os.path.join(source, path))
        files.rename(source, destination)
        files.synchronize(os.path.dirname(destination))
        return
    for name in sorted(names, key=lambda name: name == last):
        target = os.path.join(destination, name)
        files.makedirs(os.path.dirname(target))
        files.copy(os.path.join(source, name), target)
    files.rmtree(source)


def copy_tree(source: str, destination: str) -> None:
    """Copies a directory with all that is in it."""
    for name in files.below(source):
        target = os.path.join(destination, name)
        files.makedirs(os.path.dirname(target))
        files.copy(os.path.join(source, name), target)


def _read(path: str) -> Artifact:
    return Artifact(path, read_manifest(path))
