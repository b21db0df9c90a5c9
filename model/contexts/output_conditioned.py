"""A softmax that depends on the last one or two characters."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import InputError
from ..text.vocabulary import Vocabulary
from .context import Context, ContextReading, last_characters, whole_numbers
from .grouped_products import grouped_products

NO_KEY = -1


class OutputContext(Context):
    """An output kernel and bias of their own for the most frequent last characters.

        logits = h (W + U_s) + b + b_s    after characters s that are among the most frequent
        logits = h W + b                  after others, W and b being those of the model

    Here s are the last two characters, or the last one where these two are not frequent. Which ones
    are frequent is counted in the training text before training. Bojanowski, Joulin, Mikolov,
    "Alternative structures for character-level RNNs" (arXiv 1511.06303), the output-conditioned
    model, whose kernels are here written as W + U_s: U_s starts at zero, so that training begins
    with the model that has no context, and what all kernels have in common is learned once.

    The size is the number of kernels, 64 by default. The state is the character before the last.

    Attributes:
      kernel: What U adds to the kernel of the model, `[size, units, vocabulary_size]`.
      bias: What is added to its bias, `[size, vocabulary_size]`.
      keys: Which characters have a kernel, `[size]`, int32, not trained: the id of one character,
        or, for a and b, `(vocabulary_size + 1) * (a + 1) + b`; -1 for a kernel that is not used.
    """

    default_size = 64
    state_width = 1

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        net = self.net
        shape = self.size, net.units, net.vocabulary_size
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="zeros")
        self.bias = self.add_weight(
            name="bias", shape=(self.size, net.vocabulary_size), initializer="zeros"
        )
        self.keys = self.add_weight(
            name="keys",
            shape=(self.size,),
            dtype="int32",
            initializer=lambda shape, dtype: tf.fill(shape, tf.cast(NO_KEY, dtype)),
            trainable=False,
        )
        self.built = True

    @classmethod
    def check_vocabulary(cls, vocabulary: Vocabulary) -> None:
        """Requires that the keys of all pairs are numbers of 31 bits; see `Context`."""
        if (vocabulary.size + 1) ** 2 > tf.int32.max:
            raise InputError(
                f"the text has {vocabulary.size:,} distinct characters, and the context output "
                "tells the pairs of at most 46,339 apart; use bytes, or leave it out"
            )

    def adapt(self, vocabulary: Vocabulary, sample: Sequence[np.ndarray]) -> None:
        """Counts the last characters in the training text; see `Context.adapt`."""
        size = self.net.vocabulary_size
        counts: Counter[int] = Counter()
        for ids in sample:
            known = (ids >= 0) & (ids < size)
            pairs = (size + 1) * (ids[:, :-1] + 1) + ids[:, 1:]
            found = np.concatenate([ids[known], pairs[known[:, :-1] & known[:, 1:]]])
            counts.update(found.tolist())
        # Keys of the same frequency are in their own order, so that a text always has the same.
        frequent = sorted(counts, key=lambda key: (-counts[key], key))[: self.size]
        self.keys.assign(frequent + [NO_KEY] * (self.size - len(frequent)))

    def initial_state(self, batch: int | tf.Tensor, given: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the state of texts of which nothing has been read; see `Context`."""
        del given
        return self.no_characters(batch)

    def read(
        self,
        weights: Any,
        ids: tf.Tensor,
        state: tf.Tensor,
        keep: tf.Tensor | None = None,
        training: bool = False,
    ) -> ContextReading:
        """Finds the kernel of each step; see `Context.read`.

        Returns:
          The state, and the numbers of the kernels as outputs, `[steps, batch]`, int32; `size` for
          the kernel of the model.
        """
        del training
        size = self.net.vocabulary_size
        first = whole_numbers(state[:, 0], size + 1)
        with_first = tf.concat([first[None], ids], axis=0)
        pairs = (size + 1) * (with_first[:-1] + 1) + ids
        of_pair, of_last = tf.unstack(_find(tf.stack([pairs, ids]), weights["keys"]))
        return ContextReading(
            state=last_characters(with_first, keep, self.state_width),
            outputs=tf.where(of_pair < self.size, of_pair, of_last),
        )

    def change_logits(
        self, weights: Any, outputs: tf.Tensor, hidden: tf.Tensor, logits: tf.Tensor, dtype: Any
    ) -> tf.Tensor:
        """Returns the logits with the kernels of the context; see `Context.change_logits`."""
        products = grouped_products(
            tf.cast(hidden, dtype), outputs, tf.cast(weights["kernel"], dtype)
        )
        bias = tf.gather(weights["bias"], tf.minimum(outputs, self.size - 1))
        is_own = (outputs < self.size)[:, None]
        return logits + tf.cast(products, tf.float32) + tf.where(is_own, bias, 0.0)


def _find(values: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Returns the position of each value among keys; the number of keys where it is none."""
    size = keys.shape[0]
    order = tf.argsort(keys)
    in_order = tf.gather(keys, order)
    flat = tf.reshape(values, [-1])
    places = tf.minimum(tf.searchsorted(in_order, flat), size - 1)
    found = tf.where(tf.gather(in_order, places) == flat, tf.gather(order, places), size)
    return tf.reshape(found, tf.shape(values))
