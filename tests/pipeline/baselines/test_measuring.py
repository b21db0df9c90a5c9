"""The baselines of texts whose figures are known, and the choice of orders."""

import math

import numpy as np
import pytest
from conftest import words
from seeds import derived_seed, generator

from model.errors import InputError
from model.text.vocabulary import Vocabulary
from pipeline.baselines import measuring
from pipeline.baselines.measuring import METHODS, Texts, best_order, measure


def texts_of(train, evaluated, unit="bytes"):
    """The texts of a measurement, from strings."""
    vocabulary = Vocabulary.of(unit, map(ord, train + evaluated))
    ids = {code: number for number, code in enumerate(vocabulary.code_points)}
    return Texts(*(np.array([ids[ord(c)] for c in one]) for one in (train, evaluated)), vocabulary)


def bits_of(measured):
    return {name: one.bits_per_character for name, one in measured.items()}


def test_entropies_are_those_computed_by_hand():
    bits = bits_of(measure(texts_of("ab" * 50, "aabacaab")))
    share = {"a": 5 / 8, "b": 2 / 8, "c": 1 / 8}
    expected = -sum(p * math.log2(p) for p in share.values())
    assert bits["order-0 entropy"] == pytest.approx(expected)
    # After a (5 of the 7 pairs): a twice, b twice, c once; after b and after c always a.
    after_a = -(4 / 5 * math.log2(2 / 5) + 1 / 5 * math.log2(1 / 5))
    assert bits["order-1 entropy"] == pytest.approx(5 / 7 * after_a)


def test_a_source_without_a_memory_costs_its_entropy():
    text = "".join(generator().choice(list("abcd"), 60_000))
    bits = bits_of(measure(texts_of(text[:50_000], text[50_000:])))
    for name in ("n-gram", "PPMd", "order-0 entropy", "order-1 entropy"):
        assert bits[name] == pytest.approx(2, abs=0.05)
    assert 2 < bits["xz"] < 2.6 and 2 < bits["zstd"] < 2.6


def test_a_text_that_was_read_costs_little():
    text = words(derived_seed("measuring"), 40_000)
    bits = bits_of(measure(texts_of(text, text[:20_000])))
    for name in ("xz", "zstd"):  # the others predict a character from a few before it
        assert bits[name] < 0.1 < bits["PPMd"]


def test_a_character_is_a_code_point_where_these_are_the_unit():
    text = words(derived_seed("measuring"), 30_000)
    wide = str.maketrans("aeinorst", "äëïñöř漢𝄞")
    parts = text[:25_000], text[25_000:]
    narrow = bits_of(measure(texts_of(*parts)))
    bits = bits_of(measure(texts_of(*(part.translate(wide) for part in parts), "unicode")))
    for name in ("n-gram", "order-0 entropy", "order-1 entropy"):
        assert bits[name] == pytest.approx(narrow[name], rel=1e-9)
    for name in ("PPMd", "xz", "zstd"):  # these read bytes, of which there are more to predict
        assert narrow[name] < bits[name] < 1.6 * narrow[name]


def test_the_evaluated_text_does_not_choose_the_orders():
    train = words(derived_seed("measuring"), 30_000)
    noise = "".join(generator().choice(sorted(set(train)), 3_000))  # contexts do not help there
    measured = [measure(texts_of(train, text)) for text in (noise, train[:3_000])]
    for name in METHODS:
        assert measured[0][name].method == measured[1][name].method
        assert measured[0][name].bits_per_character != measured[1][name].bits_per_character


def test_the_best_order_is_found_without_trying_all():
    tried = []

    def costs():
        for order, cost in enumerate([3.0, 2.0, 2.1, 1.9, 1.95, 1.91, 0.0], 2):
            tried.append(order)
            yield order, cost

    assert best_order(costs()) == 5
    assert tried == [2, 3, 4, 5, 6, 7]
    assert best_order([(2, 1.0)]) == 2


def test_progress_names_what_is_done():
    done = []
    measure(texts_of("abcab" * 100, "abc"), lambda *arguments: done.append(arguments))
    assert [number for number, *_ in done] == sorted(number for number, *_ in done)
    assert {total for _, total, _ in done} == {len(METHODS)}
    assert any("PPMd" in note for *_, note in done)


@pytest.mark.parametrize("train,evaluated", [("ab" * 9, "ab"), ("ab" * 50, "")])
def test_texts_that_are_too_short_are_refused(train, evaluated):
    with pytest.raises(InputError, match=r"give (a longer corpus|more text)"):
        texts_of(train, evaluated)


@pytest.mark.parametrize("text", ["a" * 30, "ab" * 10])
def test_the_shortest_and_simplest_texts_have_figures(text):
    assert all(np.isfinite(bits) for bits in bits_of(measure(texts_of(text, text[:1]))).values())
    assert len(text) >= measuring.MIN_CHARACTERS
