"""Small autoencoders of sentences, and their equations on stacked LSTMs in NumPy and float64."""

import numpy as np
from numpy_cells import lstm
from seeds import generator

from model.language_model.config import ModelConfig
from model.sentences.config import SentenceModelConfig
from model.sentences.sentence_model import SentenceModel
from model.text.vocabulary import PADDING

SIZE, LATENT, END = 6, 3, 5
LENGTHS = (7, 1, 4)


def make_model(encoder="stacked", decoder="stacked", layers=1, scale=0.5):
    """A model with random weights; without an encoder for None."""
    encoder, decoder = (
        one and ModelConfig(architecture=one, layers=layers, units=5) for one in (encoder, decoder)
    )
    model = SentenceModel(SentenceModelConfig(decoder, encoder, LATENT), SIZE)
    for weight in model.trainable_variables:
        weight.assign(generator().normal(size=weight.shape) * scale)
    return model


def random_sentences(lengths=LENGTHS):
    """Sentences of these lengths, their ends included."""
    ids = np.full((len(lengths), max(lengths)), PADDING, np.int32)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = [*generator().integers(0, SIZE - 1, length - 1), END]
    return ids


def sentence(row):
    return row[row != PADDING]


def normal(*shape):
    return generator().normal(size=shape).astype(np.float32)


class NumpySentences:
    """The equations of the model, sentence by sentence and token by token.

    Attributes:
      weights: The weights by their paths without the name of the model.
      size: The number of distinct tokens.
    """

    def __init__(self, model):
        """Takes the weights of a model.

        Args:
          model: The `SentenceModel`.
        """
        self.weights = {}
        for part in filter(None, (model.encoder, model.decoder)):
            for one in part.weights:
                # Weights of the decoder have its path; those of a layer within also that of theirs.
                name = one.path[one.path.index(part.name) :]
                self.weights[name] = np.array(one, np.float64)
        self.size = model.vocabulary_size

    def posterior(self, ids):
        """Returns mu and log sigma^2 of a sentence `[length]`."""
        w = self.weights
        hidden = memory = np.zeros((1, w["encoder/kernel"].shape[0]))
        for token in ids:
            z = np.concatenate([w["encoder/embedding"][token][None], hidden], axis=1)
            z = z @ w["encoder/stacked/kernel"][0] + w["encoder/stacked/bias"][0]
            hidden, memory = lstm("lstm", z, memory, ())
        return np.split((hidden @ w["encoder/kernel"] + w["encoder/bias"])[0], 2)

    def log_likelihood(self, ids, latent, seen=None):
        """Returns ln p(x|z) of a sentence, of whose tokens the decoder is told those in `seen`."""
        w = self.weights
        hidden = memory = np.tanh(latent @ w["decoder/latent/hidden_kernel"])[None]
        last, total = self.size, 0.0
        for at, token in enumerate(ids):
            x = w["decoder/embedding"][last] + latent @ w["decoder/latent/input_kernel"]
            z = np.concatenate([x[None], hidden], axis=1) @ w["decoder/stacked/kernel"][0]
            hidden, memory = lstm("lstm", z + w["decoder/stacked/bias"][0], memory, ())
            logits = (hidden @ w["decoder/output_kernel"] + w["decoder/output_bias"])[0]
            total += logits[token] - np.log(np.exp(logits).sum())
            last = token if seen is None or seen[at] else self.size
        return total

    def log_weight(self, ids, noise, seen=None):
        """Returns ln p(x|z) + ln p(z) - ln q(z|x), from the densities of normal distributions."""
        mean, log_variance = self.posterior(ids)
        latent = mean + np.exp(log_variance / 2) * noise
        prior = log_normal(latent, np.zeros_like(mean), np.zeros_like(mean))
        posterior = log_normal(latent, mean, log_variance)
        return self.log_likelihood(ids, latent, seen) + prior - posterior


def log_normal(values, mean, log_variance):
    """The logarithm of the density of a normal distribution with independent components."""
    variance = np.exp(log_variance)
    return -0.5 * np.sum((values - mean) ** 2 / variance + np.log(2 * np.pi * variance))
