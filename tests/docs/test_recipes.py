"""The recipes of docs/extending.md: each patch applies, touches at most two files, and works."""

import re
import subprocess

import pytest
from checkouts import copy_project, run_python
from conftest import PROJECT, words

RECIPES = PROJECT / "docs" / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.patch"))
MAX_FILES = 2

TRAIN_A_STEP = """
import keras
import numpy as np
from model import GridLSTM

keras.utils.set_random_seed(1)
x = np.random.normal(size=(4, 6, 3)).astype("float32")
layer = GridLSTM(5, layers=2, cells=("ugrnn", "lstm"), execution="wavefront")
model = keras.Sequential([keras.Input((6, 3)), layer, keras.layers.Dense(1)])
model.compile("adam", "mse")
before = [weight.numpy() for weight in layer.trainable_variables]
assert layer.block_weights[0].kernel.shape == (2, 10, 2 * 5), "a gate and a candidate"
history = model.fit(x, x.sum(axis=(1, 2)), verbose=0)
assert np.isfinite(history.history["loss"]).all()
changed = zip(before, layer.trainable_variables, strict=True)
assert all(np.abs(old - new.numpy()).max() > 0 for old, new in changed)

reference = GridLSTM(5, layers=2, cells=("ugrnn", "lstm"), execution="reference")
reference.build(x.shape)
reference.set_weights(layer.get_weights())
np.testing.assert_allclose(layer(x), reference(x), atol=2e-2)  # bfloat16 where that is faster
"""

TRAIN_WITH_THE_CONTEXT = """
import numpy as np
import tensorflow as tf
from model import CharacterModel, ModelConfig, freeze

model = CharacterModel(ModelConfig(layers=1, units=6, contexts=("average:4",)), 5)
ids = np.random.default_rng(1).integers(0, 5, (2, 12)).astype("int32")
whole, after = model(ids, model.initial_state(2))
first, state = model(ids[:, :7], model.initial_state(2))
second, state = model(ids[:, 7:], state)
np.testing.assert_allclose(np.concatenate([first, second]), whole, atol=1e-5)
np.testing.assert_allclose(state.contexts[0], after.contexts[0], atol=1e-5)
average, embedding = np.zeros([2, 4]), model.contexts[0].embedding.numpy()
for entering in np.concatenate([np.full([2, 1], 5), ids[:, :-1]], axis=1).T:
    average = 0.05 * embedding[entering] + 0.95 * average
np.testing.assert_allclose(after.contexts[0], average, atol=1e-5)
with tf.GradientTape() as tape:
    loss = tf.reduce_sum(model(ids, model.initial_state(2), training=True)[0] ** 2)
gradients = tape.gradient(loss, model.trainable_variables)
assert all(np.abs(tf.convert_to_tensor(one)).max() > 0 for one in gradients)
frozen = freeze(model)
logits, _ = frozen(tf.constant(ids), frozen.initial_state(2))
np.testing.assert_allclose(logits, whole, atol=1e-5)
"""

RUN_THE_STAGE = """
import pathlib
from pipeline.__main__ import commands

for name, *options in (
    ("example_gen", "--corpus", "text.txt"), ("statistics_gen",), ("rare_characters",)
):
    commands.main([name, "--root", "root", *options], standalone_mode=False)
(written,) = pathlib.Path("root", "RareCharacters").glob("*/rare.txt")
name, count = written.read_text().splitlines()[0].split("\\t")[-2:]
assert int(count) == 1, written.read_text()
"""

CALL_THE_SIGNATURE = """
import numpy as np
import tensorflow as tf
from model import CharacterModel, ModelConfig
from model.text.code_points import TextVocabulary
from serving.generate_inputs import GENERATE_INPUTS
from serving.graph.export import WARM_UP, export
from serving.graph.input_specs import default_tensor

vocabulary = TextVocabulary.of("bytes", b"abc")
model = CharacterModel(ModelConfig(layers=2, units=8), vocabulary.size)
export(model, vocabulary, "versions/1")
signatures = tf.saved_model.load("versions/1").signatures
texts = tf.constant(["ab", "ccc", ""])
entropy = signatures["entropy"](text=texts)["entropy"].numpy()
defaults = {row.name: default_tensor(row) for row in GENERATE_INPUTS if row.name != "prompt"}
changed = {"prompt": texts, "length": tf.constant([1]), "alternatives": tf.constant([3])}
asked = signatures["generate"](**{**defaults, **changed})
log_p = asked["alternative_log_probabilities"].numpy()[:, 0]
assert entropy.shape == (3,) and log_p.shape == (3, 3)
np.testing.assert_allclose(entropy, -(np.exp(log_p) * log_p).sum(axis=1) / np.log(2), atol=1e-5)
assert b"entropy" in open("versions/1/" + WARM_UP, "rb").read()
"""


@pytest.fixture(scope="module")
def patched(tmp_path_factory):
    """Returns a function from the name of a recipe to a copy of the project with its patch."""

    def apply(name):
        folder = copy_project(tmp_path_factory.mktemp(name))
        command = ["git", "apply", "--verbose", str(RECIPES / f"{name}.patch")]
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stderr
        return folder

    return apply


def touched(name):
    """Returns the files that a patch changes or adds."""
    text = (RECIPES / f"{name}.patch").read_text()
    return re.findall(r"^\+\+\+ b/(\S+)$", text, re.MULTILINE)


def test_there_are_five_recipes_and_the_page_shows_each():
    assert NAMES == ["cell", "context", "experiment", "signature", "stage"]
    page = (PROJECT / "docs" / "extending.md").read_text()
    assert all(f'--8<-- "recipes/{name}.patch"' in page for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_touches_at_most_two_files(name):
    assert 1 <= len(touched(name)) <= MAX_FILES


@pytest.mark.parametrize("name", NAMES)
def test_what_a_recipe_adds_passes_the_linter(patched, name):
    folder = patched(name)
    files = touched(name)
    run_python("-m", "ruff", "check", *files, folder=folder)
    run_python("-m", "ruff", "format", "--check", *files, folder=folder)


@pytest.mark.slow
def test_the_cell_trains_a_step(patched):
    run_python("-c", TRAIN_A_STEP, folder=patched("cell"))


def test_the_stage_is_a_command_and_a_part_of_the_graph(patched):
    folder = patched("stage")
    (folder / "text.txt").write_text("§" + words(1, 4000))
    assert "rare_characters" in run_python("-m", "pipeline", "--help", folder=folder).stdout
    graph = run_python("-m", "pipeline", "graph", folder=folder).stdout
    assert "statistics_gen -> rare_characters" in graph
    run_python("-c", RUN_THE_STAGE, folder=folder)


@pytest.mark.slow
def test_the_context_conditions_a_model(patched):
    run_python("-c", TRAIN_WITH_THE_CONTEXT, folder=patched("context"))


@pytest.mark.slow
def test_the_signature_is_exported_and_answers(patched):
    run_python("-c", CALL_THE_SIGNATURE, folder=patched("signature"))


@pytest.mark.slow
def test_the_experiment_is_listed_and_runs(patched):
    folder = patched("experiment")
    listed = run_python("-m", "experiments", "list", folder=folder).stdout
    assert "Majority of bits" in listed
    run = ("-m", "experiments", "run", "majority", "--scale", "tiny", "--root", "root")
    finished = run_python(*run, folder=folder)
    assert "Test errors at the best depth: grid" in finished.stdout
    assert (folder / "root" / "tiny" / "majority" / "error.svg").exists()
