"""The baselines of a text: n-grams, compressors and entropies, in bits per character.

Orders are chosen on a part of the training text that is held out; the evaluated text has no say.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from model.errors import InputError
from model.text.vocabulary import Vocabulary
from pipeline.baselines import compressors
from pipeline.baselines.kneser_ney import KneserNey, held_out_bits
from pipeline.data.counts import TextCounter, entropies

HELD_OUT_PART = 10
"""While an order is chosen, the last of so many parts of the training text is held out,"""
MAX_HELD_OUT = 1_000_000
"""or so many characters, if these are fewer."""
MAX_ORDER = 12
"""Longest n-grams that are tried."""
PATIENCE = 2
"""Number of orders that are tried beyond the best."""
MIN_CHARACTERS = 20
"""Length of the shortest training text."""

Progress = Callable[[str], None]
"""Function that is called with the name of what is done next."""
Result = tuple[str, float]
"""The method with its version and order, and its bits per character of the evaluated text."""


class Baseline(NamedTuple):
    """A measured baseline.

    Attributes:
      method: Method, its version and its order.
      bits_per_character: Mean bits per character of the evaluated text.
      seconds: Duration of the measurement, the choice of an order included.
    """

    method: str
    bits_per_character: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Texts:
    """The texts of a measurement, as ids and as bytes.

    Attributes:
      train: Ids of the training text, int32 `[characters]`.
      evaluated: Ids of the text that is predicted, int32 `[characters]`.
      vocabulary: Vocabulary of both.
    """

    train: np.ndarray
    evaluated: np.ndarray
    vocabulary: Vocabulary

    def __post_init__(self) -> None:
        if len(self.train) < MIN_CHARACTERS:
            raise InputError(
                f"the training split has {len(self.train)} characters, too few for baselines; give "
                "a longer corpus"
            )
        if not len(self.evaluated):
            raise InputError("the eval split is empty; lower --train_fraction, or give more text")

    @property
    def held_out(self) -> int:
        """The number of characters at the end of the training text on which orders are chosen."""
        return min(len(self.train) // HELD_OUT_PART, MAX_HELD_OUT)

    def codes(self, ids: np.ndarray) -> np.ndarray:
        """Returns the byte values, uint8, or the code points, uint32, of ids."""
        dtype = np.uint8 if self.vocabulary.unit == "bytes" else np.uint32
        return np.array(self.vocabulary.code_points, dtype)[ids]

    def encode(self, ids: np.ndarray) -> bytes:
        """Returns ids as text, in UTF-8 if the characters are code points."""
        content = self.codes(ids).tobytes()
        return content if self.vocabulary.unit == "bytes" else content.decode("utf-32-le").encode()

    @functools.cached_property
    def train_bytes(self) -> bytes:
        """The training text."""
        return self.encode(self.train)

    @functools.cached_property
    def evaluated_bytes(self) -> bytes:
        """The evaluated text."""
        return self.encode(self.evaluated)

    def bits_per_character(self, cost: int) -> float:
        """Returns the bits per evaluated character of a cost in bytes."""
        return 8 * cost / len(self.evaluated)


def measure(
    texts: Texts,
    progress: Callable[..., None] = lambda *_: None,
    methods: Sequence[str] | None = None,
) -> dict[str, Baseline]:
    """Measures baselines.

    Args:
      texts: The texts.
      progress: Function that is called with the number of baselines that are done, that of all, and
        what is done next. Default: none.
      methods: Names in `METHODS` of those to measure. Default: all.

    Returns:
      The baselines, by their names in `METHODS`.
    """
    measured = {}
    methods = methods or list(METHODS)
    for done, name in enumerate(methods):
        started = time.monotonic()
        result = METHODS[name](texts, functools.partial(progress, done, len(methods)))
        measured[name] = Baseline(*result, round(time.monotonic() - started, 2))
    return measured


def best_order(costs: Iterable[tuple[int, float]]) -> int:
    """Returns the order of the lowest cost, among those until it has risen for some orders.

    >>> best_order([(2, 3.0), (3, 2.0), (4, 2.5), (5, 2.4), (6, 1.0)])
    3

    Args:
      costs: Ascending orders, each with its cost; no more are taken than needed.
    """
    best, lowest = 0, math.inf
    for order, cost in costs:
        if cost < lowest:
            best, lowest = order, cost
        elif order - best >= PATIENCE:
            break
    return best


def _ngram(texts: Texts, progress: Progress) -> Result:
    train, size = texts.train, texts.vocabulary.size

    def costs() -> Iterator[tuple[int, float]]:
        tried = held_out_bits(train[: -texts.held_out], train[-texts.held_out :], size)
        for order in range(1, MAX_ORDER + 1):
            progress(f"held-out text by {order}-grams")
            yield order, next(tried)

    order = best_order(costs())
    progress(f"{order}-grams")
    model = KneserNey.fit(train, size, order)
    return (
        f"{order}-grams, interpolated modified Kneser-Ney",
        model.bits_per_character(texts.evaluated),
    )


def _ppmd(texts: Texts, progress: Progress) -> Result:
    train = texts.encode(texts.train[: -texts.held_out])
    held_out = texts.encode(texts.train[-texts.held_out :])

    def costs() -> Iterator[tuple[int, float]]:
        for order in compressors.PPMD_ORDERS:
            progress(f"held-out text by PPMd, order {order}")
            yield order, compressors.ppmd_bytes(train, held_out, order)

    order = best_order(costs())
    progress(f"PPMd, order {order}")
    cost = compressors.ppmd_bytes(texts.train_bytes, texts.evaluated_bytes, order)
    return f"PPMd variant I, order {order}", texts.bits_per_character(cost)


def _xz(texts: Texts, progress: Progress) -> Result:
    progress("xz")
    cost = compressors.xz_bytes(texts.train_bytes, texts.evaluated_bytes)
    return "xz -9e, dictionary of the whole text", texts.bits_per_character(cost)


def _zstd(texts: Texts, progress: Progress) -> Result:
    progress("zstd")
    cost = compressors.zstd_bytes(texts.train_bytes, texts.evaluated_bytes)
    return "zstd --ultra -22, window of the whole text", texts.bits_per_character(cost)


def _entropy(order: int, texts: Texts, progress: Progress) -> Result:
    progress(f"entropy of order {order}")
    counter = TextCounter(texts.vocabulary.unit)
    counter.add(texts.codes(texts.evaluated))
    given = " given the one before" if order else ""
    return f"empirical entropy of a character{given}", entropies(counter.counts(records=1))[order]


METHODS: Mapping[str, Callable[[Texts, Progress], Result]] = {
    "n-gram": _ngram,
    "PPMd": _ppmd,
    "xz": _xz,
    "zstd": _zstd,
    "order-1 entropy": functools.partial(_entropy, 1),
    "order-0 entropy": functools.partial(_entropy, 0),
}
"""The baselines, by name."""
