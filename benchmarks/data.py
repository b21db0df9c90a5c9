"""Benchmark of the data stages on 10^6 to 10^10 characters: `python -m benchmarks.data`.

The corpus is the Python sources that are installed with this project. Sizes beyond theirs repeat
them, each time from another offset, so that no two blocks are equal.
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
from typing import NotRequired, TypedDict

import click
import rich.table

from benchmarks.flink_cluster import flink_cluster
from common import command_line
from common.commands import Command
from common.machine import machine
from common.pictures import save_svg
from common.progress import output as printed
from common.progress import progress_bar
from model.errors import InputError

REPEATED_UP_TO = 10**8
"""Largest number of characters that is measured in several rounds."""
SOURCE_SIZE = 10**8
"""Number of characters of the sources that larger corpora repeat."""
OFFSET = 1_000_003
"""Offset between the starts of two repetitions in characters, a prime."""
WINDOWS = ((32, 32), (50, 50), (64, 1000))
"""Streams and lengths of the windows that are timed."""
TITLE = "Seconds and memory that the data stages take, over the size of the corpus."
"""What the plot shows, for those that do not see it."""
DISK_FACTOR = 3
"""Free disk space that a corpus requires, as a multiple of its size."""


def sources(size: int) -> bytes:
    """Returns the beginning of the installed Python sources, concatenated in order of path.

    Args:
      size: Number of characters.
    """
    root = pathlib.Path(sysconfig.get_path("purelib"))
    text = bytearray()
    for path in sorted(root.rglob("*.py")):
        text += path.read_bytes()
        if len(text) >= size:
            return bytes(text[:size])
    raise InputError(f"{root} has only {len(text):,} characters of Python; install all of it")


def write_corpus(path: pathlib.Path, size: int) -> None:
    """Writes a corpus.

    Args:
      path: Path of the file.
      size: Number of characters.
    """
    text = sources(min(size, SOURCE_SIZE))
    with path.open("wb") as file, progress_bar(f"Writing {size:,} characters", "bytes") as progress:
        for number, written in enumerate(range(0, size, len(text))):
            start = number * OFFSET % len(text)
            file.write((text[start:] + text[:start])[: size - written])
            progress(written, size)


def measure(*arguments: object) -> dict:
    """Runs one measurement in a process of its own; see `data_stages` for the arguments."""
    command = [sys.executable, "-m", "benchmarks.data_stages", *map(str, arguments)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise InputError(f"{' '.join(command)} failed: {finished.stderr.strip()[-500:]}")
    return json.loads(finished.stdout.splitlines()[-1])


def median_of(rounds: list[dict]) -> dict:
    """Returns the median of several measurements.

    Args:
      rounds: Measurements.

    Returns:
      The last measurement with `net`, the median of the seconds without start-up, `spread`, half of
      their range, and `memory`, the largest.
    """
    seconds = [row["seconds"] - row.get("start_up", 0.0) for row in rounds]
    return {
        **rounds[-1],
        "net": statistics.median(seconds),
        "spread": (max(seconds) - min(seconds)) / 2,
        "memory": max(row["memory"] for row in rounds),
    }


def measure_size(scratch: pathlib.Path, size: int, rounds: int) -> dict:
    """Measures the stages and the bare loop in turns, on a corpus of a size.

    Args:
      scratch: Directory for the corpus and what is written.
      size: Number of characters.
      rounds: Number of measurements of each.
    """
    corpus = scratch / "corpus.txt"
    write_corpus(corpus, size)
    measured: dict[str, list[dict]] = {"stages": [], "bare": []}
    for _ in range(rounds):
        for subject, rows in measured.items():
            rows.append(measure(subject, corpus, scratch / subject))
            if subject == "bare":
                shutil.rmtree(scratch / subject)
    return {"characters": size, **{name: median_of(rows) for name, rows in measured.items()}}


class Results(TypedDict):
    """The content of data.json.

    Attributes:
      machine: Description of the machine.
      date: Date of the measurement, ISO 8601.
      sizes: What `measure_size` returns, for each size.
      windows: Characters per second of each kind of window, with its streams and its length.
      flink: Measurements on a Flink cluster; absent without one.
    """

    machine: str
    date: str
    sizes: list[dict]
    windows: list[dict]
    flink: NotRequired[dict]


def as_table(sizes: list[dict]) -> rich.table.Table:
    """Returns a table with a row per size."""
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


def plot(results: Results, path: pathlib.Path) -> None:
    """Plots time and memory over size, on logarithmic axes, without times below their spread.

    Args:
      results: Content of data.json.
      path: Path of the SVG.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(8, 6), height_ratios=(2, 1), sharex=True, layout="constrained"
    )
    sizes = [row["characters"] for row in results["sizes"]]
    lines = (("stages", "ExampleGen to SchemaGen", "#1a6fb5"), ("bare", "bare loop", "#b8bec6"))
    for subject, label, color in lines:
        rows = [row for row in results["sizes"] if row[subject]["net"] > row[subject]["spread"]]
        size, net = [row["characters"] for row in rows], [row[subject]["net"] for row in rows]
        above.loglog(size, net, "o-", color=color, label=label)
    memory = [row["stages"]["memory"] for row in results["sizes"]]
    below.semilogx(sizes, memory, "o-", color="#1a6fb5")
    below.set_ylim(0, 1.3 * max(memory))
    above.set_ylabel("seconds beyond start-up")
    below.set_ylabel("resident memory, MiB")
    below.set_xlabel(f"characters; {results['machine']}, {results['date']}")
    above.legend(frameon=False)
    for panel in (above, below):
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="#e4e7eb", linewidth=0.6)
    save_svg(figure, path, TITLE)
    pyplot.close(figure)


def _require_free_disk(scratch: pathlib.Path, largest: int) -> None:
    free = shutil.disk_usage(scratch).free
    required = DISK_FACTOR * largest
    if free < required:
        raise InputError(
            f"{scratch} has {free / 1e9:.0f} GB free, {required / 1e9:.0f} are needed; "
            "choose another --scratch or a smaller --largest"
        )


@click.command(cls=Command, example="python -m benchmarks.data --largest 1e7 --rounds 3")
@click.option(
    "--largest",
    type=click.FloatRange(1e6),
    default=1e8,
    show_default=True,
    help="Largest number of characters.",
)
@click.option(
    "--rounds", type=click.IntRange(1), default=5, show_default=True, help="Rounds, up to 10^8."
)
@click.option(
    "--scratch", default=None, help="Directory of corpora and records; default: temporary."
)
@click.option(
    "--flink",
    type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path),
    help="Folder of the Flink that `make test-flink` installed, to run the stages there, too.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    default=pathlib.Path("runs/benchmarks"),
    show_default=True,
    help="Folder of data.json and data.svg.",
)
def main(
    largest: float,
    rounds: int,
    scratch: str | None,
    flink: pathlib.Path | None,
    output: pathlib.Path,
) -> None:
    """Time the data stages against a loop that only reads and writes, on corpora of many sizes."""
    sizes = [size for size in (10**power for power in range(6, 14)) if size <= largest]
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        directory = pathlib.Path(name)
        _require_free_disk(directory, int(largest))
        results: Results = {
            "machine": machine(),
            "date": datetime.date.today().isoformat(),
            "sizes": [],
            "windows": [],
        }
        for size in sizes:
            repeated = size <= REPEATED_UP_TO
            row = measure_size(directory, size, rounds if repeated else 1)
            results["sizes"].append(row)
            if size == min(REPEATED_UP_TO, sizes[-1]):
                for streams, window in WINDOWS:
                    row = measure("windows", directory / "stages" / "root", streams, window, 5)
                    results["windows"].append({"streams": streams, "window": window, **row})
            shutil.rmtree(directory / "stages")
        if flink:
            results["flink"] = _on_flink(directory, flink, min(REPEATED_UP_TO, sizes[-1]))
    printed.print(as_table(results["sizes"]))
    for row in results["windows"]:
        speed = row["characters_per_second"] / 1e6
        printed.print(f"windows of {row['streams']} x {row['window']}: {speed:.1f} million/s")
    if "flink" in results:
        seconds, direct = results["flink"]["seconds"], results["flink"]["direct"]["seconds"]
        printed.print(
            f"on Flink: {seconds:.1f} s, by DirectRunner: {direct:.1f} s, start-up included"
        )
    output.mkdir(parents=True, exist_ok=True)
    (output / "data.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(results, output / "data.svg")


def _on_flink(directory: pathlib.Path, installed: pathlib.Path, size: int) -> dict:
    """Measures the stages on a cluster of this machine, and then by DirectRunner."""
    corpus = directory / "corpus.txt"
    write_corpus(corpus, size)
    with flink_cluster(installed.resolve(), directory) as cluster:
        measured = measure("stages", corpus, directory / "stages", *cluster.beam_options)
    return {**measured, "direct": measure("stages", corpus, directory / "stages")}


if __name__ == "__main__":
    command_line.main(main, resumes=False)
