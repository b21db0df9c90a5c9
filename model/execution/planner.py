"""Which of the executions of a net is the fastest, here and for this size."""

import functools
import itertools
import json
import math
import os
import pathlib
from typing import NamedTuple

import tensorflow as tf

from ..config import Architecture, ComputeType, Device, Execution, InstructionSet
from .compilation import Compilation
from .plan import Plan

# Training speeds as `python -m benchmarks.execution_table` measured them.
TABLE = pathlib.Path(__file__).with_name("table.json")


LEAST_ROWS = 8
"""Rows of the smallest part that a batch is split into."""

SIDE_BY_SIDE = {"gates": "parts", "whole": "whole parts"}
"""What a way to compile is called with one group of batch rows per core."""


class Measured(NamedTuple):
    """One row of the table: training speeds in characters per second of one processor and net.

    A variant is a compute dtype and one of "whole" (all of a step in one XLA program), "gates" (the
    gates in XLA, products left to oneDNN), "parts" and "whole parts" (the same, one group of batch
    rows per core).
    """

    instruction_set: InstructionSet
    architecture: Architecture
    layers: int
    units: int
    batch: int
    speeds: dict[str, float]  # by variant, "bfloat16 gates" for one


@functools.cache
def measurements() -> tuple[Measured, ...]:
    """The table of measured speeds."""
    return tuple(Measured(**row) for row in json.loads(TABLE.read_text(encoding="utf-8")))


@functools.cache
def instruction_set() -> InstructionSet:
    """The widest products that this processor offers; "other" where it cannot be told."""
    try:
        words = set(pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return "other"
    if "amx_bf16" in words:
        return "amx"
    if "avx512_bf16" in words:
        return "avx512_bf16"
    return "avx512" if "avx512f" in words else "other"


def visible_device() -> Device:
    """Where TensorFlow places a computation on its own."""
    found = tf.config.get_visible_devices()
    return "accelerator" if any(one.device_type in ("GPU", "TPU") for one in found) else "cpu"


def choose(
    units: int,
    layers: int,
    batch: int | None,
    execution: Execution = "auto",
    dtype: ComputeType = "auto",
    device: Device | None = None,
    on: InstructionSet | None = None,
    whole: bool | None = None,
    architecture: Architecture = "grid",
) -> Plan:
    """The fastest way to train a net of the given size.

    Args:
      units: width of the vectors.
      layers: blocks along depth.
      batch: rows; None where it is not known.
      execution: "auto" for the fastest, else what the caller wants.
      dtype: "auto" for the faster of the two that trains as well, else the caller's.
      device: where it will run; None for where TensorFlow places it.
      on: the processor; None for this one.
      whole: whether the caller compiles the whole step with XLA; None if it will do as it is told.
      architecture: of net.
    """
    device = device or visible_device()
    if device == "accelerator":
        reason = "an accelerator runs the whole step as one XLA program, with bfloat16 products"
        compute = "bfloat16" if dtype == "auto" else dtype
        compilation = Compilation(whole=whole is not False, gates=False)
        return Plan(_wavefront(execution), compilation, compute, (reason,))
    on = on or instruction_set()
    nearest = _nearest(on, architecture, units, layers, batch or 32)
    possible = _possible(whole, batch)
    speeds = {
        variant: speed
        for variant, speed in _speeds(nearest).items()
        if (dtype == "auto" or variant.startswith(dtype)) and _parsed(variant)[1] in possible
    }
    if not speeds:  # bfloat16 where the table has none, or within the caller's XLA program
        variant = f"{'float32' if dtype == 'auto' else dtype} {'whole' if whole else 'gates'}"
        reasons = [f"{variant}, as the caller wants it"]
    else:
        variant = max(speeds, key=speeds.get)
        reasons = [_why(variant, nearest, speeds)]
        if variant not in nearest.speeds:
            reasons.append("its speed is inferred from what parts gain on another processor")
    reasons.insert(0, f"the processor's bfloat16 products: {_OFFERS[on]}")
    if execution == "reference":
        reasons.append("cell by cell, as the caller wants it")
    return variant_plan(variant, batch, execution, tuple(reasons))


def variant_plan(
    variant: str, batch: int | None, execution: Execution = "wavefront", reasons=()
) -> Plan:
    """The plan that a variant of the table stands for."""
    compute, compiled = _parsed(variant)
    parts = 1 if compiled in SIDE_BY_SIDE else _groups(batch)
    whole = compiled.startswith("whole")
    compilation = Compilation(whole=whole, gates=not whole, parts=parts, ahead=whole)
    return Plan(_wavefront(execution), compilation, compute, reasons)


def _parsed(variant: str) -> list[str]:
    """The compute dtype, and how a variant is compiled."""
    return variant.split(maxsplit=1)


def _possible(whole: bool | None, batch: int | None) -> set[str]:
    """How a net can be compiled whose caller says this of compiling the whole."""
    alone = {None: {"gates", "whole"}, True: {"whole"}, False: {"gates"}}[whole]
    # A caller that compiles the whole on its own makes one program of it.
    if whole or _groups(batch) == 1:
        return alone
    return alone | {SIDE_BY_SIDE[one] for one in alone}


def _groups(batch: int | None) -> int:
    """Into how many groups the rows of a batch can be split."""
    return 1 if batch is None else max(1, min(_cores(), batch // LEAST_ROWS))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_OFFERS = {
    "amx": "AMX tiles",
    "avx512_bf16": "AVX-512 BF16",
    "avx512": "none, but AVX-512 in float32",
    "other": "none",
}


def _wavefront(execution: Execution) -> Execution:
    return "reference" if execution == "reference" else "wavefront"


def _nearest(
    on: InstructionSet, architecture: Architecture, units: int, layers: int, batch: int
) -> Measured:
    """The row of the table whose size is nearest, by ratios of units and of rows.

    Stacked nets go by grids on a processor on which no stacked net was measured.
    """

    def distance(row):
        rows = layers * batch / (row.layers * row.batch)
        return 2 * abs(math.log(units / row.units)) + abs(math.log(rows))

    rows = [row for row in measurements() if row.instruction_set == on]
    same = [row for row in rows if row.architecture == architecture]
    return min(same or rows, key=distance)


def _speeds(row: Measured) -> dict[str, float]:
    """The speeds of a row; parts that were not measured gain what they gain elsewhere."""
    speeds = dict(row.speeds)
    for other in measurements():
        if (other.architecture, other.layers, other.units) != (
            row.architecture,
            row.layers,
            row.units,
        ):
            continue
        for dtype, alone in itertools.product(("float32", "bfloat16"), SIDE_BY_SIDE):
            one, parts = f"{dtype} {alone}", f"{dtype} {SIDE_BY_SIDE[alone]}"
            if one in speeds and {one, parts} <= other.speeds.keys():
                speeds.setdefault(parts, speeds[one] * other.speeds[parts] / other.speeds[one])
    return speeds


def _why(variant: str, row: Measured, speeds: dict[str, float]) -> str:
    best = speeds[variant]
    others = ", ".join(
        f"{other} {speed / best:.2f}" for other, speed in speeds.items() if other != variant
    )
    size = f"{row.architecture} {row.layers}x{row.units}, batch {row.batch}"
    return f"{variant} was the fastest at {size}" + (f" (of its speed: {others})" if others else "")
