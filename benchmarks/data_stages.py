"""Measures the data stages, or a peer of them, once, in a process of its own.

    python -m benchmarks.data_stages stages CORPUS DIRECTORY [BEAM OPTION ...]
    python -m benchmarks.data_stages bare CORPUS DIRECTORY
    python -m benchmarks.data_stages windows ROOT STREAMS WINDOW SECONDS

Prints seconds and the peak resident memory in MiB as JSON.
"""

import itertools
import json
import os
import pathlib
import re
import shutil
import sys
import time

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
    from pipeline.data import corpus as corpora
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

    start = time.perf_counter()
    with open(corpus, "rb") as file:
        offset, writer = 0, None
        while text := file.read(BLOCK):
            if offset % BARE_SHARD == 0:
                if writer:
                    writer.close()
                path = os.path.join(directory, f"data_tfrecord-{offset // BARE_SHARD:05d}")
                writer = tf.io.TFRecordWriter(path)
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


def windows(root: str, streams: str, window: str, seconds: str) -> dict:
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
    read = read_ahead(split.training_windows(int(streams), int(window)).repeat())
    next(read)
    start, elapsed, count = time.perf_counter(), 0.0, 0
    while elapsed < float(seconds):
        count += next(read).size
        elapsed = time.perf_counter() - start
    return {"seconds": elapsed, "characters_per_second": count / elapsed}


def main() -> None:
    """Runs the measurement that the command line names."""
    name, *arguments = sys.argv[1:]
    if name != "windows":
        shutil.rmtree(arguments[1], ignore_errors=True)
        os.makedirs(arguments[1])
    measured = {"stages": stages, "bare": bare, "windows": windows}[name](*arguments)
    # ru_maxrss would include the process that started this one.
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    measured["memory"] = int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
