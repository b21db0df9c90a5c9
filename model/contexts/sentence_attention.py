"""Attention over the hidden vectors of the sentence before, as a context."""

from typing import Any, NamedTuple

import tensorflow as tf

from .context import ContextReading, NetShape, whole_numbers
from .sentences import EMPTY, SentenceContext

_NEVER = -1e9
"""The score of a place without a vector, whose weight is 0."""


class Attention(NamedTuple):
    """The attention of a step.

    Attributes:
      state: The state after the character that entered, `[batch, state_width]`.
      weights: The weight of each vector of the sentence before, the newest last, `[batch, size]`;
        all zeros in the first sentence of a document.
      attended: The sum of the vectors by their weights, `[batch, units]`.
    """

    state: tf.Tensor
    weights: tf.Tensor
    attended: tf.Tensor


class SentenceAttentionContext(SentenceContext):
    """Attention over the sentence before enters every step and the softmax: the model ADCLM.

        e_m = a . tanh(h_{t-1} Q + s_m K);  w = softmax(e);  d = sum_m w_m s_m
        x_t = E[c_{t-1}] + d P;  logits = h_t W + b + d U

    Here s_m are the hidden vectors at the top of the core when each character of the sentence
    before had entered it, the last `size` of them. h_{t-1} is the hidden vector before the
    character that enters, and zeros where a sentence begins; d is zeros in the first sentence of a
    document. Ji et al. (arXiv 1511.03962), after Bahdanau, Cho, Bengio (arXiv 1409.0473).

    The size is the largest number of vectors, 32 by default. The state is the number of characters
    of the sentence so far, the number of vectors of the sentence before, the newest hidden vector,
    and the vectors s_m and their products s_m K of both sentences: `2 + units + 4 * size * units`
    numbers.

    Attributes:
      query_kernel: The kernel Q, `[units, units]`.
      key_kernel: The kernel K, `[units, units]`.
      score_kernel: The vector a, `[units, 1]`.
      input_kernel: The projection P, `[units, input_width]`.
      output_kernel: The kernel U, `[units, vocabulary_size]`.
    """

    default_size = 32
    enters_input = True

    def __init__(self, net: NetShape, size: int = 0, **kwargs: Any):
        super().__init__(net, size, **kwargs)
        self.counted = self.size
        self.state_width = 2 + net.units + 4 * self.size * net.units

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        super().build()
        units = self.net.units
        self.input_kernel = self.add_kernel("input_kernel", units, self.net.input_width)
        self.query_kernel = self.add_kernel("query_kernel", units, units)
        self.key_kernel = self.add_kernel("key_kernel", units, units)
        self.score_kernel = self.add_kernel("score_kernel", units, 1)
        self.output_kernel = self.add_kernel("output_kernel", units, self.net.vocabulary_size)

    def attend(self, weights: Any, ids: tf.Tensor, state: tf.Tensor) -> Attention:
        """Computes the attention when a character enters.

        Args:
          weights: The weights, as `weight_tensors` returns them.
          ids: The character, `[batch]`, int32.
          state: The state before it, `[batch, state_width]`.
        """
        units, size = self.net.units, self.size
        numbers, newest, before, now = self._split(state)
        place, ends_sentence, ends_document = self.place_after(weights, ids, state)
        read = whole_numbers(numbers[:, 0], EMPTY + size + 1) - EMPTY
        count = whole_numbers(numbers[:, 1], size + 1)
        count = tf.where(ends_sentence[:, 0], read, count)
        count = tf.where(ends_document[:, 0], 0, count)
        before = tf.where(ends_sentence[..., None], now, before)
        vectors, keys = tf.split(before, [units, units], axis=2)

        begins = (place == EMPTY)[:, None]
        query = self.product(tf.where(begins, 0.0, newest), weights["query_kernel"])
        hidden = tf.reshape(tf.tanh(query[:, None] + keys), [-1, units])
        scores = tf.reshape(self.product(hidden, weights["score_kernel"]), [-1, size])
        is_there = tf.range(size) >= size - count[:, None]
        shares = tf.nn.softmax(tf.where(is_there, scores, _NEVER))
        shares = tf.where(is_there, shares, 0.0)
        attended = tf.reduce_sum(shares[..., None] * vectors, axis=1)
        new_numbers = tf.cast(tf.stack([place, count], axis=1), tf.float32)
        return Attention(self._join(new_numbers, newest, before, now), shares, attended)

    def read(
        self,
        weights: Any,
        ids: tf.Tensor,
        state: tf.Tensor,
        keep: tf.Tensor | None = None,
        training: bool = False,
    ) -> ContextReading:
        """Attends to the sentence before; see `Context.read`."""
        del keep, training
        found = self.attend(weights, ids[0], state)
        return ContextReading(
            state=found.state,
            inputs=self.product(found.attended, weights["input_kernel"])[None],
            outputs=found.attended[None],
        )

    def change_logits(
        self, weights: Any, outputs: tf.Tensor, hidden: tf.Tensor, logits: tf.Tensor, dtype: Any
    ) -> tf.Tensor:
        """Returns the logits with what is attended to; see `Context.change_logits`."""
        del hidden, dtype
        return logits + self.product(outputs, weights["output_kernel"])

    def observe(
        self, weights: Any, ids: tf.Tensor, state: tf.Tensor, hidden: tf.Tensor
    ) -> tf.Tensor:
        """Returns the state with the vector of one more character; see `Context.observe`."""
        del ids
        numbers, _, before, now = self._split(state)
        entry = tf.concat([hidden, self.product(hidden, weights["key_kernel"])], axis=1)
        longer = tf.concat([now[:, 1:], entry[:, None]], axis=1)
        # The end of the sentence before is no character of this one.
        is_character = whole_numbers(numbers[:, 0], EMPTY + self.size + 1) > EMPTY
        now = tf.where(is_character[:, None, None], longer, now)
        return self._join(numbers, hidden, before, now)

    def _split(self, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the numbers, `[batch, 2]`, the newest vector, and what is kept of both sentences.

        That is `[batch, size, 2 * units]` each, the vectors and their products with K, the newest
        last.
        """
        units = self.net.units
        half = 2 * self.size * units
        numbers, newest, before, now = tf.split(state, [2, units, half, half], axis=1)
        shape = [-1, self.size, 2 * units]
        return numbers, newest, tf.reshape(before, shape), tf.reshape(now, shape)

    def _join(
        self, numbers: tf.Tensor, newest: tf.Tensor, before: tf.Tensor, now: tf.Tensor
    ) -> tf.Tensor:
        """Returns the state of what `_split` returned."""
        half = 2 * self.size * self.net.units
        sentences = (tf.reshape(one, [-1, half]) for one in (before, now))
        return tf.concat([numbers, newest, *sentences], axis=1)
