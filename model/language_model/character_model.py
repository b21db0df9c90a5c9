"""A character model: an embedding, a recurrent core, and a projection to the vocabulary."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..execution.plan import PLAIN, Plan
from ..layers.configured_model import ConfiguredModel
from ..text.vocabulary import Vocabulary
from .conditioning import Conditioning, make_contexts
from .config import ModelConfig, make_core
from .forward import (
    CharacterState,
    DecodeCharacter,
    OuterWeights,
    decode_characters,
    drop_connections,
    initial_state,
    predict_sequence,
)


@keras.saving.register_keras_serializable(package="grid_lstm")
class CharacterModel(ConfiguredModel):
    """A language model over characters: p(c_1, ..., c_n) = prod_t p(c_t | c_1, ..., c_{t-1}).

        x_t = E[c_{t-1}];  y_t = core(x_t);  p(c_t | ...) = softmax(y_t W + b)

    With tied embeddings W is no weight of its own: W = E'^T, where E' are the first `units` columns
    of the rows of characters, and x_t = s E[c_{t-1}]. E is initialised like an output kernel, and s
    is what makes the inputs as large as those of another model.

    Ids below `vocabulary_size` are characters. The id `vocabulary_size` stands for "no known
    character": the one before the first, or one that the vocabulary lacks.

    >>> model = CharacterModel(ModelConfig(layers=2, units=8), vocabulary_size=5)
    >>> logits, state = model(tf.constant([[0, 1, 2]]), model.initial_state(1))
    >>> logits.shape
    TensorShape([3, 1, 5])

    Args:
      config: The architecture.
      vocabulary_size: The number of distinct characters.
      plan: The execution plan. Default: the one that every TensorFlow runs.
      **kwargs: Arguments of `keras.Model`.

    Attributes:
      config: The architecture.
      vocabulary_size: The number of distinct characters.
      plan: The execution plan; weights and the state are float32 in any case.
      core: The recurrent core, a Keras layer.
      embedding: The embedding E, `[vocabulary_size + 1, input_width]`; its last row starts at zero.
      output_kernel: The output kernel W, `[units, vocabulary_size]`; absent with tied embeddings.
      output_bias: The output bias b, `[vocabulary_size]`.
      contexts: The contexts, Keras layers; see `contexts.context.Context`.
    """

    config_type = ModelConfig

    def __init__(
        self, config: ModelConfig, vocabulary_size: int, plan: Plan = PLAIN, **kwargs: Any
    ):
        policy = "mixed_bfloat16" if plan.dtype == "bfloat16" else plan.dtype
        super().__init__(dtype=policy, autocast=False, **kwargs)
        self.config = config
        self.vocabulary_size = vocabulary_size
        self.plan = plan
        self.core = make_core(config, policy)
        self.core.plan = plan
        self.build()

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        self.core.build((None, None, self.core.input_width))
        self.embedding = self.add_weight(
            autocast=False,
            name="embedding",
            shape=(self.vocabulary_size + 1, self.core.input_width),
            initializer=self._initial_embedding,
        )
        if not self.config.tied_embeddings:
            scale = self.config.kernel_scale
            self.output_kernel = self.add_weight(
                autocast=False,
                name="output_kernel",
                shape=(self.config.units, self.vocabulary_size),
                initializer=keras.initializers.RandomUniform(-scale, scale),
            )
        self.output_bias = self.add_weight(
            autocast=False, name="output_bias", shape=(self.vocabulary_size,), initializer="zeros"
        )
        self.contexts = make_contexts(
            self.config, self.core, self.vocabulary_size, self.plan, self.dtype_policy
        )
        # A tf.train.Checkpoint finds layers by attributes, and none within a list.
        for context in self.contexts:
            setattr(self, f"context_{context.name}", context)
        self.built = True

    def adapt(self, vocabulary: Vocabulary, sample: Sequence[np.ndarray]) -> None:
        """Takes from the training text what contexts have to know before training.

        Args:
          vocabulary: The vocabulary.
          sample: Ids of the beginning of the training text, `[streams, window]` each, int32.
        """
        for context in self.contexts:
            context.adapt(vocabulary, sample)

    def _initial_embedding(self, shape: Any, dtype: Any) -> tf.Tensor:
        """Returns uniform rows for characters; zeros for "no known character", rare in training."""
        config = self.config
        scale = config.kernel_scale if config.tied_embeddings else config.embedding_scale
        characters = keras.initializers.RandomUniform(-scale, scale)(
            (shape[0] - 1, shape[1]), dtype
        )
        return tf.concat([characters, tf.zeros([1, shape[1]], dtype)], axis=0)

    @property
    def state_layers(self) -> int:
        """The number of layers of a state: all, but for a recurrent highway network 1."""
        return self.core.state_layers

    @property
    def memory_width(self) -> int:
        """The width of the memory vectors of a state: `units`, unless the cell has more."""
        return self.core.memory_width

    def initial_state(
        self, batch: int | tf.Tensor, given: Mapping[str, tf.Tensor] | None = None
    ) -> CharacterState:
        """Returns the state of texts of which nothing has been read.

        Args:
          batch: The number of texts.
          given: What contexts are that are given from outside, `[batch, ...]`, by their names.
            Default: nothing.
        """
        return initial_state(self.core, self.vocabulary_size, batch, self._conditioning(), given)

    def _conditioning(self) -> Conditioning:
        weights = [context.weight_tensors() for context in self.contexts]
        return Conditioning(self.contexts, weights)

    def outer_weights(self) -> OuterWeights:
        """Returns the weights around the core as tensors."""
        config, embedding = self.config, tf.convert_to_tensor(self.embedding)
        if config.tied_embeddings:
            kernel = tf.transpose(embedding[: self.vocabulary_size, : config.units])
            embedding *= config.embedding_scale / config.kernel_scale
        else:
            kernel = tf.convert_to_tensor(self.output_kernel)
        return OuterWeights(embedding, kernel, tf.convert_to_tensor(self.output_bias))

    def call(
        self,
        ids: tf.Tensor,
        state: CharacterState,
        training: bool = False,
        seed: tf.Tensor | None = None,
        keep: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, CharacterState]:
        """Computes the predictions of given characters.

        Args:
          ids: The characters to predict, `[batch, steps]`, int32, at least one step.
          state: The state before them.
          training: Whether a gradient will be taken. Default False.
          seed: The seed of the dropout masks, `[2]`, int32; None for no dropout.
          keep: The mask, `[batch, steps]`, boolean, False after the end of a text; None for texts
            of the same length.

        Returns:
          The logits, `[steps, batch, vocabulary_size]`, time-major, where row t has seen the
          characters before t and not t itself; and the state after the last character.
        """
        core_weights = None
        if seed is not None and self.config.weight_dropout:
            core_weights = drop_connections(
                self.core.weight_tensors(), self.config.weight_dropout, seed
            )
        return predict_sequence(
            self.core,
            core_weights,
            self.outer_weights(),
            ids,
            state,
            training=training,
            seed=seed,
            dropout=self.config.dropout,
            keep=keep,
            conditioning=self._conditioning(),
        )

    def decode_step(self) -> DecodeCharacter:
        """Returns the function that predicts the next character, to be called in a loop.

        The kernels are packed here, outside of the loop.
        """
        return decode_characters(
            self.core,
            None,
            self.core.pack(self.compute_dtype),
            self.outer_weights(),
            self.compute_dtype,
            self._conditioning(),
        )
