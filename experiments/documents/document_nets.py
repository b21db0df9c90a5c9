"""Language models over the words of documents, of as many parameters each."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf

from experiments.documents.document_text import Document
from experiments.framework.widths import nearest_width
from model.contexts.sentence_attention import SentenceAttentionContext
from model.contexts.sentences import SentenceContext
from model.errors import InputError, nearest
from model.execution.planner import choose
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.language_model.forward import CharacterState
from model.layers.grid_lstm_nd import GridLSTMND
from model.text.word_vocabulary import END, PADDING

SENTENCE, GRID, ATTENTION = "sentence", "3-D grid", "ADCLM"
CONTEXTS: dict[str, str] = {
    SENTENCE: "sentence",
    "document": "document",
    "hierarchical": "sentence_net",
    "ccDCLM": "sentence_input",
    "coDCLM": "sentence_output",
    ATTENTION: "sentence_attention",
}
"""The context of each model of a recurrent core."""
NETS: tuple[str, ...] = (*CONTEXTS, GRID)
"""The names of the models."""

ROWS = 64
"""Number of documents that are measured at once."""


class Sizes(NamedTuple):
    """What all nets of a comparison have in common.

    Attributes:
      parameters: Number of parameters of each net.
      batch_size: Number of streams, or of pieces of documents, of a training step.
      window: Words of a stream at a step.
      sentences: Sentences of a piece of a document for the grid.
      words: Words of a sentence for the grid.
    """

    parameters: int
    batch_size: int
    window: int
    sentences: int
    words: int


class Batch(NamedTuple):
    """What a training step sees.

    Attributes:
      inputs: Ids of the words, int32.
      targets: Ids of the words to predict, of the same shape; `PADDING` where none counts.
      begins: Whether a pass begins, and the state is that before a text.
    """

    inputs: np.ndarray
    targets: np.ndarray
    begins: bool


class DocumentNet(Protocol):
    """The interface of a model of documents, a Keras model."""

    name: str
    trainable_variables: list[Any]

    def batches(self, documents: Sequence[Document], seed: Sequence[int]) -> Iterator[Batch]:
        """Yields the batches of a pass over documents in a random order."""
        ...

    def step_losses(
        self, inputs: tf.Tensor, targets: tf.Tensor, state: Any
    ) -> tuple[tf.Tensor, Any]:
        """Returns -ln p of the targets in training, zeros for `PADDING`, and the state after."""
        ...

    def initial_state(self, batch: int) -> Any:
        """Returns the state before a pass."""
        ...

    def sentence_losses(self, documents: Sequence[Document]) -> list[np.ndarray]:
        """Returns -ln p of each sentence of each document, its end included, `[sentences]`."""
        ...


def losses_of(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Returns -ln p of targets, zeros for `PADDING`.

    Args:
      logits: Logits, `[..., ids]`.
      targets: Ids, `[...]`.
    """
    found = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    return tf.where(targets == PADDING, 0.0, found)


def stream_of(document: Document) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids of a document, and which sentence each belongs to.

    `END` follows each sentence, and once more the last: an empty sentence, whose number is that of
    none.

    Args:
      document: The document.
    """
    ids = [*(np.append(sentence, END) for sentence in document), np.array([END])]
    numbers = [np.full(len(sentence), at) for at, sentence in enumerate(ids)]
    return np.concatenate(ids).astype(np.int32), np.concatenate(numbers)


class StreamNet(CharacterModel):
    """An LSTM with a context, whose characters are words: a model of a stream of documents.

    Args:
      context: Name of the context.
      units: Width of the core.
      vocabulary_size: Number of ids.
      sizes: What all nets have in common.
    """

    def __init__(self, context: str, units: int, vocabulary_size: int, sizes: Sizes):
        config = ModelConfig(architecture="stacked", layers=1, units=units, contexts=(context,))
        plan = choose(
            units, 1, sizes.batch_size, dtype="float32", jits_step=False, architecture="stacked"
        )
        super().__init__(config, vocabulary_size, plan)
        self.sizes = sizes
        (self.context,) = self.contexts
        assert isinstance(self.context, SentenceContext)
        self.context.mark_boundary(END)
        self._measured = tf.function(self._measure, autograph=False)

    def initial_state(
        self, batch: int | tf.Tensor, given: Mapping[str, tf.Tensor] | None = None
    ) -> CharacterState:
        """Returns the state at the end of an empty sentence, where each document begins."""
        state = super().initial_state(batch, given)
        return state._replace(previous=tf.fill([batch], END))

    def batches(self, documents: Sequence[Document], seed: Sequence[int]) -> Iterator[Batch]:
        """Yields windows of streams of documents; see `DocumentNet`."""
        order = np.random.default_rng(seed).permutation(len(documents))
        streams = [stream_of(documents[at]) for at in order]
        ids = np.concatenate([one for one, _ in streams])
        # The end of a document counts in no model.
        counted = np.concatenate([at < at[-1] for _, at in streams])
        size, window = self.sizes.batch_size, self.sizes.window
        steps = len(ids) // (size * window) * window
        rows = ids[: size * steps].reshape(size, steps)
        targets = np.where(counted, ids, PADDING)[: size * steps].reshape(size, steps)
        for first in range(0, steps, window):
            part = slice(first, first + window)
            yield Batch(rows[:, part], targets[:, part], begins=first == 0)

    def step_losses(
        self, inputs: tf.Tensor, targets: tf.Tensor, state: CharacterState
    ) -> tuple[tf.Tensor, CharacterState]:
        """Returns the losses of a window, `[steps, streams]`; see `DocumentNet`."""
        logits, state = self(inputs, state, training=True)
        return losses_of(logits, tf.transpose(targets)), state

    def sentence_losses(self, documents: Sequence[Document]) -> list[np.ndarray]:
        """Returns -ln p of each sentence; see `DocumentNet`."""
        streams = [stream_of(document) for document in documents]
        order = np.argsort([len(ids) for ids, _ in streams], kind="stable")
        found: list[np.ndarray] = [np.zeros(0)] * len(documents)
        for first in range(0, len(order), ROWS):
            chosen = order[first : first + ROWS]
            losses = self._text_losses([streams[at][0] for at in chosen])
            for at, row in zip(chosen, losses, strict=True):
                ids, numbers = streams[at]
                of_words = row[: len(ids)].astype(np.float64)
                found[at] = np.bincount(numbers, of_words)[:-1]
        return found

    def _text_losses(self, streams: Sequence[np.ndarray]) -> np.ndarray:
        """Returns -ln p of ids from the beginning of texts on, `[texts, longest]`."""
        window = self.sizes.window
        longest = -(-max(map(len, streams)) // window) * window
        ids = np.full([ROWS, longest], PADDING, np.int32)
        for row, stream in enumerate(streams):
            ids[row, : len(stream)] = stream
        state = self.initial_state(ROWS)
        parts = []
        for first in range(0, longest, window):
            losses, state = self._measured(tf.constant(ids[:, first : first + window]), state)
            parts.append(losses.numpy())
        return np.concatenate(parts, axis=1)[: len(streams)]

    def _measure(self, ids: tf.Tensor, state: CharacterState) -> tuple[tf.Tensor, CharacterState]:
        logits, state = self(ids, state, keep=ids != PADDING)
        return losses_of(tf.transpose(logits, [1, 0, 2]), ids), state

    def attention(self, document: Document) -> list[np.ndarray]:
        """Returns the attention of each step over the words of the sentence before, by ADCLM.

        Args:
          document: The document.

        Returns:
          For the end of the sentence before and each word but the last, as they enter, the weights
          of the vectors of the sentence before, oldest first, without those of no word.
        """
        assert isinstance(self.context, SentenceAttentionContext)
        ids, _ = stream_of(document)
        state = self.initial_state(1)
        found = []
        for at in range(len(ids)):
            weights = self.context.weight_tensors()
            attended = self.context.attend(weights, state.previous, state.contexts[0])
            there = int(attended.state[0, 1])
            found.append(attended.weights.numpy()[0, -there:] if there else np.zeros(0))
            _, state = self(ids[None, at : at + 1], state)
        return found


class GridNet(keras.Model):
    """A stack of two grids over sentences, words and depth.

    Both grids read the sentences of a document in order. Row s of the first is the sentence before,
    read from its end, so that where it comes to the beginning it has read all of it. What leaves it
    along depth enters the second grid beside the words of sentence s, which this reads forward:

        before[s] = grid(E[words of s - 1]);  h[s] = grid([E[words of s], before[s]])
        p(word w + 1 of s | ...) = softmax(h[s, w] U + c)

    So each word depends on all words before it: on those of its sentence along words, and on those
    of other sentences along sentences and through `before`.

    Args:
      units: Width of all vectors.
      vocabulary_size: Number of ids.
      sizes: What all nets have in common.
    """

    def __init__(self, units: int, vocabulary_size: int, sizes: Sizes):
        super().__init__()
        self.sizes = sizes
        self.embedding = keras.layers.Embedding(vocabulary_size, units)
        self.before = GridLSTMND(units, directions=("forward", "backward"), name="before")
        self.grid = GridLSTMND(units, name="grid")
        self.output_layer = keras.layers.Dense(vocabulary_size, name="output")
        self.output_layer.build((None, units))
        self(tf.fill([1, 2, 2], END))
        self.built = True
        self._measured = tf.function(self._measure, autograph=False)

    def call(self, ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Computes the hidden vectors at the top, from which the next word is predicted.

        Args:
          ids: Ids `[batch, sentences, words]`, int32, with `END` before each sentence, `PADDING`
            after it.
          training: Whether a gradient will be taken. Default False.

        Returns:
          `[batch, sentences, words, units]`.
        """
        ids = tf.convert_to_tensor(ids)
        mask, embedded = ids != PADDING, self.embedding(ids)
        shifted = tf.pad(embedded[:, :-1], [[0, 0], [1, 0], [0, 0], [0, 0]])
        mask_before = tf.pad(mask[:, :-1], [[0, 0], [1, 0], [0, 0]])
        before = self.before(shifted, mask=mask_before, training=training)
        entering = tf.concat([embedded, before], axis=-1)
        return self.grid(entering, mask=mask, training=training)

    def batches(self, documents: Sequence[Document], seed: Sequence[int]) -> Iterator[Batch]:
        """Yields pieces of documents, each of which begins without a state; see `DocumentNet`."""
        count, size = self.sizes.sentences, self.sizes.batch_size
        pieces = [
            document[first : first + count]
            for document in documents
            for first in range(0, len(document), count)
        ]
        order = np.random.default_rng(seed).permutation(len(pieces))
        for first in range(0, len(order) - size + 1, size):
            chosen = [pieces[at] for at in order[first : first + size]]
            yield Batch(*self.block(chosen, size, count), begins=True)

    def block(
        self, documents: Sequence[Document], rows: int, sentences: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns documents as a block of inputs and one of targets, `[rows, sentences, words]`.

        Args:
          documents: The documents, no more than rows.
          rows: Number of documents of the block.
          sentences: Number of sentences of each.
        """
        shape = rows, sentences, self.sizes.words + 1
        inputs, targets = np.full(shape, PADDING, np.int32), np.full(shape, PADDING, np.int32)
        for row, document in enumerate(documents):
            for at, words in enumerate(document):
                inputs[row, at, : len(words) + 1] = [END, *words]
                targets[row, at, : len(words) + 1] = [*words, END]
        return inputs, targets

    def initial_state(self, batch: int) -> tuple[()]:
        """Returns nothing, as no state is carried from a piece to the next."""
        del batch
        return ()

    def step_losses(
        self, inputs: tf.Tensor, targets: tf.Tensor, state: tuple[()]
    ) -> tuple[tf.Tensor, tuple[()]]:
        """Returns the losses of the targets that count, `[targets]`; see `DocumentNet`."""
        counted = targets != PADDING
        hidden = tf.boolean_mask(self(inputs, training=True), counted)
        return losses_of(self.output_layer(hidden), tf.boolean_mask(targets, counted)), state

    def sentence_losses(self, documents: Sequence[Document]) -> list[np.ndarray]:
        """Returns -ln p of each sentence; see `DocumentNet`."""
        order = np.argsort([len(document) for document in documents], kind="stable")
        found: list[np.ndarray] = [np.zeros(0)] * len(documents)
        rows = min(ROWS, self.sizes.batch_size)
        for first in range(0, len(order), rows):
            chosen = order[first : first + rows]
            longest = max(len(documents[at]) for at in chosen)
            sentences = -(-longest // self.sizes.sentences) * self.sizes.sentences
            block = self.block([documents[at] for at in chosen], rows, sentences)
            losses = self._measured(*map(tf.constant, block)).numpy().astype(np.float64)
            for row, at in enumerate(chosen):
                found[at] = losses[row, : len(documents[at])]
        return found

    def _measure(self, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Returns -ln p of each sentence, `[rows, sentences]`."""
        counted = targets != PADDING
        losses = losses_of(
            self.output_layer(tf.boolean_mask(self(inputs), counted)),
            tf.boolean_mask(targets, counted),
        )
        places = tf.where(counted)
        return tf.reduce_sum(tf.scatter_nd(places, losses, tf.shape(targets, tf.int64)), axis=2)


def build(name: str, units: int, vocabulary_size: int, sizes: Sizes) -> Any:
    """Returns a model with its variables.

    Args:
      name: Name in `NETS`.
      units: Width of the net.
      vocabulary_size: Number of ids.
      sizes: What all nets have in common.

    Raises:
      InputError: If there is no such model.
    """
    if name not in NETS:
        raise InputError(f"there is no model {name}{nearest(name, NETS)}")
    if name == GRID:
        return GridNet(units, vocabulary_size, sizes)
    return StreamNet(CONTEXTS[name], units, vocabulary_size, sizes)


def parameters_of(net: DocumentNet) -> int:
    """Returns the number of trainable parameters of a net."""
    return sum(int(np.prod(one.shape)) for one in net.trainable_variables)


@functools.cache
def width_of(name: str, vocabulary_size: int, sizes: Sizes) -> int:
    """Returns the width at which a model comes nearest to a number of parameters.

    Args:
      name: Name in `NETS`.
      vocabulary_size: Number of ids.
      sizes: What all nets have in common.
    """

    def count(units: int) -> int:
        return parameters_of(build(name, units, vocabulary_size, sizes))

    return nearest_width(sizes.parameters, count)
