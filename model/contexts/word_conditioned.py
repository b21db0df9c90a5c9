"""A slow net over the words of the text, which conditions the characters of the next word."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..core import State
from ..errors import InputError
from ..layers.stacked_lstm import StackedLSTM
from ..shapes import shape_of
from ..text.vocabulary import Vocabulary
from .context import Context, ContextReading, NetShape, store, whole_numbers
from .words import HASHES, WordsRead, bucket_of, read_words

BUCKET_BITS = 12
"""Bits of a word's hash that select its embedding: 4096 buckets."""
CLASS_BITS = 10
"""Bits of a word's hash that the word softmax predicts: 1024 classes."""


class WordContext(Context):
    """The state of a slow net over complete words, which enters every step of the next word.

        v_j = LSTM(E_w[w_j], v_{j-1})                  when word w_j ends, at the space after it
        x_t = E[c_{t-1}] + v_j P                       at all steps until the next word ends
        p(w_{j+1}) = softmax(v_j U_w + b_w)            predicted in training only

    A word is what lies between spaces, newlines and other white space. Training adds -ln p of each
    word to that of the characters. Bojanowski, Joulin, Mikolov, "Alternative structures for
    character-level RNNs" (arXiv 1511.06303), the word-conditioned model. In place of a list of
    words, a hash selects the embedding of a word, out of 4096, and 1024 classes to predict: unseen
    words differ as others do, and any text can be served; words of the same hash are one word. The
    slow net is an LSTM.

    The size is the units of the slow net, by default those of the model. The state is the hash of
    the word so far, whether the text is within a word, and the hidden and memory vectors of the
    slow net.

    Attributes:
      embedding: The embedding of words E_w, `[4096, size]`.
      input_kernel: The projection P, `[size, input_width]`.
      word_kernel: The kernel of the word softmax U_w, `[size, 1024]`.
      word_bias: The bias of the word softmax b_w, `[1024]`.
      separators: Which ids are separators, `[vocabulary_size + 1]`, int32, not trained.
      slow_net: The slow net, a `StackedLSTM` of one layer.
    """

    enters_input = True

    def __init__(self, net: NetShape, size: int = 0, **kwargs: Any):
        super().__init__(net, size, **kwargs)
        self.state_width = 2 + 2 * self.size
        scale = self.size**-0.5
        self.slow_net = StackedLSTM(
            self.size,
            kernel_initializer=keras.initializers.RandomUniform(-scale, scale),
            dtype=self.dtype_policy,
            name="slow_net",
        )

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        scale = self.size**-0.5
        uniform = keras.initializers.RandomUniform
        self.slow_net.plan = self.plan._replace(remat_steps=0)
        self.slow_net.build((None, None, self.size))
        self.embedding = self.add_weight(
            name="embedding", shape=(1 << BUCKET_BITS, self.size), initializer=uniform(-1.0, 1.0)
        )
        self.input_kernel = self.add_kernel("input_kernel", self.size, self.net.input_width, scale)
        self.word_kernel = self.add_kernel("word_kernel", self.size, 1 << CLASS_BITS, scale)
        self.word_bias = self.add_weight(
            name="word_bias", shape=(1 << CLASS_BITS,), initializer="zeros"
        )
        self.separators = self.add_weight(
            name="separators",
            shape=(self.net.vocabulary_size + 1,),
            dtype="int32",
            initializer="zeros",
            trainable=False,
        )
        self.built = True

    @classmethod
    def check_vocabulary(cls, vocabulary: Vocabulary) -> None:
        """Requires a character at which words end; see `Context.check_vocabulary`."""
        if not _separators(vocabulary):
            raise InputError(
                "the text has no space or newline, at which words end; leave out the context word"
            )

    def adapt(self, vocabulary: Vocabulary, sample: Sequence[np.ndarray]) -> None:
        """Takes the separators from the vocabulary; see `Context.adapt`."""
        del sample
        is_separator = np.zeros(self.net.vocabulary_size + 1, np.int32)
        is_separator[_separators(vocabulary)] = 1
        is_separator[-1] = 1  # no word begins before the text does
        self.separators.assign(is_separator)

    def weight_tensors(self) -> Any:
        """Returns the weights as tensors; see `Context`."""
        word_softmax = self.word_kernel, self.word_bias
        return {
            **self._named_tensors(),
            **{one.name: tf.convert_to_tensor(one) for one in word_softmax},
            "slow_net": self.slow_net.weight_tensors(),
        }

    def stored_weights(self, dtype: str) -> Any:
        """Returns copies of the weights that predict characters; see `Context`."""
        own = store(self._named_tensors(), dtype)
        return {**own, "slow_net": self.slow_net.stored_weights(dtype)}

    def _named_tensors(self) -> dict[str, tf.Tensor]:
        """Returns the weights that predict characters, without the slow net's."""
        own = self.embedding, self.input_kernel, self.separators
        return {one.name: tf.convert_to_tensor(one) for one in own}

    def read(
        self,
        weights: Any,
        ids: tf.Tensor,
        state: tf.Tensor,
        keep: tf.Tensor | None = None,
        training: bool = False,
    ) -> ContextReading:
        """Advances the slow net by the words that end; see `Context.read`."""
        numbers, hidden, memory = tf.split(state, [2, self.size, self.size], axis=1)
        words = read_words(
            ids,
            tf.gather(weights["separators"], ids) > 0,
            keep,
            whole_numbers(numbers[:, 0], HASHES),
            numbers[:, 1] > 0.5,
        )
        outputs, hidden, memory = self._advance(weights, words, hidden, memory, training)
        if training:
            self.add_loss(self._word_losses(weights, words, outputs))
        inputs = self.product(outputs, weights["input_kernel"])
        batch = shape_of(ids)[1]
        flat = tf.reshape(inputs, [-1, self.net.input_width])
        numbers = tf.stack([words.begun, tf.cast(words.is_within, tf.int32)], axis=1)
        return ContextReading(
            state=tf.concat([tf.cast(numbers, tf.float32), hidden, memory], axis=1),
            inputs=tf.gather(flat, words.ended * batch + tf.range(batch)),
        )

    def _advance(
        self, weights: Any, words: WordsRead, hidden: tf.Tensor, memory: tf.Tensor, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Runs the slow net over words.

        Returns:
          The hidden vectors before the first word and after each, `[words + 1, batch, size]`,
          float32, and the hidden and memory vectors at the end, `[batch, size]`.
        """

        def run() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            embedded = tf.gather(weights["embedding"], bucket_of(words.hashes, BUCKET_BITS))
            after, last = self.slow_net.over_time(
                self.slow_net.core_inputs(embedded),
                State(hidden=hidden[None], memory=memory[None]),
                training=training,
                keep=words.is_word,
                weights=weights["slow_net"],
            )
            vectors = tf.concat([hidden[None], tf.cast(after, tf.float32)], axis=0)
            return vectors, tf.cast(last.hidden[0], tf.float32), tf.cast(last.memory[0], tf.float32)

        if words.hashes.shape[0] != 1 or training:
            return run()
        # Most characters end no word, in a decode step.
        return tf.cond(
            tf.reduce_any(words.is_word),
            run,
            lambda: (tf.stack([hidden, hidden]), hidden, memory),
        )

    def _word_losses(self, weights: Any, words: WordsRead, outputs: tf.Tensor) -> tf.Tensor:
        """Returns the sum of -ln p of the words that end, in nats."""
        logits = self.product(outputs[:-1], weights["word_kernel"]) + weights["word_bias"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=bucket_of(words.hashes, CLASS_BITS), logits=logits
        )
        return tf.reduce_sum(tf.where(words.is_word, losses, 0.0))


def _separators(vocabulary: Vocabulary) -> list[int]:
    """Returns the ids of white space."""
    is_bytes = vocabulary.unit == "bytes"  # those above 127 are parts of characters
    return [
        at
        for at, code in enumerate(vocabulary.code_points)
        if (bytes([code]) if is_bytes else chr(code)).isspace()
    ]
