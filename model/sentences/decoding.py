"""Sentences from latent vectors: drawn, on a line between two, and as the ends of given ones."""

import tensorflow as tf

from ..language_model import sampling
from ..language_model.sampling import MAX_STOP, TextState
from ..shapes import shape_of
from ..text.vocabulary import PADDING
from .sentence_model import SentenceModel

ITERATIONS = 3
"""The number of times that `impute` alternates between the end of a sentence and its vector."""


def decode(
    model: SentenceModel,
    latent: tf.Tensor | None,
    end: int,
    length: tf.Tensor,
    temperature: tf.Tensor,
    seed: tf.Tensor,
    prompt: tf.Tensor | None = None,
) -> tf.Tensor:
    """Writes sentences from latent vectors.

    Args:
      model: The model.
      latent: The vectors z, `[batch, latent]`, float32; None for a language model, with a prompt.
      end: The id of the token that ends a sentence.
      length: The largest number of tokens of each, its end included, `[batch]`, int32.
      temperature: The divisor of the logits, `[batch]`, float32; 0 takes the likeliest token.
      seed: The seed of each sentence, `[batch]`, int64.
      prompt: The first tokens of each, `[batch, steps]`, int32, `PADDING` after the last; None (the
        default) for none.

    Returns:
      The tokens after the prompt, `[batch, longest]`, int32, the end included, `PADDING` after it.
    """
    batch = shape_of(length)[0]
    start = sampling.initial_state(model.decoder, batch)
    if latent is not None:
        start = start._replace(characters=model.initial_state(batch, latent))
    stop = tf.concat([tf.fill([batch, MAX_STOP - 1], PADDING), tf.fill([batch, 1], end)], axis=1)
    if prompt is None:
        prompt = tf.zeros([batch, 0], tf.int32)
    return sampling.generate(
        model.decoder,
        prompt,
        length=length,
        temperature=temperature,
        top_k=tf.zeros([batch], tf.int32),
        top_p=tf.ones([batch]),
        seed=seed,
        stop=stop,
        state=TextState(*start),
    ).ids


def interpolate(
    model: SentenceModel, first: tf.Tensor, second: tf.Tensor, count: int | tf.Tensor
) -> tf.Tensor:
    """Returns latent vectors on the straight line between two sentences (a homotopy).

        z_i = (1 - i/(n-1)) mu_first + i/(n-1) mu_second,   i = 0, ..., n-1

    Args:
      model: The model.
      first: The tokens of the first sentences, their ends included, `[batch, steps]`, int32.
      second: Those of the second ones.
      count: The number n of vectors, at least 2, a scalar.

    Returns:
      `[batch, n, latent]`, float32.
    """
    begin, end = (model.encode(ids).mean for ids in (first, second))
    shares = tf.linspace(0.0, 1.0, count)[None, :, None]
    return (1 - shares) * begin[:, None] + shares * end[:, None]


def impute(
    model: SentenceModel,
    prefix: tf.Tensor,
    end: int,
    length: tf.Tensor,
    iterations: int = ITERATIONS,
) -> tf.Tensor:
    """Returns likely ends of sentences whose first tokens are given.

    The end and the vector of a sentence are estimated in turn (iterated conditional modes, as in
    Bowman et al., arXiv 1511.06349, section 4.2): z is the mean of the posterior of the sentence as
    it is so far, then the end consists of the likeliest token after the other, given the first ones
    and z. A language model has no z, and writes once.

    Args:
      model: The model.
      prefix: The first tokens, `[batch, steps]`, int32, `PADDING` after the last.
      end: The id of the token that ends a sentence.
      length: The largest number of tokens to add, the end included, `[batch]`, int32.
      iterations: The number of times that both are estimated. Default 3.

    Returns:
      The tokens after the first ones, `[batch, longest]`, int32, the end included, `PADDING` after
      it.
    """
    batch = shape_of(length)[0]
    zeros = tf.zeros([batch])
    seed = tf.zeros([batch], tf.int64)
    if model.encoder is None:
        return decode(model, None, end, length, zeros, seed, prefix)
    sentence, ids = prefix, prefix
    for _ in range(iterations):
        latent = model.encode(sentence).mean
        ids = decode(model, latent, end, length, zeros, seed, prefix)
        sentence = joined(prefix, ids)
    return ids


def joined(prefix: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Returns sentences whose first tokens and whose others are in two tensors, padded each.

    >>> joined(tf.constant([[1, 2], [3, -1]]), tf.constant([[4, -1], [5, 6]])).numpy().tolist()
    [[1, 2, 4, -1], [3, 5, 6, -1]]

    Args:
      prefix: The first tokens, `[batch, steps]`, int32, `PADDING` after the last.
      ids: The others, `[batch, longest]`, int32, likewise.
    """
    both = tf.concat([prefix, ids], axis=1)
    order = tf.argsort(tf.cast(both == PADDING, tf.int32), axis=1, stable=True)
    return tf.gather(both, order, batch_dims=1)
