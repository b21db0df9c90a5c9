"""Measures the data stages, or a peer of them, once: `python -m benchmarks.data_stages`.

`benchmarks.data` runs it in a process of its own for each measurement.
"""

import itertools
import json
import os
import pathlib
import re
import shutil
import time

import click

from common import command_line
from common.commands import Group

BLOCK = 1 << 16
"""Bytes of a record."""
BARE_SHARD = 1 << 23
"""Bytes of a shard, as ExampleGen writes them at 10^8 characters."""


def stages(corpus: str, directory: str, *beam_options: str) -> dict:
    """Times ExampleGen, StatisticsGen and SchemaGen; their start-up is the time of a tiny corpus.

    Args:
      corpus: Path of the corpus.
      directory: Directory for the artifacts.
      *beam_options: Options of Beam.
    """
    from pipeline.corpora import corpus as corpora
    from pipeline.settings import DataConfig
    from pipeline.stages import example_gen, schema_gen, statistics_gen
    from pipeline.store.artifacts import Store

    def run(path: str, root: str) -> list[float]:
        store = Store(root)
        times = [time.perf_counter()]
        with store.writing():
            resolved = corpora.resolve(path)
            examples = example_gen.run(store, resolved, DataConfig(), beam_options)
            times.append(time.perf_counter())
            statistics = statistics_gen.run(store, examples, "bytes", beam_options)
            times.append(time.perf_counter())
            schema_gen.run(store, statistics)
            times.append(time.perf_counter())
        return [after - before for before, after in itertools.pairwise(times)]

    line = os.path.join(directory, "line.txt")
    with open(line, "w", encoding="utf-8") as file:
        file.write("a line of text, again and again\n" * 10)
    roots = [os.path.join(directory, name) for name in ("first", "start_up", "root")]
    run(line, roots[0])
    start_up = run(line, roots[1])
    seconds = run(corpus, roots[2])
    return {
        "seconds": sum(seconds),
        "start_up": sum(start_up),
        "stages": dict(zip(("ExampleGen", "StatisticsGen", "SchemaGen"), seconds, strict=True)),
    }


def bare(corpus: str, directory: str) -> dict:
    """Times a loop that reads the corpus and writes the same records with TensorFlow's writer.

    Args:
      corpus: Path of the corpus.
      directory: Directory for the records.
    """
    import google_crc32c
    import tensorflow as tf

    def open_shard(number: int) -> tf.io.TFRecordWriter:
        return tf.io.TFRecordWriter(os.path.join(directory, f"data_tfrecord-{number:05d}"))

    start = time.perf_counter()
    with open(corpus, "rb") as file:
        offset, writer = 0, open_shard(0)
        while text := file.read(BLOCK):
            if offset and offset % BARE_SHARD == 0:
                writer.close()
                writer = open_shard(offset // BARE_SHARD)
            example = tf.train.Example()
            feature = example.features.feature
            feature["text"].bytes_list.value.append(text)
            feature["source"].bytes_list.value.append(b"corpus.txt")
            feature["offset"].int64_list.value.append(offset)
            feature["length"].int64_list.value.append(len(text))
            feature["crc32c"].int64_list.value.append(google_crc32c.value(text))
            writer.write(example.SerializeToString())
            offset += len(text)
        writer.close()
    return {"seconds": time.perf_counter() - start}


def windows(root: str, streams: int, window: int, seconds: float) -> dict:
    """Measures the characters per second that tf.data delivers in windows, as to a training.

    Args:
      root: Root of a store with examples.
      streams: Number of streams.
      window: Length of a window.
      seconds: Seconds to measure.
    """
    from pipeline.data.windows import StreamedSplit, read_ahead
    from pipeline.stages import example_gen, schema_gen, trainer
    from pipeline.store.artifacts import Store

    store = Store(root)
    vocabulary = trainer.read_text_vocabulary(store.latest(schema_gen.NAME))
    split = StreamedSplit.open(store.latest(example_gen.NAME).path, "train", vocabulary)
    read = read_ahead(split.training_windows(streams, window).repeat())
    next(read)
    start, elapsed, count = time.perf_counter(), 0.0, 0
    while elapsed < seconds:
        count += next(read).size
        elapsed = time.perf_counter() - start
    return {"seconds": elapsed, "characters_per_second": count / elapsed}


@click.group(cls=Group, example="python -m benchmarks.data_stages bare README.md records")
def commands() -> None:
    """Measure once, and print seconds and the peak resident memory in MiB as JSON."""


@commands.command(
    "stages",
    context_settings={"ignore_unknown_options": True},
    example="python -m benchmarks.data_stages stages README.md artifacts --direct_num_workers=1",
)
@click.argument("corpus")
@click.argument("directory")
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)
def _stages(corpus: str, directory: str, beam_options: tuple[str, ...]) -> None:
    """Time ExampleGen, StatisticsGen and SchemaGen on CORPUS, in a DIRECTORY that is emptied."""
    _empty(directory)
    _print(stages(corpus, directory, *beam_options))


@commands.command("bare", example="python -m benchmarks.data_stages bare README.md records")
@click.argument("corpus")
@click.argument("directory")
def _bare(corpus: str, directory: str) -> None:
    """Time a loop that writes the records of CORPUS into a DIRECTORY that is emptied."""
    _empty(directory)
    _print(bare(corpus, directory))


@commands.command("windows", example="python -m benchmarks.data_stages windows runs 32 32 5")
@click.argument("root")
@click.argument("streams", type=int)
@click.argument("window", type=int)
@click.argument("seconds", type=float)
def _windows(root: str, streams: int, window: int, seconds: float) -> None:
    """Measure how fast the examples of ROOT are delivered in STREAMS of WINDOW characters."""
    _print(windows(root, streams, window, seconds))


def _empty(directory: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)


def _print(measured: dict) -> None:
    # ru_maxrss would include the process that started this one.
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    (peak,) = re.findall(r"VmHWM:\s*(\d+) kB", status)
    print(json.dumps({**measured, "memory": int(peak) / 1024}))


if __name__ == "__main__":
    command_line.main(commands, resumes=False)
