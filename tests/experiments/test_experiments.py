"""The experiments from the command line: results, comparisons, the page they end in, mistakes."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import run_module
from conftest import PROJECT
from servers import PATIENCE

from experiments.characters import language_models
from experiments.characters.stacked_vs_grid import MAIN, WIDE
from experiments.framework import measuring, plots, results
from experiments.framework.experiment import Inputs, Measurement, Point
from experiments.tasks import memorisation
from model.errors import InputError
from pipeline.store.artifacts import Store


def test_one_layer_is_not_tied():
    points = memorisation.EXPERIMENT.points("small", Inputs(text=None))
    nets_of_points = {(point.labels["model"], point.labels["layers"]) for point in points}
    assert {("grid, untied", 1), ("grid, tied", 2)} <= nets_of_points
    assert ("grid, tied", 1) not in nets_of_points


@pytest.mark.parametrize("extend,means", [(True, [0.5, 0.75, 0.5]), (False, [0.5, 0.75, 0.0])])
def test_curves_extend_or_leave_out_seeds_that_ended_early(extend, means):
    first = [{"seed": 0, "at": at, "share": share} for at, share in ((1, 0.5), (2, 0.5), (6, 0.0))]
    second = [{"seed": 1, "at": at, "share": share} for at, share in ((1, 0.5), (2, 1.0))]
    _, (axis,) = plots.panels(1)
    plots.curves(axis, [*first, *second], "at", "share", lambda row: "grid", extend=extend)
    assert list(axis.lines[0].get_ydata()) == means


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Results of two experiments at the smallest scale."""
    root = tmp_path_factory.mktemp("experiments")
    for name in ("parity", "memorisation"):
        finished = run_module("experiments", "run", name, "--root", root)
        assert finished.returncode == 0, finished.stderr
    return root


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_second_run_measures_nothing(root):
    before = results.read(root / "tiny" / "parity")
    finished = run_module("experiments", "run", "parity", "--root", root, "--jobs", 1)
    assert finished.returncode == 0
    after = results.read(root / "tiny" / "parity")
    assert after.tables == before.tables and after.seconds == before.seconds


@pytest.mark.slow
def test_a_point_is_measured_with_another_seed(root):
    before = (root / "tiny" / "parity" / "results.json").read_bytes()
    finished = run_module(
        *("experiments", "point", "parity", "model=relu, tied", "bits=4", "--seed", 7),
        *("--jobs", 1, "--root", root),
    )
    assert finished.returncode == 0, finished.stderr
    *progress, header, row = finished.stdout.splitlines()
    assert all(re.match(r"\S.* \d+% ", line) for line in progress)
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


@pytest.mark.slow
def test_models_are_compared_on_equal_terms(compared):
    grid, stacked = (
        next(r for r in compared["models"] if (r["comparison"], r["model"]) == (MAIN, kind))
        for kind in ("grid", "stacked")
    )
    wide = next(row for row in compared["models"] if row["comparison"] == WIDE)
    assert grid["characters"] == stacked["characters"] == wide["characters"] == 45 * 8 * 16
    assert grid["units"] == stacked["units"] < wide["units"]
    # Widths are chosen for a corpus of more characters, of which an embedding has more rows.
    assert abs(wide["parameters"] / grid["parameters"] - 1) < 0.15
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


@pytest.mark.slow
def test_losses_by_class_are_means_over_the_characters_of_a_class(base_path):
    export = language_models.Export.load(str(base_path / "1"))
    text = (b"abc a\n b" * 1000)[: 5 * language_models.PIECE]
    rows = {row["class"]: row for row in language_models.losses_by_class(export, text, 3)}
    assert set(rows) == {"lower case", "space", "line feed"}
    pieces = export.pieces(text, 3)
    expected = [
        -score
        for piece, row in zip(pieces, export.score(pieces), strict=True)
        for letter, score in list(zip(piece, row, strict=True))[language_models.WARM_UP :]
        if chr(letter) in " \t"
    ]
    assert rows["space"]["count"] == len(expected)
    assert rows["space"]["loss"] == pytest.approx(np.mean(expected), abs=1e-4)


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_report_is_markdown_too(root):
    folder = root / "tiny"
    lines = (folder / "report.md").read_text().splitlines()
    pictures = [re.fullmatch(r"!\[\]\((.*)\)", line) for line in lines if line[:1] == "!"]
    assert len(pictures) == 4 and all((folder / found[1]).exists() for found in pictures)
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) == 2 * 2 + 7 + 3, "two heads, parity's seven models, memorisation's three"
    assert all(line.endswith("|") for line in tables)


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "status"), [("SIGKILL", -9), ("SIGTERM", 143)])
def test_measurements_that_are_ended_leave_no_process_behind(tmp_path, sent, status):
    command = [sys.executable, "-m", "experiments", "run", "parity", "--jobs", "2"]
    process = subprocess.Popen(
        [*command, "--root", tmp_path], cwd=PROJECT, stderr=subprocess.PIPE, text=True
    )

    def workers():
        found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
        return found.stdout.split()

    deadline = time.monotonic() + PATIENCE
    while not list(tmp_path.glob("artifacts/.partial/Fitting-*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    children = workers()
    process.send_signal(signal.Signals[sent])
    errors = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == status
    assert "Traceback" not in errors
    assert ("terminated; the same command resumes from here" in errors) == (sent == "SIGTERM")
    assert len(children) >= 2
    while any(os.path.exists(f"/proc/{child}") for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def measure_process(_):
    return Measurement({"processes": [{"process": os.getpid()}]}, 0.0)


@pytest.mark.slow
def test_processes_that_have_grown_large_are_replaced(tmp_path, monkeypatch):
    points, store = [Point({}, measure_process)] * 3, Store(str(tmp_path))
    seen = []
    with measuring.Workers(2) as workers:
        for large in (1 << 50, 1 << 50, 0):
            monkeypatch.setattr(measuring, "MAX_WORKER_BYTES", large)
            tables, _ = measuring.measure_points(points, store, workers, "processes")
            seen.append({row["process"] for row in tables["processes"]})
    first, second, third = seen
    assert os.getpid() not in first | second | third
    assert len(first | second) <= 2 and not third & (first | second)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["run", "paritty"], "there is no experiment paritty; did you mean parity?"),
        (["run", "all", "paritty"], "there is no experiment paritty; did you mean parity?"),
        (["run", "parity", "memorization"], "memorization; did you mean memorisation?"),
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


@pytest.mark.slow
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
