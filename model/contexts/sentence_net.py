"""A recurrent net over sentences, as a context."""

from typing import Any

import keras
import tensorflow as tf

from ..core import State
from ..layers.stacked_lstm import StackedLSTM
from .context import ContextReading, NetShape, store
from .sentences import SentenceContext


class SentenceNetContext(SentenceContext):
    """A recurrent net over the sentences of a document enters every step: the hierarchical model.

        v_0 = 0;  v_n = LSTM(s_n B, v_{n-1});  x_t = E[c_{t-1}] + v_n P

    Here s_n is the hidden vector at the top of the core when the last character of sentence n had
    entered it, and v_n is told in sentence n + 1. The core begins anew with each sentence, and v
    with each document. The hierarchical baseline of Ji et al. (arXiv 1511.03962), after Lin et al.,
    "Hierarchical recurrent neural network for document modeling" (EMNLP 2015).

    The size is the units of the net over sentences, by default those of the model. The state is the
    number of characters of the sentence so far, the newest hidden vector of the core, and the
    hidden and memory vectors of the net.

    Attributes:
      sentence_kernel: The projection B, `[units, size]`.
      input_kernel: The projection P, `[size, input_width]`.
      sentence_net: The net over sentences, a `StackedLSTM` of one layer.
    """

    enters_input = True

    def __init__(self, net: NetShape, size: int = 0, **kwargs: Any):
        super().__init__(net, size, **kwargs)
        self.state_width = 1 + net.units + 2 * self.size
        scale = self.size**-0.5
        self.sentence_net = StackedLSTM(
            self.size,
            kernel_initializer=keras.initializers.RandomUniform(-scale, scale),
            dtype=self.dtype_policy,
            name="sentence_net",
        )

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        super().build()
        self.sentence_net.plan = self.plan._replace(remat_steps=0)
        self.sentence_net.build((None, None, self.size))
        self.sentence_kernel = self.add_kernel("sentence_kernel", self.net.units, self.size)
        self.input_kernel = self.add_kernel("input_kernel", self.size, self.net.input_width)

    def weight_tensors(self) -> Any:
        """Returns the weights as tensors; see `Context`."""
        return {**self._named_tensors(), "sentence_net": self.sentence_net.weight_tensors()}

    def stored_weights(self, dtype: str) -> Any:
        """Returns copies of the weights; see `Context`."""
        own = store(self._named_tensors(), dtype)
        return {**own, "sentence_net": self.sentence_net.stored_weights(dtype)}

    def _named_tensors(self) -> dict[str, tf.Tensor]:
        """Returns the weights without those of the net over sentences."""
        own = self.boundaries, self.sentence_kernel, self.input_kernel
        return {one.name: tf.convert_to_tensor(one) for one in own}

    def read(
        self,
        weights: Any,
        ids: tf.Tensor,
        state: tf.Tensor,
        keep: tf.Tensor | None = None,
        training: bool = False,
    ) -> ContextReading:
        """Advances the net over sentences where one ends; see `Context.read`."""
        del keep
        widths = [1, self.net.units, self.size, self.size]
        _, newest, hidden, memory = tf.split(state, widths, axis=1)
        place, ends_sentence, ends_document = self.place_after(weights, ids[0], state)
        entering = self.product(newest, weights["sentence_kernel"])[None]
        _, after = self.sentence_net.over_time(
            self.sentence_net.core_inputs(entering),
            State(hidden=hidden[None], memory=memory[None]),
            training=training,
            keep=tf.transpose(ends_sentence),
            weights=weights["sentence_net"],
        )
        hidden, memory = (
            tf.where(ends_document, 0.0, tf.cast(part[0], tf.float32)) for part in after
        )
        numbers = tf.cast(place, tf.float32)[:, None]
        return ContextReading(
            state=tf.concat([numbers, newest, hidden, memory], axis=1),
            inputs=self.product(hidden, weights["input_kernel"])[None],
        )

    def observe(
        self, weights: Any, ids: tf.Tensor, state: tf.Tensor, hidden: tf.Tensor
    ) -> tf.Tensor:
        """Returns the state with the newest hidden vector; see `Context.observe`."""
        del weights, ids
        return tf.concat([state[:, :1], hidden, state[:, 1 + self.net.units :]], axis=1)
