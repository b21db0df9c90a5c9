"""Sentences and documents as contexts: where the core begins anew, and the sentence before.

A sentence ends with the character `SentenceContext.sentence_end`, newline unless a subclass says
otherwise, and a document with an empty sentence: with that character twice in a row. So both are in
the text itself, and texts in pieces, streams and requests need nothing besides.
"""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ..errors import InputError
from ..text.vocabulary import Vocabulary
from .context import Context, ContextReading, NetShape, whole_numbers

NOTHING, EMPTY = 0, 1
"""Where a text is before its first step, and where a sentence has no characters yet; a sentence of
n characters is at EMPTY + n."""


class Place(NamedTuple):
    """Where texts are once a character has been read.

    Attributes:
      place: `NOTHING`, or `EMPTY` and the number of characters of the sentence so far, up to the
        most that count, `[batch]`, int32.
      ends_sentence: Whether the character ends a sentence that is not empty, `[batch, 1]`, boolean.
      ends_document: Whether the character ends an empty sentence, and so a document, `[batch, 1]`.
    """

    place: tf.Tensor
    ends_sentence: tf.Tensor
    ends_document: tf.Tensor


class SentenceContext(Context):
    """The core begins anew with each sentence: the sentence model that knows of no other sentence.

    The character that ends a sentence is the first to enter the core for the next one, after the
    state of the core has become what it is before a text. Ji et al., "Document context language
    models" (arXiv 1511.03962), where this is the baseline, and what their own models add to.

    The state is the number of characters of the sentence so far, as `Place` has it. There is no
    size.

    Attributes:
      sentence_end: The character that ends a sentence, newline by default.
      counted: The largest number of characters of a sentence that count.
      boundaries: Which ids end a sentence, `[vocabulary_size + 1]`, int32, not trained.
    """

    sentence_end = "\n"
    counted = 1
    observes_core = True
    state_width = 1

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        self.boundaries = self.add_weight(
            name="boundaries",
            shape=(self.net.vocabulary_size + 1,),
            dtype="int32",
            initializer="zeros",
            trainable=False,
        )
        self.built = True

    @classmethod
    def check_vocabulary(cls, vocabulary: Vocabulary) -> None:
        """Requires the character at which sentences end; see `Context.check_vocabulary`."""
        if ord(cls.sentence_end) not in vocabulary.code_points:
            raise InputError(
                f"the text has no {cls.sentence_end!r}, with which sentences end; put each on a "
                f"line of its own, or leave out the contexts of sentences and documents"
            )

    def adapt(self, vocabulary: Vocabulary, sample: Any) -> None:
        """Takes the end of sentences from the vocabulary; see `Context.adapt`."""
        del sample
        self.mark_boundary(vocabulary.code_points.index(ord(self.sentence_end)))

    def mark_boundary(self, boundary: int) -> None:
        """Says which id ends a sentence, for models whose ids are not those of a vocabulary.

        Args:
          boundary: The id.
        """
        is_boundary = np.zeros(self.net.vocabulary_size + 1, np.int32)
        is_boundary[boundary] = 1
        self.boundaries.assign(is_boundary)

    def place_after(self, weights: Any, ids: tf.Tensor, state: tf.Tensor) -> Place:
        """Returns where texts are once a character has been read.

        Args:
          weights: The weights, as `weight_tensors` returns them.
          ids: The characters, `[batch]`, int32.
          state: The state before them, `[batch, state_width]`.
        """
        before = whole_numbers(state[:, 0], EMPTY + self.counted + 1)
        is_end = tf.gather(weights["boundaries"], ids) > 0
        # What enters first is no character, and stands before the first sentence.
        begins = is_end | (before == NOTHING)
        return Place(
            place=tf.where(begins, EMPTY, tf.minimum(before + 1, EMPTY + self.counted)),
            ends_sentence=(is_end & (before > EMPTY))[:, None],
            ends_document=(is_end & (before <= EMPTY))[:, None],
        )

    def restarts_core(self, weights: Any, ids: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """Returns whether a sentence begins; see `Context.restarts_core`."""
        del state
        return tf.gather(weights["boundaries"], ids) > 0

    def read(
        self,
        weights: Any,
        ids: tf.Tensor,
        state: tf.Tensor,
        keep: tf.Tensor | None = None,
        training: bool = False,
    ) -> ContextReading:
        """Counts the characters of the sentence; see `Context.read`."""
        del keep, training
        place = self.place_after(weights, ids[0], state).place
        return ContextReading(tf.cast(place, tf.float32)[:, None])

    def observe(
        self, weights: Any, ids: tf.Tensor, state: tf.Tensor, hidden: tf.Tensor
    ) -> tf.Tensor:
        """Returns the state, which has nothing of the core; see `Context.observe`."""
        del weights, ids, hidden
        return state


class DocumentContext(SentenceContext):
    """The core begins anew with each document, and carries its state over sentences.

    The document model among the baselines of Ji et al. (arXiv 1511.03962). There is no size.
    """

    def restarts_core(self, weights: Any, ids: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """Returns whether a document begins; see `Context.restarts_core`."""
        return self.place_after(weights, ids, state).ends_document[:, 0]


class SentenceBeforeContext(SentenceContext):
    """The state of contexts that are told the last hidden vector of the sentence before.

    It is the number of characters of the sentence so far, the vector s at the top of the core when
    the last character of the sentence before had entered it, which is zeros in the first sentence
    of a document, and the newest such vector.
    """

    def __init__(self, net: NetShape, size: int = 0, **kwargs: Any):
        super().__init__(net, size, **kwargs)
        self.state_width = 1 + 2 * net.units

    def take_sentence(
        self, weights: Any, ids: tf.Tensor, state: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the state after a character, and s, `[batch, units]`.

        Args:
          weights: The weights, as `weight_tensors` returns them.
          ids: The character, `[batch]`, int32.
          state: The state before it, `[batch, state_width]`.
        """
        _, before, newest = tf.split(state, [1, self.net.units, self.net.units], axis=1)
        place, ends_sentence, ends_document = self.place_after(weights, ids, state)
        before = tf.where(ends_sentence, newest, before)
        before = tf.where(ends_document, 0.0, before)
        return tf.concat([tf.cast(place, tf.float32)[:, None], before, newest], axis=1), before

    def observe(
        self, weights: Any, ids: tf.Tensor, state: tf.Tensor, hidden: tf.Tensor
    ) -> tf.Tensor:
        """Returns the state with the newest hidden vector; see `Context.observe`."""
        del weights, ids
        return tf.concat([state[:, : 1 + self.net.units], hidden], axis=1)


class SentenceInputContext(SentenceBeforeContext):
    """The sentence before enters every step of the next one: the context-to-context model, ccDCLM.

        x_t = E[c_{t-1}] + s P

    Here s is the vector of `SentenceBeforeContext`. Ji et al. (arXiv 1511.03962), who give [x_t, s]
    to a kernel of the core's: the product with s is here the one with P times that kernel. There is
    no size.

    Attributes:
      input_kernel: The projection P, `[units, input_width]`.
    """

    enters_input = True

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        super().build()
        self.input_kernel = self.add_kernel("input_kernel", self.net.units, self.net.input_width)

    def read(
        self,
        weights: Any,
        ids: tf.Tensor,
        state: tf.Tensor,
        keep: tf.Tensor | None = None,
        training: bool = False,
    ) -> ContextReading:
        """Takes in a sentence that ends; see `Context.read`."""
        del keep, training
        state, before = self.take_sentence(weights, ids[0], state)
        return ContextReading(state, inputs=self.product(before, weights["input_kernel"])[None])


class SentenceOutputContext(SentenceBeforeContext):
    """The sentence before enters the softmax alone: the context-to-output model, coDCLM.

        logits = h W + b + s U

    Here s is the vector of `SentenceBeforeContext`. Ji et al. (arXiv 1511.03962). There is no size.

    Attributes:
      output_kernel: The kernel U, `[units, vocabulary_size]`.
    """

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        super().build()
        self.output_kernel = self.add_kernel(
            "output_kernel", self.net.units, self.net.vocabulary_size
        )

    def read(
        self,
        weights: Any,
        ids: tf.Tensor,
        state: tf.Tensor,
        keep: tf.Tensor | None = None,
        training: bool = False,
    ) -> ContextReading:
        """Takes in a sentence that ends; see `Context.read`."""
        del keep, training
        state, before = self.take_sentence(weights, ids[0], state)
        return ContextReading(state, outputs=before[None])

    def change_logits(
        self, weights: Any, outputs: tf.Tensor, hidden: tf.Tensor, logits: tf.Tensor, dtype: Any
    ) -> tf.Tensor:
        """Returns the logits with what the sentence before adds; see `Context.change_logits`."""
        del hidden, dtype
        return logits + self.product(outputs, weights["output_kernel"])
