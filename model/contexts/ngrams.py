"""Embeddings of the last n-grams of the text, which enter the input by hashed tables."""

from typing import Any

import keras
import tensorflow as tf

from ..shapes import shape_of
from .context import Context, ContextReading, NetShape, last_characters, whole_numbers
from .words import HASH_FACTOR, HASHES, bucket_of

BUCKET_BITS = 14
"""Bits of the hash of an n-gram that select its embedding: 16,384 for each n."""
WIDTH = 64
"""Width of the embeddings."""


class NgramContext(Context):
    """Embeddings of the last 2, 3, ..., N characters, which enter every step.

        x_t = E[c_{t-1}] + (B_2[c_{t-2..t-1}] + B_3[c_{t-3..t-1}] + ... + B_N[c_{t-N..t-1}]) P

    What the last characters are together the core is told, and has not to learn first. A hash of
    the characters selects the embedding out of 16,384 for each n, so n-grams of the same hash share
    theirs: the hashed n-gram embeddings of Pagnoni et al., "Byte Latent Transformer" (arXiv
    2412.09871, section 3.2.1), with one hash and a projection.

    The size is N, 5 by default. The state is the last N - 1 characters.

    Attributes:
      embedding: The embeddings B, those of each n after those of n - 1, `[(N - 1) * 16384, 64]`.
      input_kernel: The projection P, `[64, input_width]`.
    """

    default_size = 5
    enters_input = True

    def __init__(self, net: NetShape, size: int = 0, **kwargs: Any):
        super().__init__(net, size, **kwargs)
        self.state_width = self.size - 1

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        bound = self.net.kernel_scale
        self.embedding = self.add_weight(
            name="embedding",
            shape=(self.state_width << BUCKET_BITS, WIDTH),
            initializer=keras.initializers.RandomUniform(-bound, bound),
            autocast=False,  # converting all of it at each step would take longer than reading rows
        )
        self.input_kernel = self.add_kernel(
            "input_kernel", WIDTH, self.net.input_width, bound=WIDTH**-0.5
        )
        self.built = True

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
        """Returns the sums of embeddings, projected; see `Context.read`."""
        del training
        before = tf.transpose(whole_numbers(state, self.net.vocabulary_size + 1))
        characters = tf.concat([before, ids], axis=0)
        rows = self._rows(characters, shape_of(ids)[0])
        embedded = tf.reduce_sum(tf.gather(weights["embedding"], rows), axis=2)
        return ContextReading(
            state=last_characters(characters, keep, self.state_width),
            inputs=self.product(embedded, weights["input_kernel"]),
        )

    def _rows(self, characters: tf.Tensor, steps: int | tf.Tensor) -> tf.Tensor:
        """Returns the rows of the embeddings of each step's n-grams, `[steps, batch, N - 1]`.

        Args:
          characters: The N - 1 characters before the first step, and those of the steps,
            `[N - 1 + steps, batch]`, int32.
          steps: The number of steps.
        """
        hashes = characters[self.state_width :] + 1
        rows = []
        for table in range(self.state_width):
            start = self.state_width - 1 - table
            hashes = hashes * HASH_FACTOR + characters[start : start + steps] + 1
            bucket = bucket_of(tf.bitwise.bitwise_and(hashes, HASHES - 1), BUCKET_BITS)
            rows.append(bucket + (table << BUCKET_BITS))
        return tf.stack(rows, axis=-1)
