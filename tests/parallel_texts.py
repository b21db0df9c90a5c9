"""Generated pairs of sentences: numbers, whose translations count backwards."""

from collections.abc import Sequence

import numpy as np

NUMBERS = {"one": "un", "two": "deux", "three": "trois", "four": "quatre", "five": "cinq"}


def pairs(random: np.random.Generator, count: int) -> list[tuple[str, str]]:
    """Pairs of two to five words."""
    made = []
    for _ in range(count):
        words = [str(word) for word in random.choice(list(NUMBERS), size=random.integers(2, 6))]
        made.append((" ".join(words), " ".join(NUMBERS[word] for word in reversed(words))))
    return made


def tsv(rows: Sequence[tuple[str, str]]) -> str:
    """The pairs as lines with a tab between both sides."""
    return "".join(f"{source}\t{target}\n" for source, target in rows)
