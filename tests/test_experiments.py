"""The experiments: their tasks, nets and fits, a run that is killed, and the page they end in."""

import csv
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import PROJECT, run_module
from sklearn.datasets import load_digits

from experiments import characters, fitting, memorisation, nets, results
from experiments.algorithmic_tasks import Addition, Memorisation, Parity
from experiments.experiment import Inputs
from experiments.finite_tasks import Authors, DigitImages
from experiments.fitting import FitConfig
from experiments.nets import Net
from experiments.stacked_vs_grid import MAIN, WIDE
from experiments.task import UNCOUNTED
from model.errors import InputError
from pipeline.artifacts import Store

FIT = FitConfig(examples=6400, test_every=1600, batch_size=32, learning_rate=0.01)


def drawn(task, size=200):
    """Examples of a task that nobody has seen before, as arrays."""
    seed = tf.constant(np.random.default_rng().integers(0, 2**31 - 2, 2), tf.int32)
    return [part.numpy() for part in task.draw(seed, size)]


def symbols(inputs):
    """The symbols of one-hot rows."""
    assert set(np.unique(inputs)) <= {0, 1} and (inputs.sum(-1) == 1).all()
    return inputs.argmax(-1)


def test_parity_is_that_of_the_ones():
    inputs, labels = drawn(Parity(7))
    assert inputs.shape == (200, 7) and set(np.unique(inputs)) == {-1, 1}
    for bits, label in zip(inputs, labels, strict=True):
        assert label == sum(bit == 1 for bit in bits) % 2


@pytest.mark.parametrize("digits", [1, 3, 15])
def test_sums_are_written_after_their_terms(digits):
    inputs, labels = drawn(Addition(digits))
    lengths = set()
    for row, said in zip(symbols(inputs), labels, strict=True):
        text = "".join("0123456789-"[symbol] for symbol in row)
        blank, first, second, rest = text[0], *text[1:].split("-", 2)
        assert blank == "-" and len(first) == len(second) == digits and set(rest) == {"-"}
        answer = "".join(" " if s == UNCOUNTED else "0123456789-"[s] for s in said)
        expected = str(int(first) + int(second)) + "-"
        before = 2 * digits + 2
        assert answer[:before] == " " * before
        assert answer[before:].rstrip("-") == expected.rstrip("-")
        assert answer[before : before + len(expected)] == expected
        lengths.add(len(expected))
    assert len(lengths) == 2, "sums with and without a carry beyond the first digit"


def test_sequences_are_repeated_after_their_end():
    inputs, labels = drawn(Memorisation(5, symbols=9))
    for row, said in zip(symbols(inputs), labels, strict=True):
        sequence = row[1:6]
        assert row[0] == 9 and (row[6:] == 9).all() and (sequence < 9).all()
        assert (said[:6] == UNCOUNTED).all()
        assert list(said[6:]) == [*sequence, 9]


@pytest.mark.parametrize("task", [Parity(64), Addition(15), Memorisation(20)], ids=str)
def test_held_out_examples_are_new_to_every_training(task):
    def rows(examples):
        return {row.tobytes() for row in examples.inputs.numpy()}

    held_out = rows(task.held_out())
    assert held_out == rows(task.held_out()) and len(held_out) == 1000
    for step in range(20):
        assert not held_out & rows(task.draw(tf.constant([0, step]), 64))


def test_patches_are_squares_of_the_image():
    images, labels = load_digits(return_X_y=True)
    given, said = DigitImages("digits", 2).held_out()
    assert len(given) == 359 and (said.numpy() == labels[4::5]).all()
    number = int(np.random.default_rng().integers(359))
    image = images[4::5][number].reshape(8, 8) / 16
    for row, column in np.ndindex(4, 4):
        square = image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_array_equal(given[number, row, column], square.ravel())


def test_lines_are_of_one_project_and_either_trained_on_or_tested():
    task = Authors(length=40, lines=300)
    parts = [
        [("".join(map(chr, row)).lstrip(), label) for row, label in zip(*examples, strict=True)]
        for examples in task.arrays()
    ]
    trained, tested = map(set, parts)
    assert not {line for line, _ in trained} & {line for line, _ in tested}
    assert len(tested) > 100 and {label for _, label in tested} == set(range(task.classes))
    for project in range(task.classes):
        assert 0.8 * 300 < sum(label == project for _, label in parts[0] + parts[1]) <= 300
    line, label = parts[1][int(np.random.default_rng().integers(len(parts[1])))]
    folder = pathlib.Path(sysconfig.get_path("purelib"), task.projects[label])
    assert any(line in path.read_text(errors="replace") for path in folder.rglob("*.py"))
    inputs, _ = task.held_out()
    assert inputs.shape[1:] == (40, 95)
    codes = symbols(inputs.numpy()) + 32
    np.testing.assert_array_equal(codes, task.arrays()[1].inputs)


def test_examples_to_train_on_come_back_and_others_do_not():
    task = DigitImages("digits", 4)
    tested = {row.tobytes() for row in task.held_out().inputs.numpy()}
    inputs, labels = drawn(task, 3000)
    seen = {row.tobytes() for row in inputs}
    assert not seen & tested and 1000 < len(seen) < 1439
    assert set(labels) == set(range(10))


def highway(inputs, weights, layers):
    """A highway net in float64, by its formula."""
    project, start, *blocks, out, end = [np.asarray(w, np.float64) for w in weights]
    hidden = inputs @ project + start
    for layer in range(layers):
        kernel, bias = blocks[2 * layer % len(blocks) :][:2]
        transform, candidate = np.split(hidden @ kernel + bias, 2, axis=-1)
        transform = 1 / (1 + np.exp(-transform))
        hidden = transform * np.tanh(candidate) + (1 - transform) * hidden
    return hidden @ out + end


def plain(inputs, weights, layers, activation):
    """A feed-forward net in float64, by its formula."""
    project, start, kernel, bias, out, end = [np.asarray(w, np.float64) for w in weights]
    hidden = inputs @ project + start
    for layer in range(layers):
        hidden = activation(hidden @ kernel[layer % len(kernel)] + bias[layer % len(bias)])
    return hidden @ out + end


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["highway", "tanh", "relu"])
def test_feed_forward_nets_compute_their_formulas(kind, tied):
    task = Parity(6)
    model = nets.build(Net(kind, 3, 8, tied, input_signs=0.5), task, 16)
    inputs, _ = drawn(task)
    weights = [weight.numpy() for weight in model.weights]
    assert set(np.abs(weights[0]).ravel()) == {0.5}
    if kind == "highway":
        expected = highway(inputs, weights, 3)
    else:
        relu = {"relu": lambda x: np.maximum(x, 0)}
        expected = plain(inputs, weights, 3, relu.get(kind, np.tanh))
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-4, atol=1e-5)
    wider = nets.build(Net(kind, 6, 8, tied), task, 16).count_params()
    assert (wider == model.count_params()) == tied, "only tied layers cost nothing"


def test_a_stacked_net_is_keras_lstms():
    task = Memorisation(3, symbols=5)
    model = nets.build(Net("stacked", 2, 8), task, 16)
    inputs, _ = drawn(task, 16)
    project, start, kernel, bias, out, end = [weight.numpy() for weight in model.weights]
    hidden = inputs @ project + start
    order = [0, 1, 3, 2]  # ours are i, f, o, g and Keras's i, f, g, o
    for layer in range(2):
        lstm = keras.layers.LSTM(8, return_sequences=True)
        lstm.build(hidden.shape)
        parts = np.split(kernel[layer], 4, axis=1), np.split(bias[layer], 4)
        ours, ours_bias = (np.concatenate([p[i] for i in order], axis=-1) for p in parts)
        lstm.set_weights([ours[:8], ours[8:], ours_bias])
        hidden = lstm(hidden)
    np.testing.assert_allclose(model(inputs), hidden @ out + end, rtol=1e-4, atol=1e-5)


def test_a_grid_of_three_dimensions_reads_its_last_cell():
    task = DigitImages("digits", 4)
    model = nets.build(Net("grid", 2, 8), task, 4)
    inputs = task.held_out().inputs[:4]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(model(inputs, training=True) ** 2)
    gradient = tape.gradient(loss, inputs).numpy()
    assert model(inputs).shape == (4, 10)
    assert (np.abs(gradient).max(axis=-1) > 0).all(), "it has seen every patch"


@pytest.mark.parametrize("kind,dimensions", [("grid", 2), ("stacked", 1)])
def test_forget_gates_begin_as_open_as_asked(kind, dimensions):
    model = nets.build(Net(kind, 3, 8, forget_bias=4.0), Memorisation(3, symbols=5), 16)
    found = sum((weight.numpy() == 4).sum() for weight in model.weights)
    assert found == 3 * dimensions * 8


def test_one_layer_is_not_tied():
    points = memorisation.EXPERIMENT.points("small", Inputs(text=None))
    nets_of_points = {(point.labels["model"], point.labels["layers"]) for point in points}
    assert {("grid, untied", 1), ("grid, tied", 2)} <= nets_of_points
    assert ("grid, tied", 1) not in nets_of_points


def test_the_learning_rate_falls_at_the_end():
    rate = fitting.Cooldown(0.1, steps=100, cooldown=40)
    np.testing.assert_allclose([rate(s) for s in (0, 60, 80, 100)], [0.1, 0.1, 0.05, 0], rtol=1e-6)


def test_a_share_is_of_examples_and_of_labels():
    labels = tf.constant([[1, 0, UNCOUNTED], [2, 2, 1]])
    logits = tf.one_hot([[1, 0, 2], [2, 1, 1]], 3)
    for metric, share in ((fitting.ExamplesRight(), 1 / 2), (fitting.LabelsRight(), 4 / 5)):
        metric.update_state(labels, logits)
        assert float(metric.result()) == pytest.approx(share)


def test_a_fit_learns_and_then_stops(tmp_path):
    store = Store(str(tmp_path))
    with store.writing():
        net = Net("grid", 2, 32, input_signs=2.0)
        config = FitConfig(examples=64_000, test_every=1600, batch_size=32, learning_rate=0.005)
        measured = fitting.measure(store, Parity(4), net, config)
    logged = b"".join(path.read_bytes() for path in tmp_path.glob("Fitting/*/logs/*tfevents*"))
    assert all(name in logged for name in (b"Parity", b"bits", b"input_signs", b"learning_rate"))
    last = measured.tables["nets"][0]
    assert last["exact"] >= fitting.LEARNED and last["examples"] < config.examples
    assert not fitting.has_failed(measured.tables)
    assert [row["exact"] < fitting.LEARNED for row in measured.tables["tests"][:-1]] == [True] * (
        len(measured.tables["tests"]) - 1
    )


def test_a_fit_that_was_killed_goes_on_to_the_same_weights(tmp_path):
    program = """
import sys
from experiments import fitting
from experiments.algorithmic_tasks import Memorisation
from experiments.nets import Net
from pipeline.artifacts import Store

config = fitting.FitConfig(6400, 640, batch_size=32, learning_rate=0.01, cooldown=0.5, seed=3)
store = Store(sys.argv[1])
with store.writing():
    fitting.run(store, Memorisation(4, 8), Net("grid", 2, 16, True), config)
"""

    def start(root):
        command = [sys.executable, "-c", program, str(root)]
        return subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL)

    def tests(root):
        with open(next(root.glob("Fitting/*/history.csv")), newline="") as file:
            rows = list(csv.DictReader(file))
        return {row["examples"]: (row["loss"], row["training_loss"]) for row in rows}

    straight, killed = tmp_path / "straight", tmp_path / "killed"
    assert start(straight).wait(200) == 0
    for rows in (2, 5):
        process = start(killed)
        deadline = time.monotonic() + 100
        while True:
            found = list(killed.glob(".partial/Fitting-*/history.csv"))
            if found and len(found[0].read_text().splitlines()) > rows:
                break
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert start(killed).wait(200) == 0
    assert tests(killed) == tests(straight) and len(tests(killed)) == 10


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Results of two experiments at the smallest scale."""
    root = tmp_path_factory.mktemp("experiments")
    for name in ("parity", "memorisation"):
        finished = run_module("experiments", "run", name, "--root", root)
        assert finished.returncode == 0, finished.stderr
    return root


def test_results_are_tidy(root):
    folder = root / "tiny" / "parity"
    found = results.read(folder)
    with open(folder / "tests.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.tables["tests"]) > 7
    assert {row["model"] for row in rows} >= {"grid, tied", "tanh, untied", "highway"}
    for row, same in zip(rows, found.tables["tests"], strict=True):
        assert row == {column: str(value) for column, value in same.items()}
    assert found.seconds > 0 and found.commit and found.machine
    for name in ("longest", "examples"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (folder / f"{name}.svg").read_text()


def test_a_second_run_measures_nothing(root):
    before = results.read(root / "tiny" / "parity")
    began = time.monotonic()
    finished = run_module("experiments", "run", "parity", "--root", root, "--jobs", 1)
    assert finished.returncode == 0
    after = results.read(root / "tiny" / "parity")
    assert after.tables == before.tables and after.seconds == before.seconds
    assert time.monotonic() - began < 60


def test_a_point_is_measured_with_another_seed(root):
    before = (root / "tiny" / "parity" / "results.json").read_bytes()
    finished = run_module(
        *("experiments", "point", "parity", "model=relu, tied", "bits=4", "--seed", 7),
        *("--jobs", 1, "--root", root),
    )
    assert finished.returncode == 0, finished.stderr
    header, row = finished.stdout.splitlines()
    assert header.split()[:4] == ["model", "layers", "bits", "seed"]
    assert row.split()[:5] == ["relu,", "tied", "2", "4", "7"]
    assert (root / "tiny" / "parity" / "results.json").read_bytes() == before


@pytest.fixture(scope="module")
def compared(tmp_path_factory, corpus_file):
    """What stacked-vs-grid measures at the smallest scale, on a small text."""
    root = tmp_path_factory.mktemp("compared")
    options = ("--corpus", corpus_file, "--root", root)
    finished = run_module("experiments", "run", "stacked-vs-grid", *options)
    assert finished.returncode == 0, finished.stderr
    assert "than the best stacked model" in finished.stdout
    return results.read(root / "tiny" / "stacked-vs-grid").tables


def test_models_are_compared_on_equal_terms(compared):
    grid, stacked = (
        next(r for r in compared["models"] if (r["comparison"], r["model"]) == (MAIN, kind))
        for kind in ("grid", "stacked")
    )
    wide = next(row for row in compared["models"] if row["comparison"] == WIDE)
    assert grid["characters"] == stacked["characters"] == wide["characters"] == 45 * 8 * 16
    assert grid["units"] == stacked["units"] < wide["units"]
    assert abs(wide["parameters"] / grid["parameters"] - 1) < 0.1
    assert stacked["parameters"] < 0.85 * grid["parameters"]
    for row in (grid, stacked, wide):
        curve = [
            one["loss"]
            for one in compared["curves"]
            if (one["model"], one["units"], one["comparison"])
            == (row["model"], row["units"], row["comparison"])
        ]
        assert len(curve) == 3 and min(curve) == row["loss"]
    assert {row["layer"] for row in compared["gradients"] if row["layers"] == 3} == {1, 2, 3}


def test_losses_by_class_are_those_of_the_characters(base_path):
    export = characters.Export.load(str(base_path / "1"))
    text = (b"abc a\n b" * 1000)[: 5 * characters.PIECE]
    rows = {row["class"]: row for row in characters.losses_by_class(export, text, 3)}
    assert set(rows) == {"lower case", "space", "line feed"}
    pieces = export.pieces(text, 3)
    expected = [
        -score
        for piece, row in zip(pieces, export.score(pieces), strict=True)
        for letter, score in list(zip(piece, row, strict=True))[characters.WARM :]
        if chr(letter) in " \t"
    ]
    assert rows["space"]["count"] == len(expected)
    assert rows["space"]["loss"] == pytest.approx(np.mean(expected), abs=1e-4)


def test_the_report_opens_offline(root, browser):
    page = browser.new_page()
    problems = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: request.url.startswith("file") or problems.append(request))
    page.goto((root / "tiny" / "report.html").as_uri())
    assert page.locator("section").count() == 2
    assert page.locator("section svg").count() == 4
    finding = page.locator("#parity .finding").inner_text()
    assert "bits (the paper's: 250)" in finding
    assert page.locator("#memorisation tr").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert not problems


def test_the_report_is_markdown_too(root):
    folder = root / "tiny"
    lines = (folder / "report.md").read_text().splitlines()
    pictures = [re.fullmatch(r"!\[\]\((.*)\)", line) for line in lines if line[:1] == "!"]
    assert len(pictures) == 4 and all((folder / found[1]).exists() for found in pictures)
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) == 2 * 2 + 7 + 3, "two heads, parity's seven models, memorisation's three"
    assert all(line.endswith("|") for line in tables)


def test_killed_measurements_leave_no_process_behind(tmp_path):
    command = [sys.executable, "-m", "experiments", "run", "parity", "--jobs", "2"]
    process = subprocess.Popen(
        [*command, "--root", tmp_path], cwd=PROJECT, stderr=subprocess.DEVNULL, text=True
    )

    def workers():
        found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
        return found.stdout.split()

    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("artifacts/.partial/Fitting-*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    children = workers()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(children) >= 2
    while any(os.path.exists(f"/proc/{child}") for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["run", "paritty"], "there is no experiment paritty; did you mean parity?"),
        (["point", "parity", "bits=3"], "no point is labelled bits=3; there are model="),
        (["run", "parity", "--scale", "huge"], "'huge' is not one of 'tiny', 'small', 'full'"),
        (["run", "parity", "--corpus", "no-such-text"], "no-such-text"),
        (["report", "--scale", "full"], "holds no results; run `python -m experiments run all"),
    ],
)
def test_mistakes_end_in_one_line(tmp_path, arguments, problem):
    finished = run_module("experiments", *arguments, "--root", tmp_path)
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: ") and problem in line


def test_a_root_in_use_is_refused(tmp_path):
    store = Store(str(tmp_path / "artifacts"))
    with store.writing():
        finished = run_module("experiments", "run", "parity", "--root", tmp_path)
    assert finished.returncode == 2
    assert "another run is writing" in finished.stderr


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"format": 99}, "is of another version"), (None, "is damaged"), ({"extra": 1}, "is damaged")],
)
def test_results_that_cannot_be_read_are_named(root, tmp_path, change, problem):
    folder = tmp_path / "tiny" / "parity"
    shutil.copytree(root / "tiny" / "parity", folder)
    path = folder / "results.json"
    content = json.loads(path.read_text())
    path.write_text("{" if change is None else json.dumps({**content, **change}))
    with pytest.raises(InputError, match=f"{problem}.*run `python -m experiments run parity"):
        results.read(folder)
    finished = run_module("experiments", "report", "--root", tmp_path)
    assert finished.returncode == 2 and problem in finished.stderr
