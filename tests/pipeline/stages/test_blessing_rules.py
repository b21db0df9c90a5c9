"""When a model is blessed: against chance, and against the version pushed last."""

import math

import pytest

from pipeline.stages import evaluator, recognition_evaluator, translation_evaluator
from pipeline.store.lineage import Pushed

LAST = Pushed("path", 3, "float32", {}, "model", "Trainer", "evaluation", {})


def of_text(bits_per_character, bits_per_byte, unknown=0):
    return evaluator.Metrics(
        nats_per_character=bits_per_character * math.log(2),
        bits_per_character=bits_per_character,
        perplexity=2**bits_per_character,
        accuracy=0.5,
        characters=100,
        unknown_characters=unknown,
        bits_per_byte=bits_per_byte,
    )


def test_models_of_other_units_are_compared_by_the_bytes_of_the_text():
    """A code point of Cyrillic has two bytes, so that it may cost more bits than a byte."""
    code_points, of_bytes = of_text(2.2, 1.1), of_text(1.2, 1.2)
    assert not evaluator.objections(code_points, of_bytes, 4.0, LAST)
    objection = evaluator.objections(of_bytes, code_points, 4.0, LAST)
    assert objection == ("1.2000 bits per byte are worse than the 1.1000 of version 3, pushed last")


def test_a_character_that_the_last_version_lacks_does_not_bless_any_model():
    assert evaluator.objections(of_text(2.5, 2.5), of_text(2.0, 2.01, unknown=1), 4.0, LAST)


@pytest.mark.parametrize(
    "bleu,perplexity,same_words,objection",
    [
        (20.0, 9.0, True, ""),
        (40.0, 11.0, True, "the perplexity of 11.00 is worse than the 10.00 of version 3"),
        (20.0, 5.0, False, "the BLEU of 20.00 is lower than the 30.00 of version 3"),
        (31.0, 50.0, False, ""),
        (31.0, 100.0, False, "the perplexity of 100.00 is no better than the 100.00 of the words'"),
    ],
)
def test_perplexities_over_other_words_are_not_compared(bleu, perplexity, same_words, objection):
    new, last = (
        translation_evaluator.Metrics(*both, []) for both in ((bleu, perplexity), (30, 10))
    )
    found = translation_evaluator.objections(new, last, 100.0, LAST, same_words)
    assert found.startswith(objection) and bool(found) == bool(objection)


@pytest.mark.parametrize(
    "error,last,objection",
    [
        (0.1, None, ""),
        (1.0, None, "the character error rate of 100.0% is no better than that of silence"),
        (0.2, 0.1, "the character error rate of 20.00% is worse than the 10.00% of version 3"),
        (0.1, 0.1, ""),
    ],
)
def test_a_recognizer_is_better_than_silence_and_no_worse_than_the_last(error, last, objection):
    new = recognition_evaluator.Metrics(error, error, [])
    against = None if last is None else recognition_evaluator.Metrics(last, last, [])
    found = recognition_evaluator.objections(new, against, LAST if against else None)
    assert found.startswith(objection) and bool(found) == bool(objection)


def test_error_rates_count_edits_per_unit_that_was_said():
    found = [list("seven"), [], list("ab")]
    said = [list("sven"), list("six"), list("ba")]
    assert recognition_evaluator.error_rate(found, said) == pytest.approx((1 + 3 + 2) / 9)
    assert recognition_evaluator.error_rate([["a", "b"], []], [["a"], ["c"]]) == 1.0
