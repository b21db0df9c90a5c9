"""Documents as sentences of words: chapters and verses, or files and lines of a corpus."""

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

from experiments.data import datasets
from experiments.words.word_text import WORD
from model.errors import InputError
from model.text.word_vocabulary import WordVocabulary
from pipeline.data.records import read_records, shard_paths

Source = Literal["corpus", "bible"]

BIBLE: Final = "bible"
"""Name of the data set, and of its source."""
BIBLE_FILE = "en-web.tsv"

HELD_OUT = 10
"""One chapter of so many is to validate on, and one to test on."""


class DocumentConfig(NamedTuple):
    """How a text is cut into documents, sentences and words.

    Attributes:
      source: Where it comes from: "corpus", whose files are the documents and whose lines are the
        sentences, or "bible", whose chapters and verses are.
      documents: Largest number of documents to train on.
      held_out: Largest number of documents to validate on, and to test on.
      max_sentences: Number of sentences of a document that are read.
      max_words: Number of words of a sentence that are read.
      least_count: Number of occurrences in the training part from which on a word is known.
      max_size: Largest number of ids of the vocabulary. Default 4,000.
    """

    source: Source
    documents: int
    held_out: int
    max_sentences: int
    max_words: int
    least_count: int = 2
    max_size: int = 4_000


Document = list[np.ndarray]
"""The ids of the words of each sentence, int32, without an end."""


class DocumentText(NamedTuple):
    """A text as documents of ids, in three parts.

    Attributes:
      vocabulary: The most frequent words of the training part.
      train: Documents to train on.
      validation: Documents whose perplexity is followed during a training.
      test: Documents to measure.
      characters: Number of characters of the test part, an end of each sentence included.
    """

    vocabulary: WordVocabulary
    train: list[Document]
    validation: list[Document]
    test: list[Document]
    characters: int


class _Part(NamedTuple):
    """Documents as words, before there is a vocabulary."""

    documents: list[list[list[str]]]
    characters: int


def words_of(sentence: str, limit: int) -> tuple[list[str], int]:
    """Returns the first words of a sentence, and the number of characters up to their end.

    >>> words_of("In the beginning, God", 3)
    (['In', 'the', 'beginning'], 16)

    Args:
      sentence: The sentence.
      limit: Largest number of words.
    """
    found = list(itertools.islice(WORD.finditer(sentence), limit))
    return [one.group() for one in found], found[-1].end() if found else 0


def cut(documents: Iterable[Iterable[str]], count: int, config: DocumentConfig) -> _Part:
    """Returns the words of the first documents, without those that have fewer than two sentences.

    Args:
      documents: Sentences of each document.
      count: Largest number of documents.
      config: Largest numbers of sentences and of words.
    """
    found: list[list[list[str]]] = []
    characters = 0
    for document in documents:
        if len(found) == count:
            break
        sentences = [words_of(sentence, config.max_words) for sentence in document]
        sentences = [one for one in sentences if one[0]][: config.max_sentences]
        if len(sentences) > 1:
            found.append([words for words, _ in sentences])
            characters += sum(length + 1 for _, length in sentences)
    return _Part(found, characters)


@functools.lru_cache(maxsize=2)
def load(config: DocumentConfig, folder: str | None = None, examples: str = "") -> DocumentText:
    """Returns a text.

    Args:
      config: How it is cut.
      folder: Local copy of the data sets; see `datasets.read`.
      examples: Directory of the artifact of the corpus' examples, for the source "corpus".

    Raises:
      InputError: If a part has no documents, or no more than one word is frequent enough.
    """
    if config.source == BIBLE:
        parts = _chapters(folder)
    else:
        train, *held_out = (files_of(examples, split) for split in ("train", "eval", "eval"))
        halves = (itertools.islice(held_out[at], at, None, 2) for at in range(2))
        parts = (train, *halves)
    counts = config.documents, config.held_out, config.held_out
    return encode(
        [cut(part, count, config) for part, count in zip(parts, counts, strict=True)], config
    )


def encode(parts: Sequence[_Part], config: DocumentConfig) -> DocumentText:
    """Returns the parts of a text as ids.

    Args:
      parts: Training, validation and test part.
      config: The vocabulary's least count and largest size.

    Raises:
      InputError: If a part has no documents, or no more than one word is frequent enough.
    """
    for name, part in zip(("training", "validation", "test"), parts, strict=True):
        if not part.documents:
            raise InputError(
                f"the {name} part has no document of two sentences; give a corpus of more files, "
                "of several lines each, by --corpus"
            )
    lines = (" ".join(words) for document in parts[0].documents for words in document)
    vocabulary = WordVocabulary.of(lines, config.least_count, config.max_size)
    if len(vocabulary.words) < 2:
        raise InputError(
            f"the vocabulary has {len(vocabulary.words)} word(s) of at least {config.least_count} "
            "occurrences, and a language model needs two to choose from; give a longer text by "
            "--corpus"
        )
    train, validation, test = (
        [
            [np.array(vocabulary.ids(" ".join(words)), np.int32) for words in document]
            for document in part.documents
        ]
        for part in parts
    )
    return DocumentText(vocabulary, train, validation, test, parts[2].characters)


def files_of(examples: str, split: str) -> Iterator[list[str]]:
    """Yields the lines of each file of a split, which records name as their source.

    Args:
      examples: Directory of the artifact of the examples.
      split: Name of the split.
    """
    records = itertools.chain.from_iterable(map(read_records, shard_paths(examples, split)))
    for _, of_file in itertools.groupby(records, key=lambda record: record.source):
        yield b"".join(one.text for one in of_file).decode("utf-8", "replace").splitlines()


def _chapters(folder: str | None) -> tuple[Iterable[list[str]], ...]:
    """Returns the verses of the chapters to train, validate and test on, in order."""
    content = datasets.read(BIBLE, folder)[BIBLE_FILE].decode("utf-8")
    lines = [line.split("\t", 3) for line in content.splitlines()]
    chapters = [
        [verse for *_, verse in of_chapter]
        for _, of_chapter in itertools.groupby(lines, key=lambda line: line[:2])
    ]
    validation, test = HELD_OUT // 2, HELD_OUT - 1
    train = [one for at, one in enumerate(chapters) if at % HELD_OUT not in (validation, test)]
    return train, chapters[validation::HELD_OUT], chapters[test::HELD_OUT]
