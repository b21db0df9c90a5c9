"""A stacked LSTM of one layer with contexts of sentences, sentence by sentence, in float64."""

import numpy as np
from numpy_cells import lstm


def sentences_of(ids, end):
    """The documents of a text: lists of sentences, with what enters the core in each.

    A sentence is entered by the end of the one before, and by its own characters but the last end.
    The end of an empty sentence begins a document. `None` stands before the text.
    """
    documents, sentence = [[]], [None]
    for character in ids:
        if character != end:
            sentence.append(character)
            continue
        documents[-1].append(sentence)
        if len(sentence) == 1:
            documents.append([])
        sentence = [end]
    documents[-1].append(sentence)
    return documents


def attend(w, name, query, before, size):
    """The weights of attention over the last vectors of the sentence before, and their sum."""
    before = before[-size:]
    if not before:
        return np.zeros(0), np.zeros_like(query)
    scores = [
        np.tanh(query @ w[f"{name}/query_kernel"] + one @ w[f"{name}/key_kernel"])
        @ w[f"{name}/score_kernel"]
        for one in before
    ]
    weights = np.exp(np.array(scores)[:, 0])
    weights /= weights.sum()
    return weights, weights @ np.array(before)


def logits_of(weights, ids, end, name, size=0):
    """The logits before each character of a text, and the weights of attention at each step.

    Args:
      weights: Weights by path, as `numpy_contexts.weights_of` returns them.
      ids: The text.
      end: The id that ends a sentence.
      name: The context, of which a model has one.
      size: The size of the context.
    """
    w, none = weights, len(weights["output_bias"])
    units = w["output_kernel"].shape[0]
    rows, maps = [], []
    h = m = np.zeros(units)
    for document in sentences_of(ids, end):
        if name == "document":
            h = m = np.zeros(units)
        before, slow = [], [np.zeros((1, size or units))] * 2
        for sentence in document:
            if name != "document":
                h = m = np.zeros(units)
            if name == "sentence_net" and before:
                x = np.array(before[-1:]) @ w["sentence_net/sentence_kernel"]
                net = "sentence_net/sentence_net"
                z = np.concatenate([x, slow[0]], axis=1) @ w[f"{net}/kernel"][0]
                slow = lstm("lstm", z + w[f"{net}/bias"][0], slow[1], ())
            vectors = []
            for character in sentence:
                x = w["embedding"][none if character is None else character]
                added = np.zeros(none)
                last = before[-1] if before else np.zeros(units)
                if name == "sentence_input":
                    x = x + last @ w["sentence_input/input_kernel"]
                if name == "sentence_output":
                    added = last @ w["sentence_output/output_kernel"]
                if name == "sentence_net":
                    x = x + slow[0][0] @ w["sentence_net/input_kernel"]
                if name == "sentence_attention":
                    shares, attended = attend(w, name, h, before, size)
                    maps.append(shares)
                    x = x + attended @ w["sentence_attention/input_kernel"]
                    added = attended @ w["sentence_attention/output_kernel"]
                z = np.concatenate([x, h]) @ w["stacked/kernel"][0] + w["stacked/bias"][0]
                h, m = (part[0] for part in lstm("lstm", z[None], m[None], ()))
                rows.append(h @ w["output_kernel"] + w["output_bias"] + added)
                vectors.append(h)
            before = vectors[1:]
    return np.array(rows[: len(ids)]), maps[: len(ids)]
