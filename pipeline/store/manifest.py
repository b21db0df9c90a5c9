"""The manifest of an artifact, the key it is cached under, and the properties a stage reports."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

from common import code_version
from common.files import read_text
from model.errors import InputError

MANIFEST = "manifest.json"
FORMAT = 3
FINGERPRINT_LENGTH = 16


class Fingerprinted(Protocol):
    """An artifact, or one that is expected but not there yet."""

    @property
    def fingerprint(self) -> str:
        """The fingerprint of its content."""


class CacheKey(NamedTuple):
    """Everything that decides over the content of an artifact.

    Attributes:
      stage: Name of the stage.
      module: Dotted name of the stage's module, whose sources count.
      inputs: Fingerprint of each input, by its role.
      parameters: Everything else that the content depends on; JSON must be able to express it.
    """

    stage: str
    module: str
    inputs: Mapping[str, str]
    parameters: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        stage: str,
        module: str,
        inputs: Mapping[str, Fingerprinted | str],
        parameters: Mapping[str, Any],
    ) -> Self:
        """Returns the key of a stage with these inputs.

        Args:
          stage: Name of the stage.
          module: Dotted name of the stage's module.
          inputs: Artifacts, or fingerprints of things outside of the root, by their roles.
          parameters: Everything else that the content depends on.
        """
        fingerprints = {
            role: value if isinstance(value, str) else value.fingerprint
            for role, value in inputs.items()
        }
        return cls(stage, module, fingerprints, dict(parameters))

    @property
    def code_digest(self) -> str:
        """The digest of the stage's code."""
        return code_version.source_digest(self.module)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the artifact; equal keys have equal fingerprints."""
        return fingerprint_of([self.stage, self.inputs, self.parameters, self.code_digest])


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A description of an artifact, which lies in its directory as `manifest.json`.

    Attributes:
      stage: Name of the stage that wrote the artifact.
      fingerprint: SHA-256 (shortened) over the stage, the fingerprints of its inputs, its
        parameters and its code; two artifacts with the same fingerprint have the same content.
      inputs: Fingerprint of each input, by its role.
      parameters: Parameters of the stage.
      code: Digest of the sources, and the commit.
      versions: Versions of the libraries that decide over the content.
      started: Start of the writing, ISO 8601 in UTC.
      seconds: Duration of the writing, over all attempts of the process that finished it.
      properties: Properties that the stage reports; read them by `Properties.read`.
      summary: Main property, in words, for `status`.
      checksums: Checksum of each file (see `common.checksums`), by its path relative to the
        directory.
      format: Version of the manifest's own format.
    """

    stage: str
    fingerprint: str
    inputs: Mapping[str, str]
    parameters: Mapping[str, Any]
    code: Mapping[str, str]
    versions: Mapping[str, str]
    started: str
    seconds: float
    properties: Mapping[str, Any]
    summary: str
    checksums: Mapping[str, str]
    format: int = FORMAT


class Described(Protocol):
    """An artifact, or anything else with a path and a manifest."""

    @property
    def path(self) -> str:
        """The directory of the artifact."""

    @property
    def manifest(self) -> Manifest:
        """The content of its `manifest.json`."""


@dataclasses.dataclass(frozen=True)
class Properties:
    """The base of the records that stages report; each stage has a dataclass of its own."""

    @classmethod
    def read(cls, artifact: Described) -> Self:
        """Reads the properties of an artifact of the stage that reports this record.

        Properties that this version of the record lacks are ignored.

        Raises:
          InputError: If the manifest lacks one that the record has no default for.
        """
        stored = artifact.manifest.properties
        fields = dataclasses.fields(cls)
        try:
            return cls(
                **{field.name: stored[field.name] for field in fields if field.name in stored}
            )
        except TypeError as error:
            lacking = ", ".join(field.name for field in fields if field.name not in stored)
            raise InputError(
                f"{artifact.path} does not report {lacking}, as another version wrote it; remove "
                "it and run the stage again"
            ) from error


def read_manifest(directory: str) -> Manifest:
    """Reads the manifest of an artifact.

    Manifests of format 1, whose properties were called counters, are read as well, and those of
    format 2, whose summary was called figure.

    Raises:
      InputError: If it is damaged, or of a later format.
    """
    path = os.path.join(directory, MANIFEST)
    try:
        content = json.loads(read_text(path))
        written = content.get("format", 1)
        if written <= FORMAT:
            if written == 1:
                content["properties"] = content.pop("counters")
            if written <= 2:
                content["summary"] = content.pop("figure")
            return Manifest(**{**content, "format": FORMAT})
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise InputError(
            f"{path} is damaged; remove {directory} and run the stage again"
        ) from error
    raise InputError(
        f"{path} is of a later version of this project (format {written}); use that version, or "
        "another --root"
    )


def fingerprint_of(value: Any) -> str:
    """Computes a fingerprint of anything that JSON can express."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]
