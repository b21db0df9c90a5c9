"""TextCounts of texts that arrive in pieces, compared with plain Python."""

import subprocess
import sys
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import counts

DTYPES = {"bytes": np.uint8, "unicode": np.uint32}
TEXTS = st.text(alphabet="ab\n", max_size=40)


@pytest.fixture
def few_at_once(monkeypatch):
    monkeypatch.setattr(counts, "GATHERED", 4)


def counted(unit, pieces):
    counting = counts.TextCounter(unit)
    for piece in pieces:
        counting.add(np.array(list(map(ord, piece)), DTYPES[unit]))
    return counting.counts(records=len(pieces))


def as_counter(tally):
    return Counter(dict(zip(tally.values.tolist(), tally.occurrences.tolist(), strict=True)))


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("unit", DTYPES)
@settings(deadline=None)  # the first call compiles
@given(texts=st.lists(st.lists(TEXTS, max_size=3), max_size=4))
def test_texts_in_pieces_add_up(unit, texts):
    parts = [counted(unit, pieces) for pieces in texts]
    tallies = (
        counts.TextHistograms.sum(part.tallies for part in parts)
        if parts
        else counts.TextHistograms()
    )
    found = counts.join(tallies, [part.edges for part in parts])

    codes = [ord(character) for pieces in texts for piece in pieces for character in piece]
    head, *inner = "".join(map(chr, codes)).split("\n")
    assert as_counter(found.tallies.characters) == Counter(codes)
    pairs = Counter(first << 32 | second for first, second in pairwise(codes))
    assert as_counter(found.tallies.pairs) == pairs
    assert as_counter(found.tallies.lines) == Counter(map(len, inner[:-1]))
    assert found.edges.head == len(head)
    assert found.edges.tail == len(inner[-1] if inner else head)
    assert found.edges.broken == bool(inner)


def test_counting_works_without_a_cache_directory(tmp_path):
    nowhere = tmp_path / "file"
    nowhere.touch()
    script = "import numpy as np; from pipeline.data.counts import TextCounter; "
    script += "c = TextCounter('bytes'); c.add(np.frombuffer(b'abab', np.uint8)); "
    script += "print(c.counts(1).tallies.pairs.total)"
    finished = subprocess.run(
        [sys.executable, "-c", script],
        env={"NUMBA_CACHE_DIR": str(nowhere)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (finished.stdout, finished.stderr) == ("3\n", "")
