"""What is read out of an exported model: features of text, the cells that follow them, errors."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from commands import run_module
from seeds import generator

from experiments.characters import probing
from experiments.characters.language_models import PIECE, WARM_UP, Export
from experiments.characters.text_features import FEATURES
from experiments.framework import results


def test_features_are_of_the_text_so_far():
    quotes = FEATURES["in quotes"](b'a "b" c "d\n" e')
    assert list(quotes) == [0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1]
    depth = FEATURES["open brackets"](b"a(b[c{d}e]f)g)h(")
    assert list(depth) == [0, 1, 1, 2, 2, 3, 3, 2, 2, 1, 1, 0, 0, 0, 0, 1]
    assert list(FEATURES["position in the line"](b"ab\n\ncd")) == [1, 2, 0, 0, 1, 2]
    assert list(FEATURES["indentation"](b"a b\n  c d\n e")) == [0] * 4 + [1, 2, 2, 2, 2, 0, 1, 1]


def test_the_strongest_cell_is_the_one_that_correlates():
    rng = generator()
    cells = rng.normal(size=(500, 3, 7))
    values = rng.normal(size=500)
    layer, unit = rng.integers(3), rng.integers(7)
    cells[:, layer, unit] -= 3 * values
    found = probing.strongest(cells, values)
    assert found[:2] == (layer, unit)
    expected = np.corrcoef(cells[:, layer, unit], values)[0, 1]
    assert found[2] == pytest.approx(expected) and expected < -0.8
    assert probing.strongest(cells, np.ones(500)) is None
    assert probing.strongest(np.zeros((500, 1, 1)), values) == (0, 0, 0.0)


def test_characters_are_of_the_kind_that_stands_before_them():
    text = b"ab  c\n  d_1(x)\n\n"
    names = [probing.KINDS[kind] for kind in probing.character_kinds(text)]
    first, rest, other = "first letter of a word", "rest of a word", "other"
    assert names == [
        "new line", rest, other, other, first, other,
        "new line", "indentation", first, rest, rest, other, first, other, other,
        "new line",
    ]  # fmt: skip


@pytest.mark.slow
def test_models_that_have_answered_take_no_more_time(base_path):
    script = f"""
import resource, time
from experiments.characters.language_models import Export
export = Export.load({str(base_path / "1")!r})
assert export.sample(10) and export.score([b"a"]).size
before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
time.sleep(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - before)
"""
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert int(finished.stdout) < 100  # times that a thread was woken


@pytest.mark.slow
def test_an_export_is_looked_into(base_path):
    text = b"abc \n ab c\n" * 400
    tables = probing.probe(str(base_path / "1"), text, 2)
    layers, units = 2, 12
    (cell,) = [row for row in tables["cells"] if row["feature"] == "position in the line"]
    export = Export.load(str(base_path / "1"))
    pieces = export.pieces(text, 2)
    every = tf.constant([-1, -1])
    found = export.signatures["inspect"](text=tf.constant(pieces), layer=every, unit=every)
    memories = np.tanh(found["memories"].numpy()).reshape(-1, layers, units)
    position = np.concatenate([FEATURES["position in the line"](piece) for piece in pieces])
    own = np.corrcoef(memories[:, cell["layer"] - 1, cell["unit"]], position)[0, 1]
    assert own == pytest.approx(cell["correlation"], abs=1e-3)
    for other in memories.reshape(-1, layers * units).T:
        assert abs(np.corrcoef(other, position)[0, 1]) <= abs(own) + 1e-6
    assert len(tables["gates"]) == layers * 2 * 3
    wrong = (np.exp(export.score(pieces)[:, WARM_UP:]) < 0.5).sum()
    assert sum(row["errors"] for row in tables["errors"]) == wrong
    assert sum(row["count"] for row in tables["errors"]) == 2 * (PIECE - WARM_UP)


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A text of the letters that the model knows."""
    path = tmp_path_factory.mktemp("text") / "letters.txt"
    path.write_text("".join(generator().choice(list("abc \n"), 60_000)))
    return path


@pytest.mark.slow
def test_any_export_can_be_named(base_path, letters, tmp_path):
    options = ("--root", tmp_path, "--corpus", letters, "--saved_model", base_path / "1")
    finished = run_module("experiments", "run", "cells", *options)
    assert finished.returncode == 0, finished.stderr
    folder = tmp_path / "tiny" / "cells"
    (model,) = {row["model"] for row in results.read(folder).tables["cells"]}
    assert model == str(base_path / "1")
    assert (folder / "cells.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_what_cannot_be_looked_into_is_named(base_path, corpus_file, letters, tmp_path):
    for corpus, model, problem in (
        (letters, tmp_path, f"{tmp_path} is not an exported model"),
        (corpus_file, base_path / "1", "some that the vocabulary of the model lacks"),
    ):
        options = ("--root", tmp_path / "root", "--corpus", corpus, "--saved_model", model)
        finished = run_module("experiments", "run", "cells", *options)
        assert finished.returncode == 2
        (line,) = finished.stderr.splitlines()
        assert problem in line
