"""The page of the statistics of both splits, which opens without a network."""

import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jinja2
from fontTools import unicodedata

from common import files
from model.text.vocabulary import character_name
from pipeline.data.records import SPLITS
from pipeline.data.statistics import QUANTILES, Statistics, read
from pipeline.stages.example_validator import jensen_shannon
from pipeline.stages.schema_gen import MAX_DIVERGENCE
from pipeline.store.artifacts import Artifact

TEMPLATE = "statistics_page.html"
SHOWN = 60
BEYOND_ASCII = "bytes beyond ASCII"


class Row(NamedTuple):
    """A character or script, and how common it is in each split.

    Attributes:
      name: Name of the character or script.
      shares: Share of the characters of each split, from 0 to 1.
    """

    name: str
    shares: tuple[float, ...]


def write(statistics: Artifact, corpus: str, path: str) -> None:
    """Writes the page of a StatisticsGen artifact.

    Args:
      statistics: The artifact.
      corpus: Name of the corpus, the title of the page.
      path: Path of the page.
    """
    both = [read(statistics.path, split) for split in SPLITS]
    folder = jinja2.FileSystemLoader(pathlib.Path(__file__).parent)
    template = jinja2.Environment(loader=folder, autoescape=True).get_template(TEMPLATE)
    page = template.render(
        title=corpus,
        splits=SPLITS,
        both=both,
        unit="bytes" if both[0].unit == "bytes" else "code points",
        drift=jensen_shannon(both[0].occurrences, both[1].occurrences),
        threshold=MAX_DIVERGENCE,
        characters=characters(both)[:SHOWN],
        scripts=scripts(both),
        line_lengths=line_lengths(both),
    )
    files.write_text(path, page)


def characters(both: Sequence[Statistics]) -> list[Row]:
    """Returns the characters of either split, the most common over both first."""
    unit = both[0].unit
    rows = _rows([one.occurrences for one in both])
    return [Row(character_name(unit, code_point), shares) for code_point, shares in rows]


def scripts(both: Sequence[Statistics]) -> list[Row]:
    """Returns the scripts of either split; bytes beyond ASCII count as one script."""

    def script(code_point: int) -> str:
        if both[0].unit == "bytes" and code_point >= 0x80:
            return BEYOND_ASCII
        return unicodedata.script_name(unicodedata.script(chr(code_point))).replace("_", " ")

    counts: list[Counter] = []
    for one in both:
        counts.append(Counter())
        for code_point, occurrences in one.occurrences.items():
            counts[-1][script(code_point)] += occurrences
    return [Row(name, shares) for name, shares in _rows(counts)]


def _rows(counts: Sequence[Mapping[Any, int]]) -> list[tuple[Any, tuple[float, ...]]]:
    """Returns the shares of each key in each split, the most common over both first."""
    totals = [max(sum(one.values()), 1) for one in counts]
    shares = {
        key: tuple(one.get(key, 0) / total for one, total in zip(counts, totals, strict=True))
        for key in set().union(*counts)
    }
    return sorted(shares.items(), key=lambda row: (-sum(row[1]), str(row[0])))


def line_lengths(both: Sequence[Statistics]) -> list[tuple[str, tuple[int, ...]]]:
    """Returns the deciles of the line lengths of each split, by their names."""
    ends = []
    for one in both:
        (quantiles,) = [h for h in one.lines.histograms if h.type == h.QUANTILES] or [None]
        ends.append([int(bucket.high_value) for bucket in quantiles.buckets] if quantiles else [])
    tenths = zip(*ends, strict=False)
    return [(f"{n / QUANTILES:.0%}", lengths) for n, lengths in enumerate(tenths, 1)][:-1]
