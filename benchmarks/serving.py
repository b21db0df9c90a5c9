"""Load test of a served model: `python -m benchmarks.serving`.

It measures characters per second and latencies. A server, the model called in this process, and
PyTorch's sampling of the same network in another process take turns within one run.
"""

import contextlib
import json
import pathlib
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict

import click
import numpy as np
import rich.console
import rich.table

from benchmarks.embedded_server import MODEL, exported, serving
from benchmarks.load import Load, Served, run
from benchmarks.problem import VOCABULARY
from common import command_line
from common.commands import TensorFlowCommand
from common.machine import machine
from common.progress import task_bars
from model.config import Precision
from serving.generate_inputs import GENERATE_INPUTS

PIECE = 16
"""Number of characters per request of the model in process, and of the gateway."""

METRIC = re.compile(r":tensorflow:serving:(request|runtime)_latency_sum\{[^}]*\} (\S+)")


class Torch:
    """PyTorch's sampling in another process."""

    def __init__(self, layers: int, units: int, dtype: str):
        """Starts the process.

        Args:
          layers: Number of layers.
          units: Width of the layers.
          dtype: Dtype of the weights.
        """
        arguments = map(str, (layers, units, VOCABULARY, dtype))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.torch_sampling", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._read_answer()

    def _read_answer(self) -> float:
        assert self._process.stdout is not None  # it is a pipe
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException("PyTorch does not run; install benchmarks/requirements.txt")
        return json.loads(line)

    def speed(self, batch: int, characters: int) -> float:
        """Measures the characters per second of all rows.

        Args:
          batch: Number of rows.
          characters: Number of characters per row.
        """
        print(batch, characters, file=self._process.stdin, flush=True)
        return batch * characters / self._read_answer()

    def close(self) -> None:
        """Kills the process."""
        self._process.kill()
        self._process.wait()


class InProcess:
    """The exported model, called in this process."""

    def __init__(self, path: str):
        """Loads the export at a path."""
        from serving.server.servable import Servable, session_config

        self._servable = Servable(path, MODEL, 1, session_config(), lambda *_: None)
        self.speed(1, PIECE)  # the first call prepares the kernels

    def speed(self, batch: int, characters: int) -> float:
        """Measures the characters per second of all rows, in pieces that pass on their states.

        Args:
          batch: Number of rows.
          characters: Number of characters per row.
        """
        inputs = {
            "prompt": np.array([b""] * batch, object),
            "length": np.array([PIECE], np.int32),
            "seed": np.arange(batch, dtype=np.int64),
            "state": np.zeros([batch, 0], np.float32),
        }
        for row in GENERATE_INPUTS:
            if row.name not in inputs:
                dtype = object if row.dtype == "string" else row.dtype
                inputs[row.name] = np.array([row.default], dtype)
        start = time.perf_counter()
        for _ in range(characters // PIECE):
            inputs["state"] = self._servable.run("generate", inputs)["state"]
        return batch * characters / (time.perf_counter() - start)


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
@click.option("--layers", type=click.IntRange(1), default=6, show_default=True)
@click.option("--units", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--precision", default="bfloat16", type=click.Choice(["float32", "bfloat16", "int8"]))
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
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--torch/--no_torch", default=True, help="Whether PyTorch takes part.")
@click.option(
    "--gateway/--no_gateway", default=True, help="Whether clients of the OpenAI API take part."
)
@click.option("--output", default="runs/benchmarks/serving.json", show_default=True)
def main(
    layers: int,
    units: int,
    precision: Precision,
    clients: list[int],
    pieces: list[int],
    arrivals: float,
    seconds: float,
    rounds: int,
    torch: bool,
    gateway: bool,
    output: str,
) -> None:
    """Measure a server under load, against PyTorch's sampling and the model in process."""
    import tensorflow as tf

    from serving.graph.batching import threads_per_op

    # As in the server: the first session of a process decides its number of threads.
    tf.config.threading.set_intra_op_parallelism_threads(threads_per_op())
    loads = [
        Load(clients=number, piece=piece, seconds=seconds) for piece in pieces for number in clients
    ]
    if gateway:
        loads += [
            Load(clients=number, piece=PIECE, seconds=seconds, over_gateway=True)
            for number in clients
        ]
    if arrivals:
        loads.append(Load(clients=256, piece=PIECE, seconds=seconds, arrivals=arrivals))
    speeds, tables = defaultdict(list), defaultdict(list)
    with contextlib.ExitStack() as stack:
        base_path = stack.enter_context(exported(layers, units, precision))
        server = stack.enter_context(serving(base_path, with_gateway=gateway))
        in_process = InProcess(f"{base_path}/1")
        peers = {}
        for dtype in ("float32", "bfloat16") if torch else ():
            peers[dtype] = stack.enter_context(contextlib.closing(Torch(layers, units, dtype)))
        characters = min(1024, int(64 * (1000 / units) ** 2) // PIECE * PIECE)
        steps = rounds * (len(loads) + 2 * (1 + len(peers)))
        for load in loads:  # warm-up of graphs and connections
            run(server.address, load._replace(seconds=1.0), server.gateway)
        progress = stack.enter_context(task_bars())
        task = progress.add_task("Serving", total=steps)
        for _ in range(rounds):
            for batch in (1, 64):
                part = max(PIECE, characters // (1 if batch == 1 else 4) // PIECE * PIECE)
                speeds["in process", batch].append(in_process.speed(batch, part))
                progress.advance(task)
                for dtype, peer in peers.items():
                    speeds[f"PyTorch {dtype}", batch].append(peer.speed(batch, part))
                    progress.advance(task)
            for load in loads:
                before = server.metrics()
                served = run(server.address, load, server.gateway)
                tables[load].append((served, share_in_python(before, server.metrics())))
                progress.advance(task)
    summary = {
        "network": f"{layers}x{units}, {precision}",
        "machine": machine(),
        "in_process": [
            {"who": who, "batch": batch, "characters_per_second": values}
            for (who, batch), values in speeds.items()
        ],
        "loads": [_row(load, rounds) for load, rounds in tables.items()],
    }
    path = pathlib.Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    _print(summary)


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
    command_line.main(main)
