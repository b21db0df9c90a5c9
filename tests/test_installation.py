"""The distribution grid-lstm: built, installed elsewhere, and used from there."""

import pathlib
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
from conftest import PROJECT

EXAMPLE = """
import keras
import numpy as np
from {name} import GridLSTM, GridLSTMND, StackedLSTM

keras.utils.set_random_seed(1)
x = np.linspace(-1, 1, 4 * 6 * 8).reshape(4, 6, 8).astype("float32")
path = "{path}"
if {save}:
    model = keras.Sequential(
        [
            keras.Input((None, 8)),
            GridLSTM(8, layers=2, tied="depth", return_sequences=True),
            StackedLSTM(8, layers=2, return_sequences=True),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    model.fit(x, x.cumsum(axis=1)[..., :1], verbose=0)
    assert GridLSTMND(4, directions=("forward", "backward"))(x[None, :2, :3]).shape[-1] == 4
    model.save(path)
    np.save(path + ".npy", model.predict(x, verbose=0))
else:
    model = keras.models.load_model(path)
    np.testing.assert_allclose(model.predict(x, verbose=0), np.load(path + ".npy"), atol=1e-6)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the sources so that nothing is left among them."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(
        PROJECT / "model", source / "model", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(PROJECT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    options = ["--no-build-isolation", "--disable-pip-version-check", "--wheel-dir", source]
    subprocess.run([*command, *options, source], check=True)
    (built,) = source.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def target(wheel, tmp_path_factory):
    """A folder into which the wheel alone is installed."""
    folder = tmp_path_factory.mktemp("target")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    options = ["--disable-pip-version-check", "--target", folder, wheel]
    subprocess.run([*command, *options], check=True)
    return folder


def run(code, folder, path):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(path), "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


def test_the_wheel_holds_every_module_of_the_model(wheel):
    expected = {
        str(pathlib.Path("grid_lstm", path.relative_to(PROJECT / "model")))
        for path in (PROJECT / "model").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    files = {name for name in zipfile.ZipFile(wheel).namelist() if "dist-info" not in name}
    assert files == expected


def test_the_wheel_needs_tensorflow_keras_and_numpy_alone():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    names = [requirement.split(">")[0] for requirement in project["dependencies"]]
    assert names == ["tensorflow", "keras", "numpy"]


@pytest.mark.slow
@pytest.mark.parametrize("saved,loaded", [("grid_lstm", "model"), ("model", "grid_lstm")])
def test_a_model_saved_under_one_name_loads_under_the_other(target, tmp_path, saved, loaded):
    paths = {"grid_lstm": target, "model": PROJECT}
    for name, save in ((saved, True), (loaded, False)):
        code = EXAMPLE.format(name=name, path=tmp_path / "net.keras", save=save)
        finished = run(code, tmp_path, paths[name])
        assert finished.returncode == 0, finished.stderr


@pytest.mark.slow
def test_the_installed_package_needs_no_tensorflow_text(target, tmp_path):
    """Byte vocabularies and sampling work without it; code points name the remedy."""
    code = """
import sys
sys.modules["tensorflow_text"] = None
import tensorflow as tf
from grid_lstm import CharacterModel, InputError, ModelConfig, freeze
from grid_lstm.language_model.sampling import generate
from grid_lstm.text.code_points import TextVocabulary

vocabulary = TextVocabulary.of("bytes", b"abc")
model = freeze(CharacterModel(ModelConfig(layers=1, units=8), vocabulary.size))
generated = generate(
    model, vocabulary.encode(tf.constant(["ab"])), tf.constant([3]), tf.constant([1.0]),
    tf.constant([0]), tf.constant([1.0]), tf.constant([7], tf.int64),
)
assert len(vocabulary.decode(generated.ids).numpy()[0]) == 3
try:
    TextVocabulary.of("unicode", [97]).encode(tf.constant(["a"]))
except InputError as error:
    assert "grid-lstm[text]" in str(error)
else:
    raise AssertionError
"""
    finished = run(code, tmp_path, target)
    assert finished.returncode == 0, finished.stderr


def test_the_command_line_works_under_both_names(target, tmp_path):
    finished = subprocess.run(
        [sys.executable, "-m", "grid_lstm", "explain", "--units", "0"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 2
    assert finished.stderr.startswith(
        "error: argument --units: 0 is not at least 1; see `python -m"
    )
