"""Chooses the fastest execution of a net, on this machine and for its size."""

import functools
import json
import math
import os
import pathlib
from typing import NamedTuple

import tensorflow as tf

from ..config import ComputeType, Device, Execution, InstructionSet
from .compilation import Compilation, Jit
from .plan import Plan

TABLE = pathlib.Path(__file__).with_name("table.json")
"""The training speeds that `python -m benchmarks.execution_table` measured."""

LEAST_ROWS = 8
"""The smallest number of batch rows of a shard."""

_BFLOAT16_PRODUCTS = {
    "amx": "AMX tiles",
    "avx512_bf16": "AVX-512 BF16",
    "avx512": "none, but AVX-512 in float32",
    "other": "none",
}


class Variant(NamedTuple):
    """A way to execute the wavefront on a CPU.

    Attributes:
      dtype: The compute dtype, "float32" or "bfloat16".
      jit: Which part of a training step XLA compiles.
      sharded: Whether the batch is split into a shard per core.
    """

    dtype: str
    jit: Jit
    sharded: bool

    def __str__(self) -> str:
        shards = ", a shard of the batch per core" if self.sharded else ""
        return f"{self.dtype} with jit={self.jit}{shards}"


class Measured(NamedTuple):
    """One row of the table: the training speeds of one net on one kind of processor.

    Attributes:
      instruction_set: The widest products that the processor has.
      architecture: The architecture of the net.
      layers: The number of layers.
      units: The width of each layer.
      batch: The number of sequences in a batch.
      speeds: The training speed of each variant, in characters per second.
    """

    instruction_set: InstructionSet
    architecture: str
    layers: int
    units: int
    batch: int
    speeds: dict[Variant, float]

    @classmethod
    def from_json(cls, row: dict) -> "Measured":
        """Returns the row that an entry of the table's file holds."""
        speeds = {
            Variant(dtype=one["dtype"], jit=one["jit"], sharded=one["sharded"]): one["speed"]
            for one in row["speeds"]
        }
        return cls(**{**row, "speeds": speeds})

    def to_json(self) -> dict:
        """Returns the entry of the table's file."""
        speeds = [{**variant._asdict(), "speed": speed} for variant, speed in self.speeds.items()]
        return {**self._asdict(), "speeds": speeds}


@functools.cache
def measurements() -> tuple[Measured, ...]:
    """Returns the table of measured speeds."""
    return tuple(map(Measured.from_json, json.loads(TABLE.read_text(encoding="utf-8"))))


@functools.cache
def instruction_set() -> InstructionSet:
    """Returns the widest products of this processor; "other" where it cannot be told."""
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
    """Returns the device on which TensorFlow places a computation by itself."""
    types = {device.device_type for device in tf.config.get_visible_devices()}
    return "accelerator" if types & {"GPU", "TPU"} else "cpu"


def choose(
    units: int,
    layers: int,
    batch: int | None,
    execution: Execution = "auto",
    dtype: ComputeType = "auto",
    device: Device | None = None,
    processor: InstructionSet | None = None,
    jits_step: bool | None = None,
    architecture: str = "grid",
) -> Plan:
    """Returns the fastest plan to train a net of a given size.

    Args:
      units: The width of the vectors.
      layers: The number of layers.
      batch: The number of batch rows; None where it is not known.
      execution: The algorithm; "auto" for the fastest.
      dtype: The compute dtype; "auto" for the faster one of those that train as well.
      device: The device that will run the net; None for the one TensorFlow chooses.
      processor: The instruction set of the CPU; None for that of this machine.
      jits_step: Whether the caller compiles the whole step with XLA; None if it follows the plan.
      architecture: The architecture of the net. Default "grid".
    """
    device = device or visible_device()
    if device == "accelerator":
        return Plan(
            execution=_algorithm(execution),
            compilation=Compilation(jit="none" if jits_step is False else "step"),
            dtype="bfloat16" if dtype == "auto" else dtype,
            reasons=("an accelerator runs the step as one XLA program, with bfloat16 products",),
        )
    processor = processor or instruction_set()
    nearest = _nearest(processor, architecture, units, layers, batch or 32)
    speeds = {
        variant: speed
        for variant, speed in _with_inferred_shards(nearest).items()
        if dtype in ("auto", variant.dtype) and _is_possible(variant, jits_step, batch)
    }
    reasons = [f"the processor's bfloat16 products: {_BFLOAT16_PRODUCTS[processor]}"]
    if speeds:
        variant = max(speeds, key=lambda one: speeds[one])
        reasons.append(_explain_choice(variant, nearest, speeds))
        if variant not in nearest.speeds:
            reasons.append("its speed is inferred from the gain of shards on another processor")
    else:  # bfloat16 where the table has none, or within the caller's XLA program
        compute = "float32" if dtype == "auto" else dtype
        variant = Variant(dtype=compute, jit="step" if jits_step else "gates", sharded=False)
        reasons.append(f"{variant}, as the caller chose")
    if execution in ("reference", "layerwise"):
        how = "cell by cell" if execution == "reference" else "layer by layer"
        reasons.append(f"{how}, as the caller chose")
    return plan_of(variant, batch, execution, tuple(reasons))


def plan_of(
    variant: Variant,
    batch: int | None,
    execution: Execution = "wavefront",
    reasons: tuple[str, ...] = (),
) -> Plan:
    """Returns the plan of a variant.

    Args:
      variant: The variant.
      batch: The number of batch rows; None where it is not known.
      execution: The algorithm of a grid.
      reasons: Why the variant was chosen.
    """
    compilation = Compilation(
        jit=variant.jit,
        batch_shards=_largest_shard_count(batch) if variant.sharded else 1,
        prefetch=variant.jit == "step",
        vectorizes=False,
    )
    return Plan(
        execution=_algorithm(execution),
        compilation=compilation,
        dtype=variant.dtype,
        reasons=reasons,
    )


def _is_possible(variant: Variant, jits_step: bool | None, batch: int | None) -> bool:
    """Returns whether a caller with this way to compile can run a variant."""
    if jits_step is not None and (variant.jit == "step") != jits_step:
        return False
    # A caller that compiles the step by itself makes one program of it.
    return not variant.sharded or (not jits_step and _largest_shard_count(batch) > 1)


def _largest_shard_count(batch: int | None) -> int:
    """Returns into how many shards a batch can be split."""
    return 1 if batch is None else max(1, min(_cores(), batch // LEAST_ROWS))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _algorithm(execution: Execution) -> Execution:
    return "wavefront" if execution == "auto" else execution


def _nearest(
    processor: InstructionSet, architecture: str, units: int, layers: int, batch: int
) -> Measured:
    """Returns the row of the table whose size is nearest, by ratios of units and of rows.

    An architecture that was not measured on a processor goes by the grids there.
    """

    def distance(row: Measured) -> float:
        rows = layers * batch / (row.layers * row.batch)
        return 2 * abs(math.log(units / row.units)) + abs(math.log(rows))

    rows = [row for row in measurements() if row.instruction_set == processor]
    same = [row for row in rows if row.architecture == architecture]
    return min(same or rows, key=distance)


def _with_inferred_shards(row: Measured) -> dict[Variant, float]:
    """Returns the speeds of a row; shards that were not measured gain what they gain elsewhere."""
    speeds = dict(row.speeds)
    size = row.architecture, row.layers, row.units
    others = [one for one in measurements() if (one.architecture, one.layers, one.units) == size]
    for variant, speed in row.speeds.items():
        sharded = variant._replace(sharded=True)
        for other in others:
            if not variant.sharded and {variant, sharded} <= other.speeds.keys():
                gain = other.speeds[sharded] / other.speeds[variant]
                speeds.setdefault(sharded, speed * gain)
    return speeds


def _explain_choice(variant: Variant, row: Measured, speeds: dict[Variant, float]) -> str:
    best = speeds[variant]
    others = ", ".join(
        f"{other} {speed / best:.2f}" for other, speed in speeds.items() if other != variant
    )
    size = f"{row.architecture} {row.layers}x{row.units}, batch {row.batch}"
    return f"{variant} was the fastest at {size}" + (f" (of its speed: {others})" if others else "")
