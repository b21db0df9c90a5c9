"""The text of baselines: the characters that the Evaluator counts, up to a limit."""

import numpy as np
import pytest
from conftest import text_of, words
from seeds import generator

from model.text.code_points import TextVocabulary
from pipeline.baselines.texts import read_text
from pipeline.corpora import corpus
from pipeline.corpora.discovery import Rules
from pipeline.data.windows import StreamedSplit
from pipeline.settings import DataConfig
from pipeline.stages import example_gen

UNITS = ("bytes", "unicode")


@pytest.fixture(scope="module")
def mixed(store, tmp_path_factory):
    """Examples of a text with characters of one to four bytes, in several shards and records."""
    text = words(5, 150_000).translate(str.maketrans("ridg", "ü漢𝄞g"))
    path = tmp_path_factory.mktemp("texts") / "mixed.txt"
    path.write_text(text, newline="")
    with store.writing():
        return example_gen.run(
            store, corpus.resolve(str(path)), DataConfig(train_fraction=0.6, shards=3)
        )


def vocabulary_of(unit, text):
    return TextVocabulary.of(unit, text if unit == "bytes" else map(ord, text.decode()))


def ids_of(vocabulary, text):
    """The ids of the characters of a text that are known, by TensorFlow."""
    ids = vocabulary.encode_scalar(text).numpy()
    return ids[ids < vocabulary.size]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_split_is_read_up_to_a_limit_from_either_end(mixed, unit, split):
    text = text_of(mixed, split)
    vocabulary = vocabulary_of(unit, text)
    ids = ids_of(vocabulary, text)
    for limit in (1, int(generator().integers(2, len(ids))), len(ids), 10 * len(ids)):
        left_out = max(0, len(ids) - limit)
        first = read_text(mixed.path, split, vocabulary, limit)
        np.testing.assert_array_equal(first.ids, ids[:limit])
        last = read_text(mixed.path, split, vocabulary, limit, from_end=True)
        np.testing.assert_array_equal(last.ids, ids[-limit:])
        assert first.left_out == last.left_out == left_out


@pytest.mark.parametrize("unit", UNITS)
def test_the_characters_are_those_that_the_evaluator_counts(mixed, unit):
    """Those that the vocabulary lacks do not count: `character_losses` leaves them out as well."""
    train = text_of(mixed, "train")
    vocabulary = vocabulary_of(unit, train.replace(b"w", b"").replace("漢".encode(), b""))
    read = read_text(mixed.path, "eval", vocabulary, 10**9)
    windows, _ = StreamedSplit.open(mixed.path, "eval", vocabulary).evaluation_windows(1, 100)
    ids = np.concatenate([window.ravel() for window in windows.as_numpy_iterator()])
    counted = ids[(ids >= 0) & (ids < vocabulary.size)]
    assert 0 < len(counted) < len(vocabulary.encode_scalar(text_of(mixed, "eval")))
    np.testing.assert_array_equal(read.ids, counted)


def test_all_byte_values_are_told_apart(store, tmp_path):
    content = bytes(range(256)) * 20
    path = tmp_path / "bytes.bin"
    path.write_bytes(content)
    with store.writing():
        examples = example_gen.run(
            store, corpus.resolve(str(path), Rules(allow_binary=True)), DataConfig()
        )
    vocabulary = TextVocabulary.of("bytes", range(1, 256))
    expected = [byte - 1 for byte in text_of(examples, "train") if byte]
    assert read_text(examples.path, "train", vocabulary, 10**6).ids.tolist() == expected
