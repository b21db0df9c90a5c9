"""Requests for the signatures of a model that translates."""

from collections.abc import Sequence
from typing import NamedTuple

from serving.client.client import Client
from serving.protocol import to_bytes_array


class Translation(NamedTuple):
    """A translation of a sentence.

    Attributes:
      text: The translation, words between single spaces; `<unk>` stands for a word that the
        vocabulary lacks.
      score: ln p of its words and its end, divided by a power of their number.
    """

    text: str
    score: float


def translate(client: Client, sentences: Sequence[str]) -> list[Translation]:
    """Translates sentences, as many in each request as it may have.

    Args:
      client: Client of the model.
      sentences: Sentences of words between white space, as those of the corpus.

    Raises:
      ServerError: If the server answers with an error, as for a sentence without words.
    """
    found = []
    for _, part in client.address.parts(sentences):
        outputs = client.call("translate", {"sources": to_bytes_array(part)})
        found += [
            Translation(text.decode("utf-8"), float(score))
            for text, score in zip(outputs["translations"], outputs["scores"], strict=True)
        ]
    return found


def score(client: Client, sentences: Sequence[str], translations: Sequence[str]) -> list[float]:
    """Computes ln p of the words of given translations and their ends.

    Args:
      client: Client of the model.
      sentences: Sentences.
      translations: A translation of each.

    Raises:
      ServerError: If the server answers with an error.
    """
    found: list[float] = []
    for first, part in client.address.parts(sentences):
        targets = translations[first : first + len(part)]
        inputs = {"sources": to_bytes_array(part), "targets": to_bytes_array(targets)}
        outputs = client.call("score_translations", inputs)
        found += map(float, outputs["log_probabilities"])
    return found
