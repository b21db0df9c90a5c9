"""The benchmarks run, and what they compare is the same network."""

import json
import re
import subprocess
import sys

import pytest
from commands import run_module
from conftest import PROJECT, words

from benchmarks import serving

TINY = ["--layers", "2", "--units", "16", "--batch", "4", "--window", "6"]


def run(module, *arguments):
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)


@pytest.mark.parametrize(
    "arguments,phrase",
    [
        (["data", "--largest", "1000"], "'--largest'"),
        (["data", "--scratch", "/no/such"], "/no/such"),
        (["serving", "--clients", "1,many"], "'many' is not a valid integer"),
    ],
)
def test_mistakes_end_in_one_line(arguments, phrase):
    done = run(*arguments)
    assert done.returncode == 2
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert phrase in said
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("model,peer", [("grid", "TensorFlow"), ("stacked", "keras")])
def test_train_step_compares_the_same_network(model, peer):
    done = run(
        "train_step", "--model", model, *TINY, "--steps", "2", "--turn", "0.1", "--only", peer,
        "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["contenders"]
    assert any(peer in row["name"] for row in rows)
    assert rows[0]["name"] == "this project"
    for row in rows:
        assert row["loss"] == pytest.approx(rows[0]["loss"], rel=0.01)
        assert row["characters_per_second"] > 0
        assert row["steps"] >= 3


@pytest.mark.slow
def test_cells_are_compared_per_multiplication():
    done = run("cells", *TINY, "--rounds", "2", "--grids")
    assert done.returncode == 0, done.stderr
    rows = [re.split(r"\s*│\s*", line.strip("│ ")) for line in done.stdout.splitlines()]
    shares = {row[0]: row[3] for row in rows if len(row) == 5}
    assert shares["stacked lstm"] == "1.00" and shares["stacked lstm_coupled_gates"] == "0.75"
    assert shares["grid lstm"] == "2.00" and shares["grid gru"] == "1.50"
    assert shares["rhn"] == "0.38", "2 micro-layers of 2 matrices, and 2 matrices of inputs"


@pytest.mark.slow
def test_the_step_can_be_had_as_stablehlo(tmp_path):
    done = run("pjrt", "export", str(tmp_path), *TINY)
    assert done.returncode == 0, done.stderr
    assert "stablehlo.while" in (tmp_path / "step.mlir").read_text()
    jax = pytest.importorskip("jax", reason="JAX comes with benchmarks/requirements.txt")
    timed = json.loads(run("pjrt", "time", str(tmp_path), "--steps", "5").stdout)
    assert timed["device"] == jax.devices()[0].device_kind
    assert timed["losses"][1] < timed["losses"][0]


@pytest.mark.slow
@pytest.mark.parametrize("cell,backward", [("tanh", False), ("lstm", True)])
def test_a_deep_grid_can_be_had_as_stablehlo(tmp_path, cell, backward):
    size = ["--extent", "3", "--depth", "2", "--units", "4", "--batch", "2", "--cell", cell]
    done = run("pjrt", "export-grid", str(tmp_path), *size, *["--backward"] * backward)
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "grid.json").read_text())
    gates = {"tanh": 1, "lstm": 4}[cell]
    assert about["flops"] == 2 * 9 * gates * 4**2 * (3 * 3 * 2 * 2) * (3 if backward else 1)
    pytest.importorskip("jax", reason="JAX comes with benchmarks/requirements.txt")
    timed = json.loads(run("pjrt", "time", str(tmp_path), "--steps", "2").stdout)
    assert timed["largest"] > 0 and timed["gflops"] > 0


def test_nothing_is_timed_that_was_not_exported(tmp_path):
    done = run("pjrt", "time", str(tmp_path))
    assert done.returncode == 2 and "run `export` first" in done.stderr


@pytest.mark.slow
def test_learning_curves_are_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib comes with benchmarks/requirements.txt")
    corpus, output = tmp_path / "corpus.txt", tmp_path / "plots" / "curves.svg"
    corpus.write_text(words(2, 50_000))
    done = run("learning_curves", str(corpus), "--steps", "20", "--output", str(output))
    assert done.returncode == 0, done.stderr
    assert output.read_text().endswith("</svg>\n")


@pytest.mark.slow
def test_serving_measures_a_server_under_load(tmp_path):
    output = tmp_path / "serving.json"
    finished = run_module(
        "benchmarks.serving", "--layers", 1, "--units", 16, "--clients", "1,3", "--pieces", 4,
        "--arrivals", 20, "--seconds", 1, "--rounds", 1, "--no_torch", "--output", output,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    found = json.loads(output.read_text())
    assert {row["batch"] for row in found["in_process"]} == {1, 64}
    loads = [(row["clients"], row["arrivals"], row["over_gateway"]) for row in found["loads"]]
    assert loads == [
        (1, 0, False),
        (3, 0, False),
        (1, 0, True),
        (3, 0, True),
        (256, 20, False),
    ]
    for row in found["loads"]:
        assert min(row["characters_per_second"]) > 0 and row["failures"] == 0
        assert row["latency_ms"]["p50"] <= row["latency_ms"]["p99"]
    assert "1 text: gRPC, pieces of 4 / generate, pieces of 4" in found["ratios"]


def test_what_is_served_is_compared_round_by_round():
    speeds = {
        ("sampling.generate", 1): [100, 100],
        ("generate, pieces of 16", 1): [70, 90],
        ("generate, pieces of 64", 1): [80, 100],
        ("XLA", 1): [160, 150],
        ("PyTorch float32", 1): [50, 50],
        ("PyTorch bfloat16", 1): [40, 80],
        **{(who, 64): [10, 10] for who in ("sampling.generate", "generate, pieces of 16")},
    }
    common = {"clients": 1, "arrivals": 0.0, "over_gateway": False}
    loads = [
        {**common, "piece": 64, "characters_per_second": [40, 75]},
        {**common, "piece": 16, "characters_per_second": [40, 75]},
        {**common, "piece": 16, "over_gateway": True, "characters_per_second": [20, 75]},
        {**common, "piece": 16, "arrivals": 3.0, "characters_per_second": [1, 1]},
    ]
    assert serving.ratios(speeds, loads) == {
        "1 text: generate, pieces of 64 / sampling.generate": [0.8, 1.0],
        "1 text: XLA / generate, pieces of 64": [2.0, 1.5],
        "1 text: generate, pieces of 64 / PyTorch bfloat16": [2.0, 1.25],
        "1 text: gRPC, pieces of 64 / generate, pieces of 64": [0.5, 0.75],
        "1 text: gRPC, pieces of 16 / generate, pieces of 16": [40 / 70, 75 / 90],
        "1 text: gateway / gRPC, pieces of 16": [0.5, 1.0],
        "64 texts: generate, pieces of 16 / sampling.generate": [1.0, 1.0],
    }


@pytest.mark.slow
def test_endurance_counts_what_fails_and_what_memory_grows(tmp_path):
    output = tmp_path / "endurance.json"
    finished = run_module(
        "benchmarks.endurance", "--layers", 1, "--units", 16, "--clients", 2, "--requests", 300,
        "--kills", 1, "--minutes", 0.1, "--hostile_minutes", 0.2, "--seconds", 2,
        "--output", output,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    found = json.loads(output.read_text())
    assert found["rolling_versions"]["requests"] >= 300
    assert found["kills"]["longest_outage_s"] > 1
    assert all(found[part]["failed_requests"] == 0 for part in ("rolling_versions", "kills"))
    assert found["full_load"]["memory_mib"][0] > 100
    hostile = found["hostile_clients"]
    assert hostile["failed_honest_requests"] == hostile["restarts"] == 0
    assert hostile["honest_requests"] > 0 and hostile["status_calls"] > 0


@pytest.mark.slow
def test_the_data_stages_are_compared_with_a_bare_loop(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib comes with benchmarks/requirements.txt")
    done = run("data", "--largest", "1e6", "--rounds", "1", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "data.json").read_text())
    (size,) = found["sizes"]
    assert size["characters"] == 10**6 and size["bare"]["seconds"] > 0
    assert 50 < size["stages"]["memory"] < 600
    bare = size["characters"] / size["bare"]["seconds"]
    assert all(row["characters_per_second"] > bare / 500 for row in found["windows"])
    assert (tmp_path / "data.svg").read_text().endswith("</svg>\n")
