"""Shared by all tests: small corpora, and examples made from them by the real stages."""

from model import errors  # noqa: F401 # isort: skip  before TensorFlow, which reads what it sets

import contextlib
import os
import pathlib
import random
import shutil

import commands
import fasteners
import numpy as np
import pytest
import servers
import tensorflow as tf
from playwright.sync_api import sync_playwright

from model.decoding.packed_kernels import has_integer_products
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.text.code_points import TextVocabulary
from pipeline.corpora import corpus
from pipeline.data.records import Record, shard_paths
from pipeline.settings import DataConfig
from pipeline.stages import example_gen, schema_gen, statistics_gen
from pipeline.store.artifacts import Store
from serving.graph.export import export

pytest_plugins = ("seeds", "gateways", "time_limit")

PROJECT = commands.PROJECT
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WORDS = ("the", "grid", "lstm", "reads", "one", "letter", "after", "another", "and", "writes")


# Two logical CPUs stand for two devices; they must be made before the first is used.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

needs_integer_products = pytest.mark.skipif(
    not has_integer_products(), reason="the processor has no VNNI"
)


def words(seed, characters):
    """Random words in lines, as many characters as asked for."""
    generator = random.Random(seed)
    text = ""
    while len(text) < characters:
        text += " ".join(generator.choices(WORDS, k=generator.randint(1, 12))) + "\n"
    return text[:characters]


@pytest.fixture(scope="session")
def corpus_file(tmp_path_factory):
    """A corpus of 40,000 characters."""
    path = tmp_path_factory.mktemp("corpus") / "words.txt"
    path.write_text(words(1, 40_000))
    return path


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A pipeline root that the tests share for artifacts that nobody changes."""
    return Store(str(tmp_path_factory.mktemp("root")))


@pytest.fixture
def private_store(tmp_path):
    """A pipeline root of one test, locked for writing."""
    store = Store(str(tmp_path / "root"))
    with store.writing():
        yield store


@pytest.fixture(scope="session")
def examples(store, corpus_file):
    """The corpus in three shards, 90 to 10."""
    with store.writing():
        return example_gen.run(
            store, corpus.resolve(str(corpus_file)), DataConfig(train_fraction=0.9, shards=3)
        )


@pytest.fixture(scope="session")
def schema(store, examples):
    """The schema of the corpus."""
    with store.writing():
        return schema_gen.run(store, statistics_gen.run(store, examples))


@pytest.fixture(scope="module")
def browser():
    """A browser that is installed, without a window."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip("no browser; Debian has one as chromium")
    with sync_playwright() as playwright:
        # A microphone that beeps, which a page may use without asking.
        microphone = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        arguments = ["--no-sandbox", *microphone]
        yield playwright.chromium.launch(executable_path=found, args=arguments)


def records_of(artifact, split):
    """The records of a split, read by TensorFlow."""
    paths = shard_paths(artifact.path, split)
    return [Record.parse(r) for r in tf.data.TFRecordDataset(paths).as_numpy_iterator()]


def text_of(artifact, split):
    """The text of a split."""
    return b"".join(record.text for record in records_of(artifact, split))


def contents(root):
    """Every file that is visible, but for the manifests, which say when and how long."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".partial" not in path.parts and path.name != "manifest.json"
    }


def write_folder(folder, sizes, letter="a"):
    """A folder of files of these sizes, none of whose lines are equal."""
    folder.mkdir()
    for number, size in enumerate(sizes):
        content = "".join(f"{letter}{number}:{word}ß" for word in range(size // 6 + 1))
        (folder / f"{letter}{number:02d}.txt").write_bytes(content.encode()[:size])
    return folder


LETTERS = "abc é\n"


@pytest.fixture(scope="module")
def character_unit():
    """What a character is; where it matters a test module has both."""
    return "bytes"


@pytest.fixture(scope="module")
def vocabulary(character_unit):
    """A few letters, one of which is two bytes."""
    return TextVocabulary.of(
        character_unit, LETTERS.encode() if character_unit == "bytes" else map(ord, LETTERS)
    )


@pytest.fixture(scope="module")
def model(vocabulary):
    """A small model that has learnt nothing."""
    tf.keras.utils.set_random_seed(1)
    return CharacterModel(ModelConfig(layers=2, units=12), vocabulary.size)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A folder that the workers of pytest-xdist share; what is made in it once needs a lock."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    shared = folder / "shared"
    shared.mkdir(exist_ok=True)
    return shared


@pytest.fixture(scope="module")
def base_path(model, vocabulary, character_unit, shared_folder):
    """The model as version 1, exported once for all tests."""
    if servers.base_path():
        return servers.base_path()
    path = shared_folder / character_unit
    with fasteners.InterProcessLock(f"{path}.lock"):
        if not (path / "1").exists():
            export(model, vocabulary, str(path / "1"))
    return path


@pytest.fixture(scope="session")
def running_servers():
    """The servers that test modules share, by base path; they end well when they are told to."""
    with contextlib.ExitStack() as stack:
        running = {}
        yield stack, running
        for each in running.values():
            servers.end(each.process)


@pytest.fixture(scope="module")
def server(base_path, running_servers):
    """The model behind a server, which other test modules use as well."""
    if servers.is_elsewhere():
        found = servers.elsewhere()
        servers.wait_until(lambda: servers.AVAILABLE in servers.states(found.channel).values())
        return found
    stack, running = running_servers
    if base_path not in running:
        started = servers.running(*servers.of(base_path), fresh=True)
        running[base_path] = stack.enter_context(started)
    return running[base_path]


def inputs(prompts, length=8, temperature=1.0, top_k=0, top_p=1.0, seed=7, alternatives=0):
    """Inputs of `generate`, row by row."""
    rows = len(prompts)
    return {
        "prompt": np.array([prompt.encode() for prompt in prompts], object),
        "length": np.full(rows, length, np.int32),
        "temperature": np.full(rows, temperature, np.float32),
        "top_k": np.full(rows, top_k, np.int32),
        "top_p": np.full(rows, top_p, np.float32),
        "seed": np.full(rows, seed, np.int64),
        "alternatives": np.full(rows, alternatives, np.int32),
    }


def pytest_addoption(parser):
    """Which server is tested, and whether Flink is."""
    parser.addoption("--server", default=servers.EMBEDDED, help=servers.__doc__)
    parser.addoption("--flink", type=pathlib.Path, help="Where `make test-flink` installs Flink.")
    parser.addoption("--server_base_path", help="Where the server at host:port has its model.")


def pytest_configure(config):
    """Passes that on."""
    servers.configure(config.getoption("--server"), config.getoption("--server_base_path"))


def pytest_collection_modifyitems(items):
    """The longest files go first, so that the workers end together; each file stays in order."""
    longest = (
        "readme", "pipeline", "training", "benchmarks", "export", "grid", "experiments", "layers",
        "workers", "versions",
    )  # fmt: skip
    names = [f"test_{name}.py" for name in longest]
    items.sort(key=lambda item: [*names, item.path.name].index(item.path.name))
