"""Endurance test of a server: `python -m benchmarks.endurance`.

Clients send requests without a break for a given time while its memory is watched, beside hostile
clients, while new versions are rolled out, and while it is killed and restarted.
"""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time
from concurrent import futures
from typing import Any, NamedTuple

import click
import numpy as np
import rich.console
import rich.progress
import rich.table

from benchmarks.embedded_server import Server, exported, serving
from benchmarks.hostile import Hostility
from benchmarks.load import Load, run
from benchmarks.options import counts, output_option
from common import command_line
from common.commands import TensorFlowCommand
from common.machine import machine
from common.progress import task_bars

HONEST = 8
"""Number of honest clients beside hostile ones."""

PAGE = os.sysconf("SC_PAGE_SIZE")


def memory(process: subprocess.Popen) -> float:
    """Returns the resident memory of a process in MiB."""
    pages = pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * PAGE / 2**20


def roll_out(base_path: str, number: int) -> None:
    """Adds a copy of version 1 as a new version, and removes versions before the previous one.

    Args:
      base_path: Base path of the model.
      number: Number of the new version.
    """
    aside = pathlib.Path(base_path, f".{number}")
    shutil.copytree(f"{base_path}/1", aside)
    aside.rename(pathlib.Path(base_path, str(number)))
    if number > 3:
        shutil.rmtree(f"{base_path}/{number - 2}")


def under_rolling_versions(
    base_path: str, server: Server, load: Load, requests: int, progress: rich.progress.Progress
) -> dict:
    """Rolls out a version after another until a number of requests has been answered.

    Args:
      base_path: Base path of the model.
      server: The server.
      load: Load of the clients; a version follows after its seconds.
      requests: Number of requests.
      progress: Progress bar.
    """
    done, versions = threading.Event(), [1]

    def roll() -> None:
        while not done.wait(load.seconds):
            versions.append(versions[-1] + 1)
            roll_out(base_path, versions[-1])

    thread = threading.Thread(target=roll)
    thread.start()
    task = progress.add_task("Rolling out versions", total=requests)
    answered = failures = moved = 0
    try:
        while answered < requests:
            served = run(server.address, load)
            answered += len(served.latencies)
            failures, moved = failures + served.failures, moved + served.moved
            progress.update(task, completed=answered)
    finally:
        done.set()
        thread.join()
    return {
        "requests": answered,
        "versions": len(versions),
        "failed_requests": failures,
        "streams_that_changed_version": moved,
    }


def under_kills(
    base_path: str, server: Server, load: Load, kills: int, progress: rich.progress.Progress
) -> dict:
    """Kills the server and restarts it while clients keep sending requests.

    Args:
      base_path: Base path of the model.
      server: The server.
      load: Load of the clients.
      kills: Number of kills.
      progress: Progress bar.
    """
    task = progress.add_task("Killing the server", total=kills)
    answered = failures = 0
    port = int(server.address.server.rsplit(":", 1)[1])
    outages = []
    with contextlib.ExitStack() as started, futures.ThreadPoolExecutor(1) as clients:
        for _ in range(kills):
            client = clients.submit(run, server.address, load._replace(seconds=3 * load.seconds))
            time.sleep(load.seconds)
            killed = time.perf_counter()
            server.process.kill()
            server.process.wait()
            server = started.enter_context(serving(base_path, port))
            outages.append(time.perf_counter() - killed)
            served = client.result()
            answered, failures = answered + len(served.latencies), failures + served.failures
            progress.advance(task)
    return {
        "kills": kills,
        "requests": answered,
        "failed_requests": failures,
        "longest_outage_s": max(outages, default=0.0),
    }


class Soak(NamedTuple):
    """What a load of some minutes showed.

    Attributes:
      requests: Number of requests that were answered.
      failures: Number of failed requests.
      memory: Memory of the server in MiB at seconds since the start, in order.
    """

    requests: int
    failures: int
    memory: list[tuple[float, float]]


def soak(
    server: Server, load: Load, minutes: float, name: str, progress: rich.progress.Progress
) -> Soak:
    """Repeats a load for some minutes, and watches the memory of the server.

    Args:
      server: The server.
      load: Load of the clients.
      minutes: Minutes of load.
      name: Name of the task in the progress bar.
      progress: Progress bar.
    """
    task = progress.add_task(name, total=minutes * 60)
    start = time.perf_counter()
    measured, answered, failures = [], 0, 0
    while (now := time.perf_counter() - start) < minutes * 60:
        served = run(server.address, load)
        answered, failures = answered + len(served.latencies), failures + served.failures
        measured.append((now, memory(server.process)))
        progress.update(task, completed=now)
    return Soak(requests=answered, failures=failures, memory=measured)


def under_full_load(
    server: Server, load: Load, minutes: float, progress: rich.progress.Progress
) -> dict:
    """Compares the memory at the end of a load with the memory after a tenth of its time.

    Args:
      server: The server.
      load: Load of the clients.
      minutes: Minutes of load.
      progress: Progress bar.
    """
    found = soak(server, load, minutes, "Soaking", progress)
    settled = next(mib for now, mib in found.memory if now >= minutes * 6)
    last = found.memory[-1][1]
    return {
        "minutes": minutes,
        "requests": found.requests,
        "failed_requests": found.failures,
        "memory_mib": [round(settled, 1), round(last, 1)],
        "memory_growth": last / settled - 1,
    }


def under_hostile_load(
    base_path: str, server: Server, load: Load, minutes: float, progress: rich.progress.Progress
) -> dict:
    """Counts what honest clients lose beside hostile ones, and what memory the server keeps.

    Args:
      base_path: Base path of the model.
      server: The server.
      load: Load of the honest clients.
      minutes: Minutes of load.
      progress: Progress bar.
    """
    with Hostility(server, base_path).running() as hostility:
        found = soak(server, load, minutes, "Hostile clients", progress)
    # The peaks of the second fifth and of the last, or of a load too short for that the ends.
    settled = [mib for now, mib in found.memory if minutes * 12 <= now < minutes * 24]
    settled = settled or [found.memory[0][1]]
    last = [mib for now, mib in found.memory if now >= minutes * 48] or [found.memory[-1][1]]
    return {
        "minutes": minutes,
        "honest_requests": found.requests,
        "failed_honest_requests": found.failures,
        "hostile_acts": dict(hostility.sent),
        **{
            f"status_p{percent}_ms": round(
                1e3 * float(np.percentile(hostility.status_seconds, percent, method="higher")), 1
            )
            for percent in (50, 95, 99)
        },
        "status_calls": len(hostility.status_seconds),
        "failed_status_calls": int(np.isinf(hostility.status_seconds).sum()),
        "memory_mib": [round(max(settled), 1), round(max(last), 1)],
        "memory_growth": max(last) / max(settled) - 1,
        "restarts": int(server.process.poll() is not None),
    }


@click.command(
    cls=TensorFlowCommand, example="python -m benchmarks.endurance --minutes 5 --kills 1"
)
@counts(layers=2, units=128)
@click.option(
    "--clients",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Number of clients that send requests without a break.",
)
@click.option(
    "--requests",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    help="Requests while versions are rolled out.",
)
@click.option(
    "--kills",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="Number of times that the server is killed and started again.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    help="Minutes of full load; 0 for none.",
)
@click.option(
    "--hostile_minutes",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    help="Minutes of hostile clients beside eight honest ones; 0 for none.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=10.0,
    show_default=True,
    help="Seconds from one version to the next.",
)
@output_option("endurance")
def main(
    layers: int,
    units: int,
    clients: int,
    requests: int,
    kills: int,
    minutes: float,
    hostile_minutes: float,
    seconds: float,
    output: str,
) -> None:
    """Send requests without a break through new versions and kills, and watch the memory."""
    load = Load(clients=clients, piece=4, seconds=seconds)
    network, here = f"{layers}x{units}", machine()
    parts: dict[str, dict[str, Any]] = {}
    with exported(layers, units, "float32") as base_path, task_bars() as progress:
        if minutes:
            with serving(base_path) as server:
                parts["full_load"] = under_full_load(server, load, minutes, progress)
        if hostile_minutes:
            with serving(base_path) as server:
                parts["hostile_clients"] = under_hostile_load(
                    base_path, server, load._replace(clients=HONEST), hostile_minutes, progress
                )
            for version in set(pathlib.Path(base_path).iterdir()) - {pathlib.Path(base_path, "1")}:
                shutil.rmtree(version)
        with serving(base_path) as server:
            parts["rolling_versions"] = under_rolling_versions(
                base_path, server, load._replace(piece=1), requests, progress
            )
        with serving(base_path) as server:
            parts["kills"] = under_kills(base_path, server, load, kills, progress)
    summary = {"network": network, "clients": clients, "machine": here, **parts}
    path = pathlib.Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    table = rich.table.Table("", "", "", title=f"{network}; {here}")
    for part, measured in parts.items():
        for name, value in measured.items():
            shown = f"{value:.2%}" if name == "memory_growth" else f"{value}"
            table.add_row(part, name, shown)
    rich.console.Console(width=120).print(table)


if __name__ == "__main__":
    command_line.main(main, resumes=False)
