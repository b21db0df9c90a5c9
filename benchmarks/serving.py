"""Load test of a served model: `python -m benchmarks.serving`.

It measures characters per second and latencies. A server, the model called in this process, and
PyTorch's sampling of the same network in another process take turns within one run.
"""

import contextlib
import json
import pathlib
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
import numpy as np
import rich.console
import rich.table

from benchmarks.embedded_server import Server, exported, serving
from benchmarks.in_process import FunctionInProcess, Sampler, SignatureInProcess, Torch
from benchmarks.load import Load, Served, run
from benchmarks.options import counts, output_option
from common import command_line
from common.commands import TensorFlowCommand
from common.machine import machine
from common.progress import task_bars
from model.config import Precision

GATEWAY_PIECE = 16
"""Number of characters per request of the gateway to the server."""

MANY = 64
"""Number of rows that samplers write at once, besides a single one."""

FUNCTION = "sampling.generate"
"""Name of the model's function, without a server's graph around it."""

SIGNATURE = "generate"
"""Beginning of the names of the signature, called in process."""

XLA = "XLA"
"""Name of the signature whose sampling XLA compiles, called in process."""

GATEWAY = "gateway"
"""Name of the load through the gateway."""

PYTORCH = "PyTorch"
"""Beginning of the names of PyTorch's samplers."""

METRIC = re.compile(r":tensorflow:serving:(request|runtime)_latency_sum\{[^}]*\} (\S+)")


def share_in_python(before: str, after: str) -> float:
    """Returns the share of the requests' time in the server that was spent outside of TensorFlow.

    Args:
      before: Metrics before the requests.
      after: Metrics after the requests.
    """
    spent: defaultdict[str, float] = defaultdict(float)
    for page, sign in ((before, -1), (after, 1)):
        for metric, value in METRIC.findall(page):
            spent[metric] += sign * float(value)
    return 1 - spent["runtime"] / spent["request"]


def _numbers(context: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    """Parses numbers that are separated by commas, each at least 1."""
    # As any type of parameter it converts strings, though its own signature has integers alone.
    positive: click.ParamType[int] = click.IntRange(1)
    return [positive.convert(number, parameter, context) for number in text.split(",")]


@click.command(
    cls=TensorFlowCommand,
    example="python -m benchmarks.serving --clients 1,16 --pieces 16 --no_torch",
)
@counts(layers=6, units=1000)
@click.option(
    "--precision",
    default="bfloat16",
    show_default=True,
    type=click.Choice(["float32", "bfloat16", "int8"]),
    help="Precision of the kernels.",
)
@click.option(
    "--clients",
    callback=_numbers,
    default="1,16,64",
    show_default=True,
    help="Numbers of streams at once.",
)
@click.option(
    "--pieces",
    callback=_numbers,
    default="1,16,256",
    show_default=True,
    help="Numbers of characters per request.",
)
@click.option(
    "--arrivals",
    type=click.FloatRange(0),
    default=0.0,
    help="Streams per second in an open loop; 0 for none.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=8.0,
    show_default=True,
    help="Seconds per load and round.",
)
@counts(rounds=3)
@click.option(
    "--xla/--no_xla",
    default=False,
    help="Whether an export whose sampling XLA compiles takes part, in process.",
)
@click.option("--torch/--no_torch", default=True, help="Whether PyTorch takes part.")
@click.option(
    "--gateway/--no_gateway", default=True, help="Whether clients of the OpenAI API take part."
)
@output_option("serving")
def main(
    layers: int,
    units: int,
    precision: Precision,
    clients: list[int],
    pieces: list[int],
    arrivals: float,
    seconds: float,
    rounds: int,
    xla: bool,
    torch: bool,
    gateway: bool,
    output: str,
) -> None:
    """Measure a server under load, against PyTorch's sampling and the model in process."""
    import tensorflow as tf

    from serving.graph.batching import threads_per_op

    # As in the server: the first session of a process decides its number of threads.
    tf.config.threading.set_intra_op_parallelism_threads(threads_per_op())
    loads = _loads(clients, pieces, seconds, gateway, arrivals)
    speeds, tables = defaultdict(list), defaultdict(list)
    with contextlib.ExitStack() as stack:
        base_path = stack.enter_context(exported(layers, units, precision))
        server = stack.enter_context(serving(base_path, with_gateway=gateway))
        samplers: dict[str, Sampler] = {FUNCTION: FunctionInProcess(layers, units, precision)}
        for piece in pieces:
            samplers[signature(piece)] = SignatureInProcess(f"{base_path}/1", piece)
        if xla:
            compiled = stack.enter_context(exported(layers, units, precision, is_compiled=True))
            samplers[XLA] = SignatureInProcess(f"{compiled}/1", max(pieces))
        for dtype in ("float32", "bfloat16") if torch else ():
            peer = stack.enter_context(contextlib.closing(Torch(layers, units, dtype)))
            samplers[f"{PYTORCH} {dtype}"] = peer
        _warm_up(server, loads, samplers, max(pieces))
        characters = _characters(units, max(pieces))
        progress = stack.enter_context(task_bars())
        task = progress.add_task("Serving", total=rounds * (len(loads) + 2 * len(samplers)))
        for _ in range(rounds):
            for batch in (1, MANY):
                for who, sampler in samplers.items():
                    speeds[who, batch].append(sampler.speed(batch, characters[batch]))
                    progress.advance(task)
            for load in loads:
                before = server.metrics()
                served = run(server.address, load, server.gateway)
                tables[load].append((served, share_in_python(before, server.metrics())))
                progress.advance(task)
    rows = [_row(load, rounds) for load, rounds in tables.items()]
    summary = {
        "network": f"{layers}x{units}, {precision}",
        "machine": machine(),
        "in_process": [
            {"who": who, "batch": batch, "characters_per_second": values}
            for (who, batch), values in speeds.items()
        ],
        "loads": rows,
        "ratios": ratios(speeds, rows),
    }
    path = pathlib.Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    _print(summary)


def _loads(
    clients: list[int], pieces: list[int], seconds: float, gateway: bool, arrivals: float
) -> list[Load]:
    """Returns the loads on the server, in the order in which they are measured."""
    over_grpc = [
        Load(clients=number, piece=piece, seconds=seconds) for piece in pieces for number in clients
    ]
    over_gateway = [
        Load(clients=number, piece=GATEWAY_PIECE, seconds=seconds, over_gateway=True)
        for number in (clients if gateway else [])
    ]
    open_loop = Load(clients=256, piece=pieces[0], seconds=seconds, arrivals=arrivals)
    return [*over_grpc, *over_gateway, *([open_loop] if arrivals else [])]


def _warm_up(
    server: Server, loads: list[Load], samplers: Mapping[str, Sampler], characters: int
) -> None:
    """Traces and compiles what all sizes need, and opens connections."""
    for sampler in samplers.values():
        for batch in (1, MANY):
            sampler.speed(batch, characters)
    for load in loads:
        run(server.address, load._replace(seconds=1.0), server.gateway)


def signature(piece: int) -> str:
    """Returns the name of the signature in process, with requests of so many characters."""
    return f"{SIGNATURE}, pieces of {piece}"


def _grpc(piece: int) -> str:
    """Returns the name of a load over gRPC, with requests of so many characters."""
    return f"gRPC, pieces of {piece}"


def _characters(units: int, piece: int) -> dict[int, int]:
    """Returns the characters per row that samplers write for one row and for many."""
    whole = min(1024, int(64 * (1000 / units) ** 2))
    return {
        batch: max(1, part // piece) * piece for batch, part in ((1, whole), (MANY, whole // 4))
    }


def ratios(
    speeds: Mapping[tuple[str, int], list[float]], loads: Sequence[Mapping[str, Any]]
) -> dict[str, list[float]]:
    """Compares what was measured one after the other, in each round by itself.

    Args:
      speeds: Characters per second of each round, by sampler and number of rows.
      loads: The measurements of each load.

    Returns:
      Ratios of speeds, one for each round, by what is compared.
    """
    found = {}
    for batch, rows in ((1, "1 text"), (MANY, f"{MANY} texts")):
        measured = {who: values for (who, count), values in speeds.items() if count == batch}
        for load in loads:
            if load["clients"] == batch and not load["arrivals"]:
                name = GATEWAY if load["over_gateway"] else _grpc(load["piece"])
                measured[name] = load["characters_per_second"]
        for above, below in _compared(measured, {load["piece"] for load in loads}):
            if above in measured and below in measured:
                quotients = zip(measured[above], measured[below], strict=True)
                found[f"{rows}: {above} / {below}"] = [x / y for x, y in quotients]
    return found


def _compared(
    measured: Mapping[str, list[float]], pieces: Iterable[int]
) -> Iterator[tuple[str, str]]:
    """Yields what is compared with what, by name; not all need have been measured."""

    def fastest(beginning: str) -> str:
        names = [who for who in measured if who.startswith(beginning)]
        return max(names, key=lambda who: statistics.median(measured[who]), default="")

    served = fastest(SIGNATURE)
    yield served, FUNCTION
    yield XLA, served
    yield served, fastest(PYTORCH)
    for piece in sorted(pieces):
        yield _grpc(piece), signature(piece)
    yield GATEWAY, _grpc(GATEWAY_PIECE)


def _row(load: Load, rounds: list[tuple[Served, float]]) -> dict:
    """Returns the measurements of one load, with latencies over all rounds in milliseconds."""
    results = [result for result, _ in rounds]
    latencies = 1e3 * np.concatenate([result.latencies for result in results])
    firsts = 1e3 * np.concatenate([result.firsts for result in results])
    return {
        **load._asdict(),
        "characters_per_second": [result.characters_per_second for result in results],
        "latency_ms": _percentiles(latencies),
        "first_character_ms": _percentiles(firsts),
        "share_in_python": statistics.median(share for _, share in rounds),
        "failures": sum(result.failures for result in results),
    }


def _percentiles(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    return {f"p{p}": float(np.percentile(values, p)) for p in (50, 95, 99)}


def _spread(values: list[float]) -> str:
    """Returns the median with half of the range as a percentage."""
    median = statistics.median(values)
    return f"{median:,.0f} ±{(max(values) - min(values)) / 2 / median:.0%}"


def _print(summary: dict) -> None:
    console = rich.console.Console(width=140)
    table = rich.table.Table(title=f"{summary['network']}; {summary['machine']}")
    for column in ("", "rows", "char/s"):
        table.add_column(column, justify="right" if column else "left")
    for row in summary["in_process"]:
        table.add_row(row["who"], str(row["batch"]), _spread(row["characters_per_second"]))
    console.print(table)
    table = rich.table.Table("ratio", "median", title="within each round")
    for name, values in summary["ratios"].items():
        middle, half = statistics.median(values), (max(values) - min(values)) / 2
        table.add_row(name, f"{middle:.2f} ±{half:.2f}")
    console.print(table)
    table = rich.table.Table(title="over gRPC, and through the gateway")
    columns = (
        "",
        "clients",
        "piece",
        "char/s",
        "p50 ms",
        "p95",
        "p99",
        "first p50",
        "p99",
        "Python",
    )
    for column in columns:
        table.add_column(column, justify="right")
    for row in summary["loads"]:
        latency, first = row["latency_ms"], row["first_character_ms"]
        table.add_row(
            "gateway" if row["over_gateway"] else "gRPC",
            f"{row['arrivals']:g}/s" if row["arrivals"] else str(row["clients"]),
            str(row["piece"]),
            _spread(row["characters_per_second"]),
            *(f"{latency.get(p, 0):,.1f}" for p in ("p50", "p95", "p99")),
            *(f"{first.get(p, 0):,.1f}" for p in ("p50", "p99")),
            f"{row['share_in_python']:.0%}",
        )
    console.print(table)


if __name__ == "__main__":
    command_line.main(main, resumes=False)
