"""Which execution is chosen, and what `explain` says of it."""

import json
import os
import platform
import subprocess
import sys

import pytest
from tensorflow.python.util import _pywrap_util_port

from model.execution import planner
from model.execution.planner import Variant, choose, measurements


@pytest.mark.parametrize("row", measurements(), ids=str)
def test_auto_is_the_fastest_that_was_measured(row):
    plan = choose(
        row.units,
        row.layers,
        row.batch,
        device="cpu",
        processor=row.instruction_set,
        architecture=row.architecture,
    )
    compilation = plan.compilation
    sharded = compilation.batch_shards > 1
    picked = Variant(dtype=plan.dtype, jit=compilation.jit, sharded=sharded)
    if picked in row.speeds:
        assert row.speeds[picked] == max(row.speeds.values())
    else:
        assert sharded
        assert "inferred" in plan.reasons[-1]
    assert compilation.jit in ("step", "gates")


def test_the_table_reads_as_it_was_written():
    for row in measurements():
        assert planner.Measured.from_json(row.to_json()) == row


def test_nothing_runs_side_by_side_on_one_core(monkeypatch):
    monkeypatch.setattr(planner, "_cores", lambda: 1)
    for row in measurements():
        size = row.units, row.layers, row.batch
        plan = choose(
            *size, device="cpu", processor=row.instruction_set, architecture=row.architecture
        )
        assert plan.compilation.batch_shards == 1
        assert "shard" not in "".join(plan.reasons)


@pytest.mark.parametrize("processor", ["avx512", "other"])
def test_a_processor_without_bfloat16_products_gets_float32(processor):
    for units in (16, 128, 1000):
        assert choose(units, 2, 32, device="cpu", processor=processor).dtype == "float32"


@pytest.mark.parametrize(
    "flags,told",
    [
        ("avx2 fma", "other"),
        ("avx2 avx512f avx512_vnni", "avx512"),
        ("avx512f avx512_bf16", "avx512_bf16"),
        ("avx512f avx512_bf16 amx_bf16", "amx"),
    ],
)
def test_the_instruction_set_is_read_from_the_flags_of_the_processor(monkeypatch, flags, told):
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_, **__: f"flags\t: {flags}\n")
    assert planner.instruction_set.__wrapped__() == told


def test_stacked_nets_take_the_plan_of_a_grid_where_none_was_measured():
    measured = {row.instruction_set for row in measurements() if row.architecture == "stacked"}
    for processor in {row.instruction_set for row in measurements()}:
        plan = choose(128, 2, 16, device="cpu", processor=processor, architecture="stacked")
        (why,) = (reason for reason in plan.reasons if "fastest" in reason)
        assert f"at {'stacked' if processor in measured else 'grid'} " in why


def test_explicit_arguments_override_auto():
    assert choose(1000, 6, 50, dtype="float32", device="cpu", processor="amx").dtype == "float32"
    assert choose(8, 1, 1, dtype="bfloat16", device="cpu", processor="other").dtype == "bfloat16"
    assert choose(1000, 6, 50, "reference", device="cpu").execution == "reference"
    for jits_step in (True, False):
        plan = choose(128, 2, 16, device="cpu", processor="other", jits_step=jits_step)
        assert plan.compilation.jits_step == jits_step
        assert plan.compilation.batch_shards == 1 or not jits_step, (
            "a net alone can only be one program"
        )


def test_an_accelerator_compiles_the_whole_step():
    plan = choose(1000, 6, 50, device="accelerator")
    assert plan.compilation.jits_step
    assert plan.dtype == "bfloat16"


def explain(*arguments):
    command = [sys.executable, "-m", "model", "explain", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_explain_prints_the_plan_and_its_reasons():
    done = explain("--instruction_set", "amx", "--device", "cpu", "--window", "100")
    shown = done.stdout
    assert not done.stderr
    assert "bfloat16" in shown
    assert "was the fastest at grid 6x1000" in shown
    assert "AMX tiles" in shown
    assert "960 MB" in shown  # 32 bytes * 1000 units * 6 layers * 100 steps * 50 rows
    assert "remat_steps=10" in shown


@pytest.mark.slow
def test_explain_knows_stacked_nets():
    shown = explain(
        "--architecture", "stacked", "--layers", "3", "--instruction_set", "other"
    ).stdout
    assert "at stacked 3x1000" in shown
    assert "180 MB" in shown  # 24 bytes * 1000 units * 3 layers * 50 steps * 50 rows


@pytest.mark.slow
def test_explain_says_nothing_of_programs_that_do_not_run():
    shown = explain("--execution", "layerwise", "--layers", "2", "--units", "64").stdout
    assert "layer by layer" in shown and "as the caller compiles it" in shown
    assert "saved for the backward pass" not in shown and "remat_steps" not in shown


@pytest.mark.slow
def test_explain_prints_json():
    told = json.loads(explain("--device", "cpu", "--json").stdout)
    assert told["memories, weights"] == ["float32"]
    assert len(told["saved for the backward pass"]) == 2


def test_explain_names_a_mistake_and_nothing_else():
    done = explain("--units", "0")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert "--units" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="TensorFlow has oneDNN on x86 only")
@pytest.mark.parametrize("said,heard", [(None, "True"), ("0", "False")])
def test_products_are_left_to_onednn_unless_the_user_says_otherwise(said, heard):
    """Whatever the processor; TensorFlow's own default is so on those with VNNI alone."""
    environment = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"}
    if said:
        environment["TF_ENABLE_ONEDNN_OPTS"] = said
    code = "import model.grid; from tensorflow.python.util import _pywrap_util_port as port;"
    command = [sys.executable, "-c", f"{code} print(port.IsMklEnabled())"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == heard


def test_products_are_left_to_onednn_in_these_tests():
    assert _pywrap_util_port.IsMklEnabled() or platform.machine() != "x86_64"
