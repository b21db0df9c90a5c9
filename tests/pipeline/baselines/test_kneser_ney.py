"""Modified Kneser-Ney n-grams, compared with the definition in plain Python."""

from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pytest
from seeds import generator

from model.errors import InputError
from pipeline.baselines import kneser_ney
from pipeline.baselines.kneser_ney import KneserNey, held_out_bits

SIZE = 7
ORDERS = range(1, 7)


def random_text(characters, size=SIZE - 1):
    """Text of a source that remembers two characters; the last of the vocabulary is not in it."""
    rng = generator()
    likely = rng.integers(0, size, (size, size))
    text = [0, 0]
    for _ in range(characters - 2):
        follows = rng.random() < 0.6
        text.append(int(likely[text[-2], text[-1]] if follows else rng.integers(0, size)))
    return np.array(text)


class Reference:
    """P(w | h) as Chen and Goodman define it, by dictionaries."""

    def __init__(self, text, size, order):
        text = tuple(text.tolist())
        grams = {
            k: Counter(text[i : i + k] for i in range(len(text) - k + 1))
            for k in range(1, order + 1)
        }
        self.size, self.order = size, order
        self.fell_back = 0
        self.followers, self.discounts = {}, {}
        for k in range(1, order + 1):
            counts = grams[k] if k == order else Counter(gram[1:] for gram in grams[k + 1])
            self.followers[k] = defaultdict(dict)
            for gram, count in counts.items():
                self.followers[k][gram[:-1]][gram[-1]] = count
            self.discounts[k] = self.discounts_of(Counter(counts.values()))

    def discounts_of(self, number):
        if all(number[i] for i in (1, 2, 3, 4)):
            y = Fraction(number[1], number[1] + 2 * number[2])
            one = 1 - 2 * y * number[2] / number[1]
            two = 2 - 3 * y * number[3] / number[2]
            more = 3 - 4 * y * number[4] / number[3]
            if min(one, two, more) > 0:
                return {1: float(one), 2: float(two), 3: float(more)}
        self.fell_back += 1
        return {1: 0.5, 2: 1.0, 3: 1.5}

    def probability(self, character, context):
        below = 1 / self.size
        if context:
            below = self.probability(character, context[1:])
        k = len(context) + 1
        counts = self.followers[k].get(context, {})
        total = sum(counts.values())
        if not total:
            return below
        discount = {c: self.discounts[k][min(n, 3)] for c, n in counts.items()}
        own = counts[character] - discount[character] if character in counts else 0.0
        return own / total + sum(discount.values()) / total * below

    def probabilities(self, text):
        text = tuple(text.tolist())
        return [
            self.probability(character, text[max(0, at - self.order + 1) : at])
            for at, character in enumerate(text)
        ]


@pytest.mark.parametrize("order", ORDERS)
def test_probabilities_are_those_of_the_definition(order):
    text, unseen = random_text(500), generator().integers(0, SIZE, 120)
    predicted = np.concatenate([random_text(80), unseen])
    reference = Reference(text, SIZE, order)
    found = KneserNey.fit(text, SIZE, order).probabilities(predicted)
    np.testing.assert_allclose(found, reference.probabilities(predicted), rtol=0, atol=1e-10)


def test_discounts_are_estimated_or_fall_back():
    """Otherwise the comparison above would cover one of the two alone."""
    reference = Reference(random_text(500), SIZE, 6)
    assert 0 < reference.fell_back < 6


def test_a_discount_of_zero_leaves_no_probability_of_zero():
    """Its bigrams have n = 4, 1, 1, 1, so D(2) = 2 - 3 (4 / 6) = 0; only 0 follows 1, twice."""
    text = np.array(list(map(int, "10203333103033")))
    model = KneserNey.fit(text, 4, 2)
    assert model.probabilities(np.array([1, 2]))[1] > 0


@pytest.mark.parametrize("order", ORDERS)
def test_the_probabilities_of_all_characters_sum_to_one(order):
    rng = generator()
    text = random_text(500)
    model = KneserNey.fit(text, SIZE, order)
    for _ in range(100):
        length = int(rng.integers(0, 9))
        start = int(rng.integers(0, len(text) - length))
        seen, any_other = text[start : start + length], rng.integers(0, SIZE, length)
        context = seen if rng.random() < 0.5 else any_other
        following = [model.probabilities(np.append(context, c))[-1] for c in range(SIZE)]
        assert min(following) > 0
        np.testing.assert_allclose(sum(following), 1, rtol=0, atol=1e-12)


def test_a_character_is_predicted_from_those_before_it_alone():
    model = KneserNey.fit(random_text(500), SIZE, 4)
    text = random_text(100)
    before = model.probabilities(text)
    text[60:] = generator().integers(0, SIZE, 40)
    np.testing.assert_array_equal(model.probabilities(text)[:60], before[:60])


def test_a_text_is_scored_in_pieces_as_at_once(monkeypatch):
    model, text = KneserNey.fit(random_text(500), SIZE, 5), random_text(200)
    expected = -np.log2(model.probabilities(text)).mean()
    for piece in (2, 7, 200, 300):
        monkeypatch.setattr(kneser_ney, "PIECE", piece)
        np.testing.assert_allclose(model.bits_per_character(text), expected, rtol=1e-12)


def test_all_orders_at_once_are_the_models_of_each():
    text, held_out = random_text(400), random_text(100)
    costs = held_out_bits(text, held_out, SIZE)
    for order in ORDERS:
        expected = KneserNey.fit(text, SIZE, order).bits_per_character(held_out)
        np.testing.assert_allclose(next(costs), expected, rtol=1e-12)


def test_longer_contexts_help_where_the_source_has_a_memory():
    text = random_text(30_000)
    costs = held_out_bits(text[:25_000], text[25_000:], SIZE)
    one, two, three, four = (next(costs) for _ in range(4))
    assert three < two < one and three < four


def test_a_text_that_is_too_short_is_refused():
    with pytest.raises(InputError, match="5 characters are too few for 5-grams"):
        KneserNey.fit(np.zeros(5, int), 2, 5)
