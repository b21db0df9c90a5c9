"""A stacked LSTM of one layer with contexts, character by character, in NumPy and float64."""

import numpy as np
from numpy_cells import lstm

HASH_FACTOR, HASH_MIXER, HASHES = 0x2C1B3C6D, 0x297A2D39, 1 << 24


def weights_of(model):
    """The trained weights of a model by their paths without its own name, and its buffers."""
    named = {one.path.partition("/")[2]: np.array(one) for one in model.weights}
    return {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in named.items()}


def bucket(characters, bits):
    """The bucket of a word of ids, by its polynomial hash in Python's integers."""
    value = 0
    for character in characters:
        value = (value + int(character) + 1) * HASH_FACTOR % HASHES
    return (value * HASH_MIXER % HASHES) >> (24 - bits)


def ngram_bucket(characters, bits):
    """The bucket of an n-gram of ids, by its polynomial hash from its end to its beginning."""
    value = 0
    for character in reversed(characters):
        value = (value * HASH_FACTOR + int(character) + 1) % HASHES
    return (value * HASH_MIXER % HASHES) >> (24 - bits)


class NumpyModel:
    """One text read character by character.

    Attributes:
      weights: Weights by path, as `weights_of` returns them.
      word_losses: The sum of -ln p of the words read so far.
    """

    def __init__(self, weights, size):
        """Begins a text.

        Args:
          weights: Weights by path.
          size: The size of the vocabulary.
        """
        self.weights, self.size = weights, size
        units = weights["output_kernel"].shape[0]
        self.hidden = self.memory = np.zeros((1, units))
        self.last, self.before, self.word = size, size, []
        self.read = [size] * 8
        self.word_losses = 0.0
        if "word/embedding" in weights:
            self.word_hidden = self.word_memory = np.zeros((1, weights["word/embedding"].shape[1]))

    def step(self, character):
        """Returns the logits before a character, and reads it."""
        w = self.weights
        if "word/embedding" in w:
            self._read_word_character(self.last)
        x = w["embedding"][self.last][None]
        if "word/embedding" in w:
            x = x + self.word_hidden @ w["word/input_kernel"]
        if "ngrams/embedding" in w:
            embeddings = w["ngrams/embedding"].reshape(-1, 1 << 14, 64)
            for n, table in enumerate(embeddings, start=2):
                x = x + table[ngram_bucket(self.read[-n:], 14)] @ w["ngrams/input_kernel"]
        z = np.concatenate([x, self.hidden], axis=1) @ w["stacked/kernel"][0] + w["stacked/bias"][0]
        self.hidden, self.memory = lstm("lstm", z, self.memory, ())
        kernel, bias = w["output_kernel"], w["output_bias"]
        if "output/keys" in w:
            keys = w["output/keys"].tolist()
            for key in ((self.size + 1) * (self.before + 1) + self.last, self.last):
                if key in keys:
                    number = keys.index(key)
                    kernel = kernel + w["output/kernel"][number]
                    bias = bias + w["output/bias"][number]
                    break
        self.before, self.last = self.last, character
        self.read.append(character)
        return (self.hidden @ kernel + bias)[0]

    def _read_word_character(self, character):
        w = self.weights
        if not w["word/separators"][character]:
            self.word.append(character)
        elif self.word:
            logits = (self.word_hidden @ w["word/word_kernel"] + w["word/word_bias"])[0]
            self.word_losses += np.log(np.exp(logits).sum()) - logits[bucket(self.word, 10)]
            x = w["word/embedding"][bucket(self.word, 12)][None]
            kernel, bias = w["word/slow_net/kernel"][0], w["word/slow_net/bias"][0]
            z = np.concatenate([x, self.word_hidden], axis=1) @ kernel + bias
            self.word_hidden, self.word_memory = lstm("lstm", z, self.word_memory, ())
            self.word = []


def losses(weights, ids, size):
    """Returns the sums of -ln p of characters and of words over texts `[batch, steps]`."""
    characters = words = 0.0
    for text in ids:
        model = NumpyModel(weights, size)
        for character in text:
            logits = model.step(int(character))
            characters += np.log(np.exp(logits).sum()) - logits[character]
        words += model.word_losses
    return characters, words
