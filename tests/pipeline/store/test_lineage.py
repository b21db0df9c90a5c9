"""The versions that were pushed before, against which a new model is measured."""

import json
from typing import NamedTuple

import pytest

from model.errors import InputError
from pipeline.store import lineage


class Trained(NamedTuple):
    """A new model."""

    fingerprint: str


def push(base_path, version, model, **facts):
    path = base_path / str(version)
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"a model")
    lineage.write(str(path), {"model": model, "evaluation": "e", **facts})


def test_the_baseline_is_the_last_good_version_of_another_model(tmp_path):
    push(tmp_path, 1, "one", variant="float32", trained_by="Trainer")
    push(tmp_path, 2, "two", variant="float32")  # as versions were pushed before
    push(tmp_path, 3, "three", variant="int8", trained_by="Trainer")
    found = lineage.pushed_before(str(tmp_path), Trained("new"), "Trainer")
    assert (found.version, found.trained_by) == (2, "Trainer")
    assert lineage.pushed_before(str(tmp_path), Trained("two"), "Trainer").version == 1
    (tmp_path / "2" / "saved_model.pb").write_bytes(b"damaged")
    assert lineage.pushed_before(str(tmp_path), Trained("new"), "Trainer").version == 1


def test_a_version_of_later_software_is_left_alone(tmp_path):
    push(tmp_path, 1, "one")
    path = tmp_path / "1" / lineage.LINEAGE
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "format": lineage.FORMAT + 1, "model": None}))
    renamed = {name: content[name] for name in content if name != "model"}
    for changed, is_left in ((lineage.FORMAT + 1, True), (lineage.FORMAT, False)):
        path.write_text(json.dumps({**renamed, "format": changed}))
        assert (not lineage.damage(str(tmp_path / "1"), 1)) == is_left


def test_models_of_another_task_are_no_baseline(tmp_path):
    push(tmp_path, 1, "one", trained_by="TranslationTrainer")
    assert json.loads((tmp_path / "1" / lineage.LINEAGE).read_text())["trained_by"]
    with pytest.raises(InputError, match="TranslationTrainer, and the new model by Trainer; give"):
        lineage.pushed_before(str(tmp_path), Trained("new"), "Trainer")
