"""Manifests: those of earlier versions are read, and properties come back as they were."""

import dataclasses
import json

import pytest

from model.errors import InputError
from pipeline.store import blessing
from pipeline.store.artifacts import ArtifactMissingError, ExpectedArtifact, Outcome
from pipeline.store.manifest import FORMAT, CacheKey, Properties, read_manifest


@dataclasses.dataclass(frozen=True)
class Counted(Properties):
    """The properties of a stage of these tests."""

    count: int
    names: list[str]
    note: str = "none"


KEY = CacheKey.of("Stage", "pipeline.settings", {"corpus": "abc"}, {"size": 3})


def write(directory):
    return Outcome(Counted(count=2, names=["a", "b"]), "two")


def rewrite(artifact, change):
    path = artifact.file("manifest.json")
    with open(path) as file:
        content = json.load(file)
    change(content)
    with open(path, "w") as file:
        json.dump(content, file)


def test_properties_are_read_as_they_were_reported(private_store):
    artifact = private_store.produce(KEY, write)
    assert Counted.read(artifact) == Counted(count=2, names=["a", "b"])
    assert private_store.produce(KEY, write) == private_store.latest("Stage") == artifact
    assert artifact.manifest.format == FORMAT


def test_a_manifest_of_format_1_is_read(private_store):
    artifact = private_store.produce(KEY, write)

    def to_format_1(content):
        content["counters"] = {**content.pop("properties"), "another": 1}
        content["figure"] = content.pop("summary")
        content["format"] = 1

    rewrite(artifact, to_format_1)
    assert Counted.read(private_store.latest("Stage")) == Counted(count=2, names=["a", "b"])
    assert private_store.latest("Stage").manifest.summary == "two"
    rewrite(artifact, lambda content: content.pop("format"))
    assert read_manifest(artifact.path).properties["count"] == 2
    assert private_store.damage(artifact.path) == {}


def test_a_property_that_is_lacking_is_named(private_store):
    artifact = private_store.produce(KEY, write)
    rewrite(artifact, lambda content: content["properties"].pop("count"))
    with pytest.raises(InputError, match=r"does not report count, .* run the stage again"):
        Counted.read(private_store.latest("Stage"))
    rewrite(artifact, lambda content: content.pop("properties"))
    with pytest.raises(InputError, match="is damaged"):
        private_store.latest("Stage")


def test_the_state_of_an_artifact(private_store):
    assert private_store.state(KEY) == "missing"
    expected = private_store.artifact_or_expected(KEY)
    assert expected == ExpectedArtifact("Stage", KEY.fingerprint)
    for read in (lambda: expected.path, lambda: expected.manifest, lambda: expected.file("a")):
        with pytest.raises(ArtifactMissingError) as raised:
            read()
        assert raised.value.stage == "Stage"

    def fail(directory):
        with open(f"{directory}/half", "w"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        private_store.produce(KEY, fail, resumable=True)
    assert private_store.state(KEY) == "interrupted"
    artifact = private_store.produce(KEY, write, resumable=True)
    assert (private_store.state(KEY), private_store.artifact_or_expected(KEY)) == (
        "complete",
        artifact,
    )


@pytest.mark.parametrize("objection", ["", "worse than version 1"])
def test_a_blessing_is_a_file_with_its_reason(private_store, objection):
    def bless(directory):
        blessing.write(directory, objection)
        return write(directory)

    artifact = private_store.produce(KEY, bless)
    assert blessing.objection(artifact) == objection


def test_an_artifact_without_a_blessing_is_refused(private_store):
    with pytest.raises(InputError, match="neither BLESSED nor NOT_BLESSED"):
        blessing.objection(private_store.produce(KEY, write))
