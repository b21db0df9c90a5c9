"""Coherence: how often a model finds a document likelier than its sentences in another order.

Barzilay, Lapata, "Modeling Local Coherence" (Computational Linguistics 34, 2008); with language
models Ji et al., "Document context language models" (arXiv 1511.03962), section 5.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from experiments.documents.document_nets import DocumentNet
from experiments.documents.document_text import Document

SHUFFLES = 20
"""Number of orders that a document is compared with."""

TIE = 1e-6
"""Relative difference of sums of losses below which these are equal but for rounding."""


class Coherence(NamedTuple):
    """The comparison of documents with their shuffled sentences.

    Attributes:
      documents: Number of documents.
      likelier: Share of all orders that are less likely than the document's own, of which those
        equally likely count half.
      ties: Share of all orders that are equally likely.
      above: Number of documents that are likelier than more than half of their orders.
      below: Number of documents that are likelier than less than half of them.
    """

    documents: int
    likelier: float
    ties: float
    above: int
    below: int


def shuffles(count: int, orders: int, seed: Sequence[int]) -> list[np.ndarray]:
    """Returns random orders of sentences, none of which is that of the document.

    Args:
      count: Number of sentences, at least 2.
      orders: Number of orders.
      seed: Seed of the orders.
    """
    random = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    while len(found) < orders:
        order = random.permutation(count)
        if np.any(order != np.arange(count)):
            found.append(order)
    return found


def measure(
    net: DocumentNet, documents: Sequence[Document], sentences: int, orders: int = SHUFFLES
) -> Coherence:
    """Compares the beginnings of documents with their sentences in other orders.

    Args:
      net: The net.
      documents: The documents; those that are shorter than a beginning are left out.
      sentences: Number of sentences of a beginning, at least 2.
      orders: Number of orders of each. Default `SHUFFLES`.
    """
    chosen = [document[:sentences] for document in documents if len(document) >= sentences]
    texts = []
    for number, document in enumerate(chosen):
        texts.append(document)
        for order in shuffles(sentences, orders, [number, sentences]):
            texts.append([document[at] for at in order])
    losses = np.array([math.fsum(one) for one in net.sentence_losses(texts)])
    return compare(losses.reshape(len(chosen), 1 + orders))


def compare(losses: np.ndarray) -> Coherence:
    """Returns how often documents are likelier than other orders of their sentences.

    Args:
      losses: -ln p of each document, and after it of its other orders, `[documents, 1 + orders]`.
    """
    if not len(losses):
        return Coherence(0, math.nan, math.nan, 0, 0)
    own, others = losses[:, :1], losses[:, 1:]
    is_tie = np.abs(others - own) <= TIE * np.abs(own)
    won = np.where(is_tie, 0.5, others > own)
    of_documents = won.mean(axis=1)
    return Coherence(
        documents=len(losses),
        likelier=float(won.mean()),
        ties=float(is_tie.mean()),
        above=int(np.count_nonzero(of_documents > 0.5)),
        below=int(np.count_nonzero(of_documents < 0.5)),
    )


def sign_test(above: int, below: int) -> float:
    """Returns the probability of a split as uneven as this one if both signs are equally likely.

    >>> sign_test(9, 1)
    0.021484375

    Args:
      above: Number of documents on one side.
      below: Number of documents on the other; ties are on neither.

    Returns:
      The two-sided p-value of the binomial distribution.
    """
    count = above + below
    tail = sum(math.comb(count, k) for k in range(max(above, below), count + 1))
    return min(1.0, 2 * tail / 2**count)
