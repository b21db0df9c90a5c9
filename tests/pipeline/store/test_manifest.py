"""Manifests: those of earlier versions are read, and properties come back as they were."""

import dataclasses
import json

import pytest

from model.errors import InputError
from pipeline.store import blessing
from pipeline.store.artifacts import ArtifactMissingError, ExpectedArtifact, Outcome, Store
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


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path / "root"))
    with store.writing():
        yield store


def rewrite(artifact, change):
    path = artifact.file("manifest.json")
    with open(path) as file:
        content = json.load(file)
    change(content)
    with open(path, "w") as file:
        json.dump(content, file)


def test_properties_are_read_as_they_were_reported(store):
    artifact = store.produce(KEY, write)
    assert Counted.read(artifact) == Counted(count=2, names=["a", "b"])
    assert store.produce(KEY, write) == store.latest("Stage") == artifact
    assert artifact.manifest.format == FORMAT


def test_a_manifest_of_format_1_is_read(store):
    artifact = store.produce(KEY, write)

    def to_format_1(content):
        content["counters"] = {**content.pop("properties"), "another": 1}
        content["format"] = 1

    rewrite(artifact, to_format_1)
    assert Counted.read(store.latest("Stage")) == Counted(count=2, names=["a", "b"])
    rewrite(artifact, lambda content: content.pop("format"))
    assert read_manifest(artifact.path).properties["count"] == 2
    assert store.damage(artifact.path) == {}


def test_a_property_that_is_lacking_is_named(store):
    artifact = store.produce(KEY, write)
    rewrite(artifact, lambda content: content["properties"].pop("count"))
    with pytest.raises(InputError, match=r"does not report count, .* run the stage again"):
        Counted.read(store.latest("Stage"))
    rewrite(artifact, lambda content: content.pop("properties"))
    with pytest.raises(InputError, match="is damaged"):
        store.latest("Stage")


def test_the_state_of_an_artifact(store):
    assert store.state(KEY) == "missing"
    expected = store.expect(KEY)
    assert expected == ExpectedArtifact("Stage", KEY.fingerprint)
    for read in (lambda: expected.path, lambda: expected.manifest, lambda: expected.file("a")):
        with pytest.raises(ArtifactMissingError) as raised:
            read()
        assert raised.value.stage == "Stage"

    def fail(directory):
        with open(f"{directory}/half", "w"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.produce(KEY, fail, resumable=True)
    assert store.state(KEY) == "interrupted"
    artifact = store.produce(KEY, write, resumable=True)
    assert (store.state(KEY), store.expect(KEY)) == ("complete", artifact)


@pytest.mark.parametrize("objection", ["", "worse than version 1"])
def test_a_blessing_is_a_file_with_its_reason(store, objection):
    def bless(directory):
        blessing.write(directory, objection)
        return write(directory)

    artifact = store.produce(KEY, bless)
    assert blessing.objection(artifact) == objection


def test_an_artifact_without_a_blessing_is_refused(store):
    with pytest.raises(InputError, match="neither BLESSED nor NOT_BLESSED"):
        blessing.objection(store.produce(KEY, write))
