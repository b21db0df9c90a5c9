"""The bound that a variational autoencoder of sentences maximises, and tighter ones."""

import math
from typing import NamedTuple

import tensorflow as tf

from ..config import require_integer
from ..language_model.losses import character_losses
from ..shapes import shape_of
from .sentence_model import Posterior, SentenceModel

STEEPNESS = 10.0
"""The length of the part of the sigmoid's axis that `annealing_weight` goes through."""


def annealing_weight(step: float | tf.Tensor, steps: int) -> tf.Tensor:
    """Returns the weight of the divergence at a step of the training, a sigmoid from 0 to 1.

        w(t) = (s(t) - s(0)) / (s(T) - s(0)),   s(t) = 1 / (1 + exp(-10 (t/T - 1/2)))

    and 1 after T steps. Bowman et al. (arXiv 1511.06349), section 3.1; the sigmoid is shifted and
    scaled so that it begins at 0 and ends at 1.

    >>> [round(float(annealing_weight(step, 100)), 2) for step in (0, 25, 50, 75, 100, 200)]
    [0.0, 0.07, 0.5, 0.93, 1.0, 1.0]

    Args:
      step: The number t of steps done, a scalar.
      steps: The number T of steps; 0 for a weight of 1 from the beginning.
    """
    if not steps:
        return tf.ones([])
    low, high = (1 / (1 + math.exp(-STEEPNESS * place)) for place in (-0.5, 0.5))
    share = tf.cast(step, tf.float32) / steps
    weight = (tf.sigmoid(STEEPNESS * (share - 0.5)) - low) / (high - low)
    return tf.where(share < 1, weight, 1.0)


def seen_tokens(ids: tf.Tensor, keep_rate: float, seed: tf.Tensor) -> tf.Tensor | None:
    """Draws which tokens a decoder is told: each independently with probability `keep_rate`.

    Args:
      ids: The tokens, `[batch, steps]`.
      keep_rate: The probability, from 0 (a decoder without inputs) to 1.
      seed: The seed, `[2]`, int32.

    Returns:
      `[batch, steps]`, boolean; None for all.
    """
    if keep_rate == 1:
        return None
    # What XLA makes on CPUs of the algorithm that TensorFlow selects is 80 times as slow.
    return tf.random.stateless_uniform(shape_of(ids), seed, alg="philox") < keep_rate


def kl_divergence(posterior: Posterior) -> tf.Tensor:
    """Computes KL(q(z|x) || p(z)) of each component of z.

        KL = (mu^2 + sigma^2 - log sigma^2 - 1) / 2

    Args:
      posterior: The posteriors.

    Returns:
      The divergences in nats, `[batch, latent]`, in the dtype of the posterior.
    """
    mean, log_variance = posterior
    # Where sigma is near 1, the difference of exp and 1 would have lost its digits.
    return 0.5 * (tf.square(mean) + tf.math.expm1(log_variance) - log_variance)


def with_free_bits(divergence: tf.Tensor, free: float) -> tf.Tensor:
    """Returns the divergence that counts in training, where some of each component is free.

        sum_j max(free, mean over the batch of KL_j)

    Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow"
    (arXiv 1606.04934), section C.8, with each component as a group of its own.

    Args:
      divergence: The divergences, `[batch, latent]`.
      free: The nats of each component that are free; 0 for none.
    """
    of_components = tf.reduce_mean(divergence, axis=0)
    return tf.reduce_sum(tf.maximum(of_components, free))


def reconstruction_losses(
    model: SentenceModel,
    ids: tf.Tensor,
    latent: tf.Tensor | None,
    seen: tf.Tensor | None = None,
    training: bool = False,
    seed: tf.Tensor | None = None,
) -> tf.Tensor:
    """Computes -ln p(x|z) of sentences, in nats, `[batch]`, float32.

    Args:
      model: The model.
      ids: The tokens, `[batch, steps]`, int32, `PADDING` after the end of each.
      latent: The vectors z, `[batch, latent]`; None for a language model.
      seen: Which tokens the decoder is told; see `SentenceModel.call`.
      training: Whether a gradient will be taken. Default False.
      seed: The seed of the dropout of the core; None for no dropout.
    """
    logits = model(ids, latent, seen=seen, training=training, seed=seed)
    return tf.reduce_sum(character_losses(logits, ids)[0], axis=0)


class Bounds(NamedTuple):
    """Bounds of ln p(x) of sentences, from K vectors z of each.

    Attributes:
      evidence: The evidence lower bound (ELBO), `[batch]`, float64.
      importance_weighted: The importance-weighted bound, `[batch]`, float64, which is nowhere below
        the other.
    """

    evidence: tf.Tensor
    importance_weighted: tf.Tensor


def bounds_of(log_weights: tf.Tensor) -> Bounds:
    """Returns bounds of ln p(x) from weights of vectors z that were drawn from q(z|x).

        w_k = p(x|z_k) p(z_k) / q(z_k|x)
        ELBO = E[1/K sum_k ln w_k] <= E[ln 1/K sum_k w_k] <= ln p(x)

    Burda, Grosse, Salakhutdinov, "Importance Weighted Autoencoders" (arXiv 1509.00519). With K = 1
    both are the same.

    Args:
      log_weights: The logarithms of the weights, `[K, batch]`, float64.
    """
    count = tf.cast(tf.shape(log_weights)[0], log_weights.dtype)
    return Bounds(
        evidence=tf.reduce_mean(log_weights, axis=0),
        importance_weighted=tf.reduce_logsumexp(log_weights, axis=0) - tf.math.log(count),
    )


def log_weights(
    model: SentenceModel,
    ids: tf.Tensor,
    posterior: Posterior,
    noise: tf.Tensor,
    seen: tf.Tensor | None = None,
) -> tf.Tensor:
    """Computes ln p(x|z) + ln p(z) - ln q(z|x) of one z for each sentence, `[batch]`, float64.

        ln p(z) - ln q(z|x) = sum_j (eps_j^2 + log sigma_j^2 - z_j^2) / 2,   z = mu + sigma eps

    Args:
      model: The model.
      ids: The tokens, `[batch, steps]`, int32.
      posterior: The posteriors of the sentences.
      noise: The standard normal numbers eps, `[batch, latent]`, float32.
      seen: Which tokens the decoder is told; see `SentenceModel.call`.
    """
    latent = posterior.sample(noise)
    losses = reconstruction_losses(model, ids, latent, seen)
    wide, eps = tf.cast(latent, tf.float64), tf.cast(noise, tf.float64)
    log_variance = tf.cast(posterior.log_variance, tf.float64)
    ratio = tf.reduce_sum(tf.square(eps) + log_variance - tf.square(wide), axis=1) / 2
    return ratio - tf.cast(losses, tf.float64)


def bounds(
    model: SentenceModel,
    ids: tf.Tensor,
    seed: tf.Tensor,
    samples: int = 100,
    is_inputless: bool = False,
) -> Bounds:
    """Computes both bounds of ln p(x) of sentences; see `bounds_of`.

    The memory does not grow with the number of samples.

    Args:
      model: The model, with an encoder.
      ids: The tokens, `[batch, steps]`, int32, `PADDING` after the end of each.
      seed: The seed of the vectors z, `[2]`, int32.
      samples: The number K of vectors z for each sentence. Default 100.
      is_inputless: Whether the decoder is told no token. Default False.

    Raises:
      InputError: If `samples` is no positive integer.
    """
    require_integer("samples", samples, 1)
    posterior = model.encode(ids)
    shape = shape_of(posterior.mean)
    seen = tf.zeros(shape_of(ids), tf.bool) if is_inputless else None

    def body(at: tf.Tensor, weights: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        own = tf.random.experimental.stateless_fold_in(seed, at)
        noise = tf.random.stateless_normal(shape, own, alg="philox")
        return at + 1, weights.write(at, log_weights(model, ids, posterior, noise, seen))

    found = tf.TensorArray(tf.float64, samples, element_shape=[posterior.mean.shape[0]])
    _, found = tf.while_loop(lambda at, _: at < samples, body, (0, found))
    return bounds_of(found.stack())
