"""What tells whether the latent vector of a model says anything: information, and active units."""

from typing import NamedTuple

import numpy as np

from .objective import kl_divergence
from .sentence_model import Posterior

ACTIVE = 0.01
"""The variance over sentences of the mean of a component above which it is active."""

COLLAPSED = 0.1
"""The information of the latent vector, in nats, below which a posterior has collapsed."""

NUMBERS = 1 << 22
"""The number of numbers that are computed at once where each vector meets each posterior."""


class Diagnostics(NamedTuple):
    """What the latent vectors of some sentences say of them.

    Attributes:
      divergence: The mean of KL(q(z|x) || p(z)), in nats.
      information: The mutual information I(x; z) under q, in nats.
      active_units: The number of active components of the latent vector.
    """

    divergence: float
    information: float
    active_units: int

    @property
    def has_collapsed(self) -> bool:
        """Whether the posterior is the prior, whatever the sentence."""
        return self.information < COLLAPSED


def diagnose(means: np.ndarray, log_variances: np.ndarray, noise: np.ndarray) -> Diagnostics:
    """Returns the diagnostics of the posteriors of some sentences.

    Args:
      means: The means, `[sentences, latent]`.
      log_variances: The logarithms of the variances, `[sentences, latent]`.
      noise: Standard normal numbers, `[sentences, latent]`.
    """
    means, log_variances, noise = (
        np.asarray(one, np.float64) for one in (means, log_variances, noise)
    )
    of_components = kl_divergence(Posterior(means, log_variances)).numpy()
    return Diagnostics(
        divergence=float(of_components.sum(axis=1).mean()),
        information=mutual_information(means, log_variances, noise),
        active_units=active_units(means),
    )


def active_units(means: np.ndarray) -> int:
    """Returns the number of components whose mean varies over the sentences.

    Burda, Grosse, Salakhutdinov (arXiv 1509.00519): those with Var_x(E_q(z|x)[z_j]) > 0.01.

    Args:
      means: The means, `[sentences, latent]`.
    """
    return int(np.sum(np.var(means, axis=0) > ACTIVE))


def mutual_information(means: np.ndarray, log_variances: np.ndarray, noise: np.ndarray) -> float:
    """Estimates the mutual information of sentences and their latent vectors, in nats.

        I(x; z) = E_x E_q(z|x) [ln q(z|x) - ln q(z)],   q(z) = 1/N sum_n q(z|x_n)

    Hoffman and Johnson, "ELBO surgery" (2016); estimated as He et al. (arXiv 1901.05534) do, with
    one z of each sentence, and 0 where that happens to be less. It is at most ln N, as no more can
    be said of which of N sentences it is.

    Args:
      means: The means, `[sentences, latent]`, float64.
      log_variances: The logarithms of the variances, `[sentences, latent]`, float64.
      noise: Standard normal numbers, `[sentences, latent]`, float64.
    """
    count, size = means.shape
    deviations = np.exp(0.5 * log_variances)
    latent = means + deviations * noise
    # ln q(z_i|x_j) but for a constant, which is the same for all.
    own = -0.5 * np.sum(noise**2 + log_variances, axis=1)
    mixed = np.empty(count)
    rows = max(1, NUMBERS // (count * size))
    for first in range(0, count, rows):
        # The square would lose its digits as a sum of products, where deviations are small.
        away = (latent[first : first + rows, None] - means) / deviations
        exponents = -0.5 * np.sum(away**2 + log_variances, axis=2)
        largest = exponents.max(axis=1)
        sums = np.exp(exponents - largest[:, None]).sum(axis=1)
        mixed[first : first + rows] = largest + np.log(sums) - np.log(count)
    return max(0.0, float(np.mean(own - mixed)))
