"""Nets that translate, of as many parameters each: grids, and LSTM encoder-decoders."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from experiments.framework.widths import nearest_width
from model.translation.reencoder import Reencoder

LAYERS = 2
"""Number of layers of an encoder, and of a decoder: about the weights of two grids."""


class Sizes(NamedTuple):
    """The sizes of a net.

    Attributes:
      source: Number of source ids.
      target: Number of target ids.
      units: Width of all vectors.
      dropout: Dropout rate. Default 0.
    """

    source: int
    target: int
    units: int
    dropout: float = 0.0


class DecoderState(NamedTuple):
    """What an `EncoderDecoder` carries from one target word to the next.

    Attributes:
      layers: Hidden and memory vectors of each layer of the decoder, `[batch, units]` each.
      encoded: Hidden vectors of the top of the encoder, `[batch, source, units]`; () without
        attention.
    """

    layers: tuple[tuple[tf.Tensor, tf.Tensor], ...]
    encoded: tf.Tensor | tuple[()]


class EncoderDecoder(keras.Model):
    """An LSTM that reads a sentence backwards, and one that writes its translation.

    Sutskever, Vinyals, Le, "Sequence to Sequence Learning with Neural Networks" (arXiv 1409.3215).
    With attention, Luong, Pham, Manning, "Effective Approaches to Attention-based Neural Machine
    Translation" (arXiv 1508.04025): global, with their score "general", and without input feeding:

        a = softmax_i(h . W e_i),   c = sum_i a_i e_i,   h~ = tanh(V [c; h])

    where h is the top of the decoder and e_i that of the encoder at source word i. Sources hold no
    padding.

    Args:
      sizes: The sizes.
      has_attention: Whether the decoder attends to the encoder.
    """

    def __init__(self, sizes: Sizes, has_attention: bool):
        super().__init__()
        units = sizes.units
        self.source_embedding = keras.layers.Embedding(sizes.source, units)
        self.target_embedding = keras.layers.Embedding(sizes.target, units)
        self.encoder, self.decoder = (
            [
                keras.layers.LSTM(units, return_sequences=True, return_state=True)
                for _ in range(LAYERS)
            ]
            for _ in range(2)
        )
        self.dropout = keras.layers.Dropout(sizes.dropout)
        self.has_attention = has_attention
        if has_attention:
            self.score = keras.layers.Dense(units, use_bias=False)
            self.attention = keras.layers.Attention()
            self.combine = keras.layers.Dense(units, activation="tanh")
        self.output_layer = keras.layers.Dense(sizes.target)

    def call(self, inputs: Sequence[tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes the logits of the next word after each target word.

        Args:
          inputs: Source ids `[batch, source]`, and target ids `[batch, target]` from `BEGIN` on.
          training: Whether dropout applies. Default False.
        """
        source_ids, target_ids = inputs
        state = self.initial_state(source_ids, training)
        hidden = self.target_embedding(target_ids)
        for layer, initial in zip(self.decoder, state.layers, strict=True):
            hidden, *_ = layer(self.dropout(hidden, training=training), initial_state=initial)
        return self._logits(hidden, state, training)

    def initial_state(self, source_ids: tf.Tensor, training: bool = False) -> DecoderState:
        """Reads a sentence; see `model.translation.beam_search.Translator`."""
        hidden = self.source_embedding(tf.reverse(tf.convert_to_tensor(source_ids), [1]))
        states = []
        for layer in self.encoder:
            hidden, *state = layer(self.dropout(hidden, training=training))
            states.append(tuple(state))
        return DecoderState(tuple(states), hidden if self.has_attention else ())

    def step(self, ids: tf.Tensor, state: DecoderState) -> tuple[tf.Tensor, DecoderState]:
        """Reads a target word; see `model.translation.beam_search.Translator`."""
        hidden = self.target_embedding(ids)
        states = []
        for layer, old in zip(self.decoder, state.layers, strict=True):
            hidden, new = layer.cell(hidden, list(old))
            states.append(tuple(new))
        logits = self._logits(hidden[:, None], state, False)
        return logits[:, 0], state._replace(layers=tuple(states))

    def _logits(self, hidden: tf.Tensor, state: DecoderState, training: bool) -> tf.Tensor:
        """Returns the logits from the top of the decoder, `[batch, target, units]`."""
        if self.has_attention:
            context = self.attention([hidden, state.encoded, self.score(state.encoded)])
            hidden = self.combine(tf.concat([context, hidden], axis=-1))
        return self.output_layer(self.dropout(hidden, training=training))


def _reencoder(sizes: Sizes, directions: Sequence[str]) -> keras.Model:
    return Reencoder(
        sizes.source, sizes.target, sizes.units, directions=directions, dropout=sizes.dropout
    )


REENCODER = "Reencoder"
BASELINE = "LSTM encoder-decoder"
"""The net that the others are compared with."""

NETS: dict[str, Callable[[Sizes], Any]] = {
    REENCODER: functools.partial(_reencoder, directions=("forward", "backward")),
    "one grid": functools.partial(_reencoder, directions=("forward",)),
    "LSTM with attention": functools.partial(EncoderDecoder, has_attention=True),
    BASELINE: functools.partial(EncoderDecoder, has_attention=False),
}
"""The functions from sizes to a net, by name. All nets are called, and step, as a `Reencoder`."""


def build(name: str, sizes: Sizes) -> Any:
    """Returns a net with its variables.

    Args:
      name: Name in `NETS`.
      sizes: The sizes.
    """
    net = NETS[name](sizes)
    net([tf.ones([1, 1], tf.int32), tf.ones([1, 1], tf.int32)])
    return net


@functools.cache
def width_of(name: str, source: int, target: int, parameters: int) -> int:
    """Returns the width at which a net comes nearest to a number of parameters.

    Args:
      name: Name in `NETS`.
      source: Number of source ids.
      target: Number of target ids.
      parameters: Number of parameters.
    """
    return nearest_width(
        parameters, lambda units: build(name, Sizes(source, target, units)).count_params()
    )
