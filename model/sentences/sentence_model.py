"""A variational autoencoder of sentences: an encoder to a latent vector, and a decoder from it."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ..config import require_integer
from ..core import State
from ..errors import InputError
from ..execution.plan import PLAIN, Plan
from ..language_model.character_model import CharacterModel
from ..language_model.config import ModelConfig, make_core
from ..language_model.forward import CharacterState
from ..layers.configured_model import ConfiguredModel
from ..shapes import shape_of
from ..text.vocabulary import PADDING
from .config import LATENT, SentenceModelConfig


class Posterior(NamedTuple):
    """The normal distributions q(z|x) of sentences, whose components are independent.

    Attributes:
      mean: The means mu, `[batch, latent]`, float32.
      log_variance: The logarithms of the variances sigma^2, `[batch, latent]`, float32.
    """

    mean: tf.Tensor
    log_variance: tf.Tensor

    def sample(self, noise: tf.Tensor) -> tf.Tensor:
        """Returns z = mu + sigma * noise.

        Args:
          noise: Standard normal numbers, `[batch, latent]`, float32.
        """
        return self.mean + tf.exp(0.5 * self.log_variance) * noise


class SentenceEncoder(keras.layers.Layer):
    """The parameters of q(z|x) from the hidden vector at the top after the last token.

        x_t = E[c_t];  y_t = core(x_t);  [mu, log sigma^2] = y_n W + b

    Args:
      config: The core.
      vocabulary_size: The number of distinct tokens.
      latent: The number of components of z.
      plan: The execution plan.
      **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(
        self, config: ModelConfig, vocabulary_size: int, latent: int, plan: Plan, **kwargs: Any
    ):
        super().__init__(autocast=False, **kwargs)
        self.config = config
        self.vocabulary_size = vocabulary_size
        self.latent = latent
        self.core = make_core(config, self.dtype_policy.name)
        self.core.plan = plan

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        width = self.core.input_width
        self.core.build((None, None, width))
        scale, bound = self.config.kernel_scale, self.config.init_scale or 1.0
        uniform = keras.initializers.RandomUniform
        self.embedding = self.add_weight(
            name="embedding",
            shape=(self.vocabulary_size, width),
            initializer=uniform(-bound, bound),
        )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.config.units, 2 * self.latent),
            initializer=uniform(-scale, scale),
        )
        self.bias = self.add_weight(name="bias", shape=(2 * self.latent,), initializer="zeros")
        self.built = True

    def call(
        self, ids: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None
    ) -> Posterior:
        """Computes the posterior of sentences.

        Args:
          ids: The tokens, `[batch, steps]`, int32, `PADDING` after the end of each, at least one
            step.
          training: Whether a gradient will be taken. Default False.
          seed: The seed of the dropout of the core, `[2]`, int32; None for no dropout.
        """
        batch = shape_of(ids)[0]
        time_major = tf.transpose(ids)
        embedded = tf.gather(self.embedding, tf.maximum(time_major, 0))
        start = State(
            hidden=tf.zeros([self.core.state_layers, batch, self.core.units], tf.float32),
            memory=tf.zeros([self.core.state_layers, batch, self.core.memory_width], tf.float32),
        )
        outputs, _ = self.core.over_time(
            self.core.core_inputs(embedded),
            start,
            training=training,
            seed=seed,
            keep=time_major != PADDING,
        )
        lengths = tf.math.count_nonzero(ids != PADDING, axis=1, dtype=tf.int32)
        last = tf.maximum(lengths - 1, 0)
        top = tf.gather(tf.transpose(outputs, [1, 0, 2]), last, batch_dims=1)
        kernel = tf.cast(self.kernel, top.dtype)
        parameters = tf.cast(tf.matmul(top, kernel), tf.float32) + self.bias
        return Posterior(*tf.split(parameters, 2, axis=1))


@keras.saving.register_keras_serializable(package="grid_lstm")
class SentenceModel(ConfiguredModel):
    """A variational autoencoder of sentences, p(x) = integral of p(x|z) p(z) dz.

        q(z|x) = N(mu, diag(sigma^2)),  mu and log sigma^2 of an encoder;  p(z) = N(0, I)
        p(x|z) = prod_t p(x_t | x_1, ..., x_{t-1}, z) of a decoder

    Bowman, Vilnis, Vinyals, Dai, Jozefowicz, Bengio, "Generating Sentences from a Continuous Space"
    (arXiv 1511.06349). Encoder and decoder are recurrent cores of any architecture. The decoder is
    a `CharacterModel` with the context `latent`: it begins from z and sees it at each step. Tokens
    are the ids of words or of characters, with one of their own at the end of each sentence.

    >>> config = SentenceModelConfig(ModelConfig(layers=1, units=8), ModelConfig(layers=1, units=8))
    >>> model = SentenceModel(config, vocabulary_size=5)
    >>> ids = tf.constant([[0, 3, 1, 4], [2, 4, -1, -1]])  # 4 ends a sentence
    >>> posterior = model.encode(ids)
    >>> model(ids, posterior.sample(tf.random.normal([2, 32]))).shape
    TensorShape([4, 2, 5])

    Args:
      config: The architecture.
      vocabulary_size: The number of distinct tokens, at least 2.
      plan: The execution plan. Default: the one that every TensorFlow runs.
      **kwargs: Arguments of `keras.Model`.

    Raises:
      InputError: If there are fewer than 2 tokens to choose from.

    Attributes:
      encoder: The `SentenceEncoder`; None for a language model.
      decoder: The decoder, a `CharacterModel`.
    """

    config_type = SentenceModelConfig

    def __init__(
        self, config: SentenceModelConfig, vocabulary_size: int, plan: Plan = PLAIN, **kwargs: Any
    ):
        super().__init__(autocast=False, **kwargs)
        self.config = config
        self.vocabulary_size = require_integer("vocabulary_size", vocabulary_size, 2)
        self.decoder = CharacterModel(config.decoder_core, vocabulary_size, plan, name="decoder")
        self.encoder = None
        if config.encoder is not None:
            self.encoder = SentenceEncoder(
                config.encoder,
                vocabulary_size,
                config.latent,
                plan,
                dtype=self.decoder.dtype_policy,
                name="encoder",
            )
            self.encoder.build()
        self.built = True

    def encode(
        self, ids: tf.Tensor, training: bool = False, seed: tf.Tensor | None = None
    ) -> Posterior:
        """Computes q(z|x) of sentences; see `SentenceEncoder.call`.

        Raises:
          InputError: If the model is a language model without an encoder.
        """
        if self.encoder is None:
            raise InputError("the model has no encoder; give `SentenceModelConfig.encoder` a core")
        return self.encoder(ids, training=training, seed=seed)

    def initial_state(self, batch: int | tf.Tensor, latent: tf.Tensor | None) -> CharacterState:
        """Returns the state of the decoder before the first token.

        Args:
          batch: The number of sentences.
          latent: Their vectors z, `[batch, latent]`; None for a language model.
        """
        return self.decoder.initial_state(batch, None if latent is None else {LATENT: latent})

    def call(
        self,
        ids: tf.Tensor,
        latent: tf.Tensor | None = None,
        seen: tf.Tensor | None = None,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the predictions of the tokens of given sentences.

        Args:
          ids: The tokens, `[batch, steps]`, int32, `PADDING` after the end of each, at least one
            step.
          latent: The vectors z, `[batch, latent]`; None (the default) for a language model.
          seen: Which tokens the decoder is told before it predicts the next one, `[batch, steps]`,
            boolean (word dropout); in place of others it is told the id that stands for no known
            token. None (the default) for all.
          training: Whether a gradient will be taken. Default False.
          seed: The seed of the dropout of the core, `[2]`, int32; None for no dropout.

        Returns:
          The logits, `[steps, batch, vocabulary_size]`, time-major; see `CharacterModel.call`.
        """
        told = tf.maximum(ids, 0)
        if seen is not None:
            told = tf.where(seen, told, self.vocabulary_size)
        start = self.initial_state(shape_of(ids)[0], latent)
        logits, _ = self.decoder(told, start, training=training, seed=seed, keep=ids != PADDING)
        return logits
