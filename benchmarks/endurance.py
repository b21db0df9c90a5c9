"""`python -m benchmarks.endurance`: whether a server holds up, and for how long.

Clients ask it without a break while new versions are rolled in, while it is killed and started
again, and then for as long as is asked for, with an eye on its memory.
"""

import contextlib
import json
import os
import pathlib
import shutil
import threading
import time
from concurrent import futures

import click
import rich.console
import rich.progress
import rich.table

from benchmarks.embedded_server import exported, serving
from benchmarks.load import Load, run
from common import command_line
from common.machine import machine

PAGE = os.sysconf("SC_PAGE_SIZE")


def memory(process) -> float:
    """MiB that a process has in memory."""
    pages = pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1]
    return int(pages) * PAGE / 2**20


def roll_in(base_path: str, number: int) -> None:
    """Puts a copy of version 1 in place as another one, and takes away those before but one."""
    aside = pathlib.Path(base_path, f".{number}")
    shutil.copytree(f"{base_path}/1", aside)
    aside.rename(pathlib.Path(base_path, str(number)))
    if number > 3:
        shutil.rmtree(f"{base_path}/{number - 2}")


def under_rolling_versions(base_path, server, load, requests, progress):
    """Versions follow on one another until so many requests have been answered."""
    done, rolled = threading.Event(), [1]

    def roll():
        while not done.wait(load.seconds):
            rolled.append(rolled[-1] + 1)
            roll_in(base_path, rolled[-1])

    thread = threading.Thread(target=roll)
    thread.start()
    task = progress.add_task("Rolling versions in", total=requests)
    answered = failures = moved = 0
    try:
        while answered < requests:
            found = run(server.address, load)
            answered += len(found.latencies)
            failures, moved = failures + found.failures, moved + found.moved
            progress.update(task, completed=answered)
    finally:
        done.set()
        thread.join()
    return {
        "requests": answered,
        "versions": len(rolled),
        "failed_requests": failures,
        "streams_that_changed_version": moved,
    }


def under_kills(base_path, server, load, kills, progress):
    """The server is killed and started again while its clients go on asking."""
    task = progress.add_task("Killing the server", total=kills)
    answered = failures = 0
    port = int(server.address.server.rsplit(":", 1)[1])
    outages = []
    with contextlib.ExitStack() as started, futures.ThreadPoolExecutor(1) as clients:
        for _ in range(kills):
            asking = clients.submit(run, server.address, load._replace(seconds=3 * load.seconds))
            time.sleep(load.seconds)
            killed = time.perf_counter()
            server.process.kill()
            server.process.wait()
            server = started.enter_context(serving(base_path, port))
            outages.append(time.perf_counter() - killed)
            found = asking.result()
            answered, failures = answered + len(found.latencies), failures + found.failures
            progress.advance(task)
    return {
        "kills": kills,
        "requests": answered,
        "failed_requests": failures,
        "longest_outage_s": max(outages, default=0.0),
    }


def under_full_load(server, load, minutes, progress):
    """The memory at the end against that after a tenth of the time."""
    task = progress.add_task("Soaking", total=minutes * 60)
    begun = time.perf_counter()
    measured, answered, failures = [], 0, 0
    while (now := time.perf_counter() - begun) < minutes * 60:
        found = run(server.address, load)
        answered, failures = answered + len(found.latencies), failures + found.failures
        measured.append((now, memory(server.process)))
        progress.update(task, completed=now)
    settled = next(mib for now, mib in measured if now >= minutes * 6)
    return {
        "minutes": minutes,
        "requests": answered,
        "failed_requests": failures,
        "memory_mib": [round(settled, 1), round(measured[-1][1], 1)],
        "memory_growth": measured[-1][1] / settled - 1,
    }


@click.command(context_settings=command_line.CONTEXT)
@click.option("--layers", type=click.IntRange(1), default=2, show_default=True)
@click.option("--units", type=click.IntRange(1), default=128, show_default=True)
@click.option("--clients", type=click.IntRange(1), default=16, show_default=True)
@click.option(
    "--requests",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    help="While versions roll in.",
)
@click.option("--kills", type=click.IntRange(0), default=3, show_default=True)
@click.option(
    "--minutes",
    type=click.FloatRange(0),
    default=20.0,
    show_default=True,
    help="Of full load; 0 for none.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=10.0,
    show_default=True,
    help="From one version to the next.",
)
@click.option("--output", default="runs/benchmarks/endurance.json", show_default=True)
def main(layers, units, clients, requests, kills, minutes, seconds, output):
    """Ask a server without a break through new versions and kills, and watch its memory."""
    load = Load(clients, 4, seconds)
    bar = rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(),
        console=rich.console.Console(stderr=True),
    )
    summary = {"network": f"{layers}x{units}", "clients": clients, "machine": machine()}
    with exported(layers, units, "float32") as base_path, bar as progress:
        if minutes:
            with serving(base_path) as server:
                summary["full_load"] = under_full_load(server, load, minutes, progress)
        with serving(base_path) as server:
            summary["rolling_versions"] = under_rolling_versions(
                base_path, server, load._replace(piece=1), requests, progress
            )
        with serving(base_path) as server:
            summary["kills"] = under_kills(base_path, server, load, kills, progress)
    path = pathlib.Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    table = rich.table.Table("", "", "", title=f"{summary['network']}; {summary['machine']}")
    for part in ("full_load", "rolling_versions", "kills"):
        for name, value in summary.get(part, {}).items():
            shown = f"{value:.2%}" if name == "memory_growth" else f"{value}"
            table.add_row(part, name, shown)
    rich.console.Console(width=120).print(table)


if __name__ == "__main__":
    command_line.main(main)
