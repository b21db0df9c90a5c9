"""`python -m benchmarks.data`: the data stages, from 10^6 characters to 10^10.

The corpus is the Python sources that are installed with this project. Sizes beyond theirs repeat
them, each time beginning at another place, so that no two blocks are equal.
"""

import datetime
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile

import click
import rich.table

from benchmarks.flink_cluster import flink_cluster
from common import command_line
from common.machine import machine
from common.progress import console, progress_bar
from model.errors import InputError

COMPARED = 10**8  # characters
REPEATED = 10**8
STEP = 1_000_003  # characters by which each repetition begins later; prime
WINDOWS = ((32, 32), (50, 50), (64, 1000))
SPARE = 3  # times a corpus, what has to be free on the disk


def sources(size: int) -> bytes:
    """The beginning of the installed Python sources, sorted by path, one after the other."""
    root = pathlib.Path(sysconfig.get_path("purelib"))
    found = bytearray()
    for path in sorted(root.rglob("*.py")):
        found += path.read_bytes()
        if len(found) >= size:
            return bytes(found[:size])
    raise InputError(f"{root} has only {len(found):,} characters of Python; install all of it")


def write_corpus(path: pathlib.Path, size: int) -> None:
    """Writes a corpus of a size."""
    text = sources(min(size, REPEATED))
    with path.open("wb") as file, progress_bar(f"Writing {size:,} characters", "bytes") as progress:
        for number, written in enumerate(range(0, size, len(text))):
            start = number * STEP % len(text)
            file.write((text[start:] + text[:start])[: size - written])
            progress(written, size)


def measure(*arguments: object) -> dict:
    """One measurement; see `data_stages`."""
    command = [sys.executable, "-m", "benchmarks.data_stages", *map(str, arguments)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise InputError(f"{' '.join(command)} failed: {finished.stderr.strip()[-500:]}")
    return json.loads(finished.stdout.splitlines()[-1])


def median_of(rounds: list[dict]) -> dict:
    """Of several measurements, the median seconds beyond start-up, and half of their range."""
    seconds = [one["seconds"] - one.get("start_up", 0.0) for one in rounds]
    return {
        **rounds[-1],
        "net": statistics.median(seconds),
        "spread": (max(seconds) - min(seconds)) / 2,
        "memory": max(one["memory"] for one in rounds),
    }


def measure_size(scratch: pathlib.Path, size: int, rounds: int) -> dict:
    """The stages and the bare loop in turns, on a corpus of a size."""
    corpus = scratch / "corpus.txt"
    write_corpus(corpus, size)
    found: dict[str, list[dict]] = {"stages": [], "bare": []}
    for _ in range(rounds):
        for kind, rows in found.items():
            rows.append(measure(kind, corpus, scratch / kind))
            if kind == "bare":
                shutil.rmtree(scratch / kind)
    return {"characters": size, **{kind: median_of(rows) for kind, rows in found.items()}}


def as_table(sizes: list[dict]) -> rich.table.Table:
    """A row per size."""
    columns = ("characters", "stages", "start-up", "bare loop", "ratio", "ns/character", "memory")
    table = rich.table.Table(box=None)
    for column in columns:
        table.add_column(column, justify="right")
    for row in sizes:
        stages, bare = row["stages"], row["bare"]
        table.add_row(
            f"{row['characters']:,}",
            f"{stages['net']:.2f} s ±{stages['spread']:.2f}",
            f"{stages['start_up']:.2f} s",
            f"{bare['net']:.2f} s ±{bare['spread']:.2f}",
            f"{stages['net'] / bare['net']:.2f}",
            f"{1e9 * stages['net'] / row['characters']:.1f}",
            f"{stages['memory']:,.0f} MiB",
        )
    return table


def plot(found: dict, path: pathlib.Path) -> None:
    """Time and memory over size, both axes logarithmic; no times that are lost in the spread."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(8, 6), height_ratios=(2, 1), sharex=True, layout="constrained"
    )
    sizes = [row["characters"] for row in found["sizes"]]
    lines = (("stages", "ExampleGen to SchemaGen", "#1a6fb5"), ("bare", "bare loop", "#b8bec6"))
    for kind, label, color in lines:
        seen = [row for row in found["sizes"] if row[kind]["net"] > row[kind]["spread"]]
        size, net = [row["characters"] for row in seen], [row[kind]["net"] for row in seen]
        above.loglog(size, net, "o-", color=color, label=label)
    memory = [row["stages"]["memory"] for row in found["sizes"]]
    below.semilogx(sizes, memory, "o-", color="#1a6fb5")
    below.set_ylim(0, 1.3 * max(memory))
    above.set_ylabel("seconds beyond start-up")
    below.set_ylabel("resident memory, MiB")
    below.set_xlabel(f"characters; {found['machine']}, {found['date']}")
    above.legend(frameon=False)
    for panel in (above, below):
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="#e4e7eb", linewidth=0.6)
    figure.savefig(path)
    pyplot.close(figure)


def _free_or_refuse(scratch, largest):
    free = shutil.disk_usage(scratch).free
    if free < SPARE * largest:
        raise InputError(
            f"{scratch} has {free / 1e9:.0f} GB free, {SPARE * largest / 1e9:.0f} are needed; "
            "choose another --scratch or a smaller --largest"
        )


@click.command(context_settings=command_line.CONTEXT)
@click.option(
    "--largest", type=click.FloatRange(1e6), default=1e8, show_default=True, help="Characters."
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Up to 10^8.")
@click.option("--scratch", default=None, help="Where corpora and records go; a temporary place.")
@click.option(
    "--flink",
    type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path),
    help="Where `make test-flink` installed Flink, to run the stages there, too.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    default=pathlib.Path("runs/benchmarks"),
    show_default=True,
    help="Where data.json and data.svg go.",
)
def main(largest, rounds, scratch, flink, output):
    """Time the data stages against a loop that only reads and writes, over sizes of a corpus."""
    sizes = [size for size in (10**power for power in range(6, 14)) if size <= largest]
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        directory = pathlib.Path(name)
        _free_or_refuse(directory, int(largest))
        found = {
            "machine": machine(),
            "date": datetime.date.today().isoformat(),
            "sizes": [],
            "windows": [],
        }
        for size in sizes:
            one = measure_size(directory, size, rounds if size <= COMPARED else 1)
            found["sizes"].append(one)
            if size == min(COMPARED, sizes[-1]):
                for streams, window in WINDOWS:
                    row = measure("windows", directory / "stages" / "root", streams, window, 5)
                    found["windows"].append({"streams": streams, "window": window, **row})
            shutil.rmtree(directory / "stages")
        if flink:
            found["flink"] = _on_flink(directory, flink, min(COMPARED, sizes[-1]))
    console.print(as_table(found["sizes"]))
    for row in found["windows"]:
        speed = row["characters_per_second"] / 1e6
        console.print(f"windows of {row['streams']} x {row['window']}: {speed:.1f} million/s")
    if "flink" in found:
        taken, direct = found["flink"]["seconds"], found["flink"]["direct"]["seconds"]
        console.print(
            f"on Flink: {taken:.1f} s, by DirectRunner: {direct:.1f} s, start-up included"
        )
    output.mkdir(parents=True, exist_ok=True)
    (output / "data.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    plot(found, output / "data.svg")


def _on_flink(directory, installed, size):
    """The stages on a cluster of this machine and by DirectRunner, one after the other."""
    corpus = directory / "corpus.txt"
    write_corpus(corpus, size)
    with flink_cluster(installed.resolve(), directory) as cluster:
        found = measure("stages", corpus, directory / "stages", *cluster.beam_options)
    return {**found, "direct": measure("stages", corpus, directory / "stages")}


if __name__ == "__main__":
    command_line.main(main)
