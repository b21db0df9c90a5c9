"""A language model over words: the vectors of the words, a recurrent core, and a softmax."""

from typing import Any

import keras
import tensorflow as tf

from ..config import require_integer
from ..core import State
from ..execution.plan import PLAIN, Plan
from ..grid.dropout import MaskUse, drop, seed_for
from ..language_model.config import make_core
from ..layers.configured_model import ConfiguredModel
from ..shapes import shape_of
from .character_embedding import CharacterWordEmbedding
from .config import WordModelConfig
from .spelling import PADDING


@keras.saving.register_keras_serializable(package="grid_lstm")
class WordModel(ConfiguredModel):
    """A language model over words: p(w_1, ..., w_n) = prod_t p(w_{t+1} | w_1, ..., w_t).

        x_t = E[w_t] of a table E, or V f(characters of w_t) of a `CharacterWordEmbedding` f
        y_t = core(x_t);  p(w_{t+1} | ...) = softmax(y_t W + b)

    With the inputs "characters" a word that the vocabulary lacks has a vector, too; as a target it
    is the word `text.word_vocabulary.UNKNOWN` in either case. The softmax is over all words. V is a
    linear projection without a bias, as what enters a core must have its width; the core of the
    paper multiplies the vectors of words by its own kernels instead.

    >>> config = WordModelConfig(ModelConfig(architecture="stacked", units=8), widths=(1, 2))
    >>> model = WordModel(config, vocabulary_size=20, character_count=30)
    >>> words = np.array([[[1, 9, 7, 2], [1, 8, 2, 0]]])  # a batch of one text of two words
    >>> logits, state = model(words, model.initial_state(1))
    >>> logits.shape
    TensorShape([1, 2, 20])

    Args:
      config: The architecture.
      vocabulary_size: The number of distinct ids of words.
      character_count: The number of distinct ids of characters, padding included; 0 (the default)
        with the inputs "words", which need none.
      plan: The execution plan. Default: the one that every TensorFlow runs.
      **kwargs: Arguments of `keras.Model`.

    Raises:
      InputError: If an argument is invalid; the message names it, its value and what is expected.

    Attributes:
      embedding: The table of words, or the `CharacterWordEmbedding`.
      projection: The projection V; None for a table of words.
      core: The recurrent core.
      output_layer: The kernel W, `[units, vocabulary_size]`, and b, as a `keras.layers.Dense`.
    """

    config_type = WordModelConfig

    def __init__(
        self,
        config: WordModelConfig,
        vocabulary_size: int,
        character_count: int = 0,
        plan: Plan = PLAIN,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.config = config
        self.vocabulary_size = require_integer("vocabulary_size", vocabulary_size, 2)
        has_characters = config.inputs == "characters"
        self.character_count = require_integer(
            "character_count", character_count, 2 if has_characters else 0
        )
        policy = self.dtype_policy
        self.core = make_core(config.core, policy.name)
        self.core.plan = plan
        scale = config.core.kernel_scale
        width = self.core.input_width

        def uniform() -> Any:
            return keras.initializers.RandomUniform(-scale, scale)

        self.projection = None
        if has_characters:
            self.embedding = CharacterWordEmbedding(
                character_count,
                config.character_width,
                config.widths,
                config.maps_per_width,
                config.max_maps,
                config.highway_layers,
                kernel_initializer=uniform(),
                dtype=policy,
                name="characters",
            )
            self.projection = keras.layers.Dense(
                width, use_bias=False, kernel_initializer=uniform(), dtype=policy, name="projection"
            )
        else:
            self.embedding = keras.layers.Embedding(
                vocabulary_size, width, uniform(), dtype=policy, name="words"
            )
        self.output_layer = keras.layers.Dense(
            vocabulary_size, kernel_initializer=uniform(), dtype=policy, name="output"
        )
        self.build()

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        self.embedding.build((None, None))
        if self.projection is not None:
            self.projection.build((None, self.embedding.units))
        self.core.build((None, None, self.core.input_width))
        self.output_layer.build((None, None, self.config.core.units))
        self.built = True

    def initial_state(self, batch: int | tf.Tensor) -> State:
        """Returns the state of texts of which nothing has been read.

        Args:
          batch: The number of texts.
        """
        core = self.core
        return State(
            hidden=tf.zeros([core.state_layers, batch, core.units], self.variable_dtype),
            memory=tf.zeros([core.state_layers, batch, core.memory_width], self.variable_dtype),
        )

    def call(
        self,
        inputs: tf.Tensor,
        state: State,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, State]:
        """Computes the logits of the word after each of given words.

        Args:
          inputs: The words: their ids, `[batch, steps]`, or with the inputs "characters" those of
            their characters, `[batch, steps, longest]`, 0 for padding after a word; int32.
          state: The state before them.
          training: Whether a gradient will be taken. Default False.
          seed: The seed of the dropout, `[2]`, int32; None (the default) for no dropout.

        Returns:
          The logits, `[batch, steps, vocabulary_size]`, and the state after the last word.
        """
        return self.logits_of(self.embed(inputs), state, training, seed)

    def embed(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the vectors of words that enter the core, `[..., core.input_width]`.

        Words of the same characters, of which a batch has many, are computed once.

        Args:
          inputs: The words, as `call` takes them.
        """
        if self.projection is None:
            return self.embedding(inputs)
        inputs = tf.convert_to_tensor(inputs)
        *leading, longest = shape_of(inputs)
        words = tf.reshape(inputs, [-1, longest])
        distinct, places = tf.raw_ops.UniqueV2(x=words, axis=[0])
        used = tf.reduce_any(distinct != PADDING, axis=0)
        length = tf.maximum(tf.math.count_nonzero(used, dtype=tf.int32), 1)
        vectors = self.projection(self.embedding(distinct[:, :length]))
        return tf.reshape(tf.gather(vectors, places), [*leading, self.core.input_width])

    def logits_of(
        self,
        embedded: tf.Tensor,
        state: State,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, State]:
        """Computes the logits as `call` does, from the vectors of `embed`.

        Args:
          embedded: The vectors, `[batch, steps, core.input_width]`.
          state: The state before them.
          training: Whether a gradient will be taken. Default False.
          seed: The seed of the dropout, `[2]`, int32; None (the default) for no dropout.

        Returns:
          The logits, `[batch, steps, vocabulary_size]`, and the state after the last word.
        """
        outputs, after = self.core.over_time(
            self.core.core_inputs(tf.transpose(embedded, [1, 0, 2])),
            state,
            training,
            seed_for(seed, MaskUse.CORE),
        )
        outputs = drop(outputs, self.config.core.dropout, seed_for(seed, MaskUse.OUTPUT))
        # Hidden vectors are transposed rather than logits, which are many times as wide.
        logits = self.output_layer(tf.transpose(outputs, [1, 0, 2]))
        return logits, State(*(tf.cast(part, self.variable_dtype) for part in after))

    def get_config(self) -> dict:
        """Returns the arguments that create an equal model."""
        return {
            **super().get_config(),
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "character_count": self.character_count,
        }
