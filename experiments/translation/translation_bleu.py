"""BLEU by sacrebleu, of sentences that are split into words already, and its paired bootstrap."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest


class Compared(NamedTuple):
    """BLEU of one net beside that of a baseline.

    Attributes:
      bleu: BLEU, from 0 to 100.
      interval: Half the width of its 95% confidence interval, by bootstrap.
      p_value: Probability of so large a difference from the baseline, either way, if there is none,
        by paired bootstrap; None for the baseline itself.
    """

    bleu: float
    interval: float
    p_value: float | None


def metric() -> BLEU:
    """Returns the metric: cased BLEU up to 4-grams, of words between spaces as they are."""
    return BLEU(tokenize="none", force=True)


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Returns BLEU, from 0 to 100.

    >>> bleu(["a b c d e"], ["a b c d e"])
    100.0

    Args:
      hypotheses: The translations.
      references: The translations that are right, one for each.
    """
    return round(metric().corpus_score(list(hypotheses), [list(references)]).score, 10)


def compared(
    hypotheses: Mapping[str, Sequence[str]], references: Sequence[str], baseline: str
) -> dict[str, Compared]:
    """Returns BLEU of some nets, each beside that of a baseline.

    Koehn, "Statistical Significance Tests for Machine Translation Evaluation" (EMNLP 2004), by
    1,000 resamples, as `sacrebleu --paired-bs` has it.

    Args:
      hypotheses: The translations by the name of the net.
      references: The translations that are right.
      baseline: Name of the baseline.
    """
    names = [baseline, *(name for name in hypotheses if name != baseline)]
    test = PairedTest(
        [(name, hypotheses[name]) for name in names], {"BLEU": metric()}, [references], "bs"
    )
    scores: dict[str, Any] = test()[1]
    first, *others = scores["BLEU"]
    found = {baseline: Compared(float(first.score), float(first.ci), None)}
    for name, result in zip(names[1:], others, strict=True):
        # Of two equal scores sacrebleu counts no resample as differing more, as if they differed.
        p_value = float(result.p_value) if result.score != first.score else 1.0
        found[name] = Compared(float(result.score), float(result.ci), p_value)
    return found
