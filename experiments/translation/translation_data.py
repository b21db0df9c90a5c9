"""Pairs of sentences to translate: files of parallel text, or pairs that are generated."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

from experiments.data import datasets
from model.errors import InputError
from model.text.word_vocabulary import END, WordVocabulary
from pipeline.data.pair_batches import TARGET_STEP, Vocabularies, grouped_by_length
from pipeline.data.windows import without_autotune

Source = Literal["tanaka-ja-en", "generated"]

MAX_WORDS = 50
"""Largest number of words of a sentence, on either side, that is not skipped."""


class Pairs(NamedTuple):
    """Sentences and their translations.

    Attributes:
      sources: The sentences, of words between single spaces.
      targets: The translations.
      skipped: What was skipped, as a sentence; "" for nothing.
    """

    sources: list[str]
    targets: list[str]
    skipped: str = ""


class Corpus(NamedTuple):
    """Pairs of sentences in three parts.

    Attributes:
      train: Pairs to train on.
      dev: Pairs whose perplexity is followed during a training.
      test: Pairs to measure.
    """

    train: Pairs
    dev: Pairs
    test: Pairs


class EncodedPairs(NamedTuple):
    """Pairs of sentences as ids.

    Attributes:
      sources: Ids of the sentences, `[pairs, longest]`, int32, 0 after the last word.
      targets: Ids of the translations, each ended by `END`, `[pairs, longest + 1]`, int32, 0 after
        that. Its size is a multiple of `TARGET_STEP`.
    """

    sources: np.ndarray
    targets: np.ndarray


@functools.cache
def load(source: Source, folder: str | None = None) -> Corpus:
    """Returns the pairs.

    Args:
      source: The data set, or "generated" for pairs that need none.
      folder: Local copy of the data set; see `datasets.read`.
    """
    if source == "generated":
        return _generated()
    *_, first, second = source.split("-")
    files = datasets.read(source, folder)
    train, dev, test = (
        read_pairs(files, f"{part}.{first}", f"{part}.{second}") for part in Corpus._fields
    )
    return Corpus(train, dev, test)


def read_pairs(
    files: Mapping[str, bytes], source: str, target: str, max_words: int = MAX_WORDS
) -> Pairs:
    """Reads parallel text: line n of one file is the translation of line n of the other.

    Pairs of which a side is empty or too long are skipped, and counted.

    >>> read_pairs({"a.en": b"one\\n\\ntwo", "a.fr": b"un\\nx\\ndeux"}, "a.en", "a.fr")
    ... # doctest: +NORMALIZE_WHITESPACE
    Pairs(sources=['one', 'two'], targets=['un', 'deux'],
          skipped='skipped: 1 pair with an empty side, the first at a.en, line 2')

    Args:
      files: Contents of files by name.
      source: Name of the file of the sentences.
      target: Name of the file of their translations.
      max_words: Largest number of words on either side.

    Raises:
      InputError: If the files are not UTF-8 or differ in the number of lines.
    """
    sources, targets = (_lines(files[name], name) for name in (source, target))
    if len(sources) != len(targets):
        shorter, longer = sorted((source, target), key=lambda name: len(_lines(files[name], name)))
        line = min(len(sources), len(targets)) + 1
        raise InputError(
            f"{longer}, line {line}: {shorter} has no such line, and so no translation of it; give "
            f"files with as many lines ({source} has {len(sources):,}, {target} {len(targets):,})"
        )
    kept: list[tuple[str, str]] = []
    skipped: dict[str, list[str]] = {}
    for number, sides in enumerate(zip(sources, targets, strict=True), 1):
        counts = [len(side.split()) for side in sides]
        problem = ""
        if 0 in counts:
            problem, place = "with an empty side", counts.index(0)
        elif max(counts) > max_words:
            problem, place = f"of more than {max_words} words", counts.index(max(counts))
        if problem:
            name = (source, target)[place]
            skipped.setdefault(problem, []).append(f"{name}, line {number}")
        else:
            kept.append((" ".join(sides[0].split()), " ".join(sides[1].split())))
    notes = [
        f"{len(lines):,} pair{'s' * (len(lines) > 1)} {problem}, the first at {lines[0]}"
        for problem, lines in skipped.items()
    ]
    return Pairs(
        sources=[one for one, _ in kept],
        targets=[one for _, one in kept],
        skipped=f"skipped: {'; '.join(notes)}" if notes else "",
    )


def _lines(content: bytes, name: str) -> list[str]:
    """Returns the lines of a file in UTF-8, of which the last may lack its end."""
    lines = content.split(b"\n")
    texts = []
    for number, line in enumerate(lines[:-1] if not lines[-1] else lines, 1):
        try:
            texts.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name}, line {number} is not UTF-8 ({error.reason}); convert the file"
            ) from error
    return texts


def _generated() -> Corpus:
    """Returns sentences of three to six numbers, whose translations count backwards."""
    random = np.random.default_rng(0)
    numbers = {"one": "un", "two": "deux", "three": "trois", "four": "quatre", "five": "cinq"}
    numbers |= {"six": "six", "seven": "sept", "eight": "huit", "nine": "neuf", "ten": "dix"}
    pairs = []
    for _ in range(1_700):
        words = [str(word) for word in random.choice(list(numbers), size=random.integers(3, 7))]
        pairs.append((" ".join(words), " ".join(numbers[word] for word in reversed(words))))
    train, dev, test = (
        Pairs([one for one, _ in part], [one for _, one in part])
        for part in (pairs[:1_500], pairs[1_500:1_600], pairs[1_600:])
    )
    return Corpus(train, dev, test)


def vocabularies_of(pairs: Pairs, least_count: int) -> Vocabularies:
    """Returns the vocabularies of the pairs to train on.

    Args:
      pairs: The pairs.
      least_count: Number of occurrences from which on a word is known.
    """
    return Vocabularies(
        WordVocabulary.of(pairs.sources, least_count), WordVocabulary.of(pairs.targets, least_count)
    )


def encode(pairs: Pairs, vocabularies: Vocabularies) -> EncodedPairs:
    """Returns pairs as ids.

    Args:
      pairs: The pairs.
      vocabularies: Their vocabularies.
    """
    sources = [vocabularies.source.ids(one) for one in pairs.sources]
    targets = [[*vocabularies.target.ids(one), END] for one in pairs.targets]
    return EncodedPairs(_padded(sources, 1), _padded(targets, TARGET_STEP))


def _padded(sentences: Sequence[Sequence[int]], step: int) -> np.ndarray:
    """Returns sentences as one array, whose width is a multiple of a step."""
    longest = max(map(len, sentences))
    padded = np.zeros([len(sentences), -(-longest // step) * step], np.int32)
    for row, sentence in zip(padded, sentences, strict=True):
        row[: len(sentence)] = sentence
    return padded


def training_batches(
    pairs: EncodedPairs, batch_size: int, seed: int | Sequence[int]
) -> tf.data.Dataset:
    """Returns the batches of one pass, in an order that is a pure function of the seed.

    Args:
      pairs: The pairs.
      batch_size: Largest number of pairs of a batch.
      seed: Seed of the pass.

    Returns:
      A dataset as of `grouped_by_length`.
    """
    # The order of `Dataset.shuffle` would depend on TensorFlow's global seed, too.
    order = np.random.default_rng(seed).permutation(len(pairs.sources))
    data = tf.data.Dataset.from_tensor_slices(tuple(part[order] for part in pairs))
    return without_autotune(grouped_by_length(data, batch_size).prefetch(2))


def groups_by_length(sources: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Yields the places of sentences of one length, those of all lengths in turn.

    Args:
      sources: Source ids, `[pairs, longest]`, 0 after the last word.
      batch_size: Largest number of places at once.
    """
    lengths = np.count_nonzero(sources, axis=1)
    for length in np.unique(lengths):
        places = np.flatnonzero(lengths == length)
        for first in range(0, len(places), batch_size):
            yield places[first : first + batch_size]
