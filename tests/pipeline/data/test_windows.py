"""Windows, compared with slices of the text."""

import dataclasses
import functools
import os
import threading

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator
from servers import wait_until

from model.text.code_points import TextVocabulary
from pipeline.corpora import corpus
from pipeline.data import layout
from pipeline.data.windows import StreamedSplit
from pipeline.settings import DataConfig
from pipeline.stages import example_gen


def expected_windows(ids, streams, window):
    length = len(ids) // streams
    rows = ids[: streams * length].reshape(streams, length)
    return [rows[:, n * window : (n + 1) * window] for n in range(length // window)]


def examples_of(store, directory, size, shards, unit):
    """Returns the ids of a text, and its training split from ExampleGen."""
    text = "".join(generator().choice(list("ab\nßé漢𝄞"), size=size))
    path = directory / "text.txt"
    path.write_text(text, encoding="utf-8", newline="")
    with store.writing():
        artifact = example_gen.run(
            store, corpus.resolve(str(path)), DataConfig(train_fraction=0.95, shards=shards)
        )
    codes = list(text.encode()) if unit == "bytes" else list(map(ord, text))
    vocabulary = TextVocabulary.of(unit, codes)
    split = StreamedSplit.open(artifact.path, "train", vocabulary)
    return np.searchsorted(vocabulary.code_points, codes[: split.total]), split


@pytest.fixture(scope="module", params=["bytes", "unicode"])
def text_and_split(request, store, tmp_path_factory):
    return examples_of(store, tmp_path_factory.mktemp("text"), 150_000, 5, request.param)


@pytest.mark.parametrize("scheme", ["", "file://"])
@pytest.mark.parametrize("streams,window", [(1, 1000), (7, 333), (16, 50)])
def test_windows_match_the_text(text_and_split, streams, window, scheme):
    ids, split = text_and_split
    split = dataclasses.replace(split, paths=tuple(scheme + path for path in split.paths))
    expected = expected_windows(ids, streams, window)
    actual = list(split.training_windows(streams, window).as_numpy_iterator())
    assert split.windows_per_epoch(streams, window) == len(actual) == len(expected)
    np.testing.assert_array_equal(actual, expected)


def test_reading_starts_anywhere(text_and_split):
    ids, split = text_and_split
    expected = expected_windows(ids, 4, 100)[57:]
    actual = list(split.training_windows(4, 100, start=57).as_numpy_iterator())
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("unit", ["bytes", pytest.param("unicode", marks=pytest.mark.slow)])
def test_records_before_a_stream_are_skipped(unit, store, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "BLOCK", 8)
    ids, split = examples_of(store, tmp_path, 30, 1, unit)
    for start in range(6, 18):
        actual = next(split.training_windows(1, 1, start).as_numpy_iterator())
        np.testing.assert_array_equal(actual, [[ids[start]]])


@pytest.mark.parametrize("streams", [1, 3, 64])
@pytest.mark.parametrize("characters", [0, 5, 1234])
def test_evaluation_covers_every_character_once(text_and_split, streams, characters):
    ids, split = text_and_split
    dataset, count = split.evaluation_windows(streams, 77, characters)
    windows = list(dataset.as_numpy_iterator())
    assert len(windows) == count
    joined = np.concatenate(windows, axis=1)
    np.testing.assert_array_equal(joined[joined >= 0], ids[: characters or None])


def test_remote_streams_are_read_in_parallel(tmp_path):
    """Opening a pipe waits for its other side, as a remote read waits for its answer."""
    pipes = [tmp_path / f"shard-{number}" for number in range(5)]
    list(map(os.mkfifo, pipes))
    split = StreamedSplit(
        tuple(f"file://{pipe}" for pipe in pipes),
        tuple(range(0, 500, 100)),
        500,
        TextVocabulary.of("bytes", [0]),
    )
    writers = []

    def answer(pipe):
        writers.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        return True

    answering = threading.Thread(
        target=lambda: [wait_until(functools.partial(answer, pipe)) for pipe in pipes]
    )
    answering.start()
    with pytest.raises(tf.errors.InvalidArgumentError, match="seek"):  # it is but a pipe
        list(split.training_windows(5, 100))
    answering.join()
    assert len(list(map(os.close, writers))) == 5
