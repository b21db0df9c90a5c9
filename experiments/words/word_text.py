"""Texts as words, cut from a corpus or generated; their vocabulary, and the spelling of each."""

import functools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from model.errors import InputError
from model.text.word_vocabulary import END, UNKNOWN, UNKNOWN_WORD, WordVocabulary
from model.words.spelling import SENTENCE_END, Spelling
from pipeline.data.records import read_records, shard_paths

Source = Literal["corpus", "generated"]

WORD = re.compile(r"\w+|[^\w\s]")
"""A word of a corpus: letters, digits and underscores in a row, or one other character."""

BYTES_PER_WORD = 32
"""Number of bytes per word that are read at most: lines of text have about 6, of programs 10."""


class TextConfig(NamedTuple):
    """How a text is cut into words.

    Attributes:
      source: Where it comes from: "corpus", or "generated" for a text that needs none.
      words: Largest number of words to train on, ends of lines included.
      least_count: Number of occurrences in the training part from which on a word is known.
      max_size: Largest number of ids of the vocabulary, over which the softmax is. Default 10,000.
      max_length: Largest number of characters of a word that is not cut. Default 24.
    """

    source: Source
    words: int
    least_count: int
    max_size: int = 10_000
    max_length: int = 24


class Parts(NamedTuple):
    """The words of a text in three parts, with `SENTENCE_END` after each line.

    Attributes:
      train: Words to train on.
      validation: Words whose perplexity is followed during a training.
      test: Words to measure.
    """

    train: Sequence[str]
    validation: Sequence[str]
    test: Sequence[str]


class WordText(NamedTuple):
    """A text as ids of distinct words, of which those of the vocabulary come first.

    As an input of a model with characters each has a spelling of its own. As a target, and as an
    input from a table, those after the vocabulary are `UNKNOWN`.

    Attributes:
      vocabulary: The vocabulary, the most frequent words of the training part.
      spelling: The characters of the training part.
      words: The distinct words of all parts by id; "" for ids that stand for none.
      counts: Number of occurrences of each distinct word in the training part, `[words]`.
      train: Ids of the training part, `[length]`, int32.
      validation: Ids of the validation part.
      test: Ids of the test part.
    """

    vocabulary: WordVocabulary
    spelling: Spelling
    words: list[str]
    counts: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def table(self) -> np.ndarray:
        """Returns the spelling of each distinct word, `[words, longest]`, int32."""
        return self.spelling.table(self.words)

    def known(self, ids: np.ndarray) -> np.ndarray:
        """Returns ids with `UNKNOWN` in place of words that the vocabulary lacks.

        Args:
          ids: Ids of distinct words.
        """
        return np.where(ids < self.vocabulary.size, ids, UNKNOWN)


def words_of(text: str) -> Iterator[str]:
    """Yields the words of a text, and `SENTENCE_END` after each line that has any.

    >>> list(words_of("It's time_out.\\n\\n  Go"))
    ['It', "'", 's', 'time_out', '.', '\\n', 'Go', '\\n']

    Args:
      text: The text.
    """
    for line in text.splitlines():
        words = WORD.findall(line)
        if words:
            yield from words
            yield SENTENCE_END


@functools.lru_cache(maxsize=2)
def load(config: TextConfig, examples: str = "") -> WordText:
    """Returns a text.

    Args:
      config: How it is cut into words.
      examples: Directory of the artifact of the corpus' examples; not used for a generated text.

    Raises:
      InputError: If it has no words, or no more than one word that is frequent enough.
    """
    if config.source == "generated":
        return encode(_generated(config.words), config)
    train = _read(examples, "train", config.words)
    held_out = _read(examples, "eval", config.words // 5)
    half = len(held_out) // 2
    return encode(Parts(train, held_out[:half], held_out[half:]), config)


def _read(examples: str, split: str, words: int) -> list[str]:
    """Returns the first words of a split."""
    parts: list[bytes] = []
    left = words * BYTES_PER_WORD
    for path in shard_paths(examples, split):
        for record in read_records(path):
            if left > 0:
                parts.append(record.text[:left])
                left -= len(record.text)
        if left <= 0:
            break
    return list(words_of(b"".join(parts).decode("utf-8", "replace")))[:words]


def encode(parts: Parts, config: TextConfig) -> WordText:
    """Returns a text as ids.

    Args:
      parts: Its words.
      config: The vocabulary's least count and largest size, and the largest length of a word.

    Raises:
      InputError: If the training part has no words, or no more than one that is frequent enough.
    """
    counted = Counter(parts.train)
    if len(counted) - (SENTENCE_END in counted) == 0:
        raise InputError("the text has no words; give one with letters or digits by --corpus")
    vocabulary = WordVocabulary.of([" ".join(parts.train)], config.least_count, config.max_size)
    if len(vocabulary.words) < 2:
        raise InputError(
            f"the vocabulary has {len(vocabulary.words)} word(s) of at least {config.least_count} "
            "occurrences, and a language model needs two to choose from; give a longer text by "
            "--corpus"
        )
    words = ["", "", SENTENCE_END, UNKNOWN_WORD, *vocabulary.words]
    ids = {word: place for place, word in enumerate(words) if word and place != UNKNOWN}
    for part in parts:
        for word in part:
            if word not in ids:
                ids[word] = len(words)
                words.append(word)
    train, validation, test = (np.array([ids[word] for word in part], np.int32) for part in parts)
    return WordText(
        vocabulary=vocabulary,
        spelling=Spelling.of(counted, config.max_length),
        words=words,
        counts=np.bincount(train, minlength=len(words)),
        train=train,
        validation=validation,
        test=test,
    )


class Streams(NamedTuple):
    """A part of a text as contiguous streams, the rows of batches.

    Attributes:
      inputs: Ids of the word before each target, `[streams, steps]`, int32; `END` before the first
        word of the part.
      targets: Ids of the words to predict, `[streams, steps]`, int32.
    """

    inputs: np.ndarray
    targets: np.ndarray

    def windows(self, length: int) -> Iterator["Streams"]:
        """Yields windows of all streams, in order.

        Args:
          length: Number of words of a window.
        """
        for first in range(0, self.targets.shape[1], length):
            window = slice(first, first + length)
            yield Streams(self.inputs[:, window], self.targets[:, window])


def streams_of(ids: np.ndarray, count: int, window: int) -> Streams:
    """Returns a part of a text as streams of whole windows.

    What does not fill a window of all streams, less than `count * window` words at the end, is left
    out.

    Args:
      ids: Ids of the part, `[length]`.
      count: Number of streams.
      window: Number of words of a window.
    """
    steps = len(ids) // (count * window) * window
    before = np.concatenate([np.array([END], np.int32), ids[:-1]])
    shape = count, steps
    return Streams(*(part[: count * steps].reshape(shape) for part in (before, ids)))


def require_windows(text: WordText, streams: int, window: int) -> None:
    """Checks that a text is long enough.

    Args:
      text: The text.
      streams: Number of streams of a batch.
      window: Number of words of a window.

    Raises:
      InputError: If a part has no window of all streams.
    """
    for name in ("train", "validation", "test"):
        length = len(getattr(text, name))
        if length < streams * window:
            raise InputError(
                f"the {name} part of the text has {length:,} words, and a window of {streams} "
                f"streams of {window} words needs {streams * window:,}; give a longer text by "
                "--corpus"
            )


def _generated(words: int) -> Parts:
    """Returns sentences of a small grammar, whose words agree by their endings.

    Stems are rare or frequent, as words of a language are (Zipf). Nouns and verbs agree in number,
    a time at the beginning has the verb end in -ed, and adverbs are made of adjectives: what an
    unseen word is, and what follows it, is told by its ending.
    """
    random = np.random.default_rng(0)
    stems = ["".join(random.choice(_SYLLABLES, size=2)) + "nrtkm"[at % 5] for at in range(240)]
    stems = list(dict.fromkeys(stems))
    nouns, verbs, adjectives = stems[0::3], stems[1::3], stems[2::3]

    def draw(of: list[str]) -> str:
        weights = 1 / np.arange(1, len(of) + 1)
        return str(random.choice(of, p=weights / weights.sum()))

    def phrase() -> tuple[list[str], bool]:
        is_plural = bool(random.integers(2))
        adjective = [draw(adjectives) + "ish"] if random.random() < 0.3 else []
        return ["the", *adjective, draw(nouns) + "s" * is_plural], is_plural

    def sentence() -> list[str]:
        subject, is_plural = phrase()
        is_past = random.random() < 0.3
        verb = draw(verbs) + ("ed" if is_past else "" if is_plural else "es")
        after = phrase()[0] if random.random() < 0.6 else [draw(adjectives) + "ly"]
        return [*["then"] * is_past, *subject, verb, *after, ".", SENTENCE_END]

    parts = []
    for length in (words, words // 10, words // 10):
        part: list[str] = []
        while len(part) < length:
            part += sentence()
        parts.append(part[:length])
    return Parts(*parts)


_SYLLABLES = ["ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "wo"]
