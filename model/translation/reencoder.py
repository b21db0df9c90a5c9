"""The Reencoder: translation by a stack of 3-D grids over source words, target words and depth."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ..config import Execution, require_integer, require_range
from ..core import State
from ..errors import InputError
from ..layers.directions import require_directions
from ..layers.grid_lstm_sides import GridLSTMSides
from ..text.word_vocabulary import PADDING

SOURCE, TARGET = 0, 1
"""The dimensions of the grids besides depth."""


class ReencoderState(NamedTuple):
    """What the Reencoder carries from one target word to the next.

    Attributes:
      grids: The state of each grid, `[batch, source, 1, units]` each: the hidden and memory vectors
        that have run along the target words, one for each source word.
      source_mask: Which source words are no padding, `[batch, source]`, boolean.
    """

    grids: tuple[State, ...]
    source_mask: tf.Tensor


@keras.saving.register_keras_serializable(package="grid_lstm")
class Reencoder(keras.Model):
    """The probability of a translation, p(t | s) = prod_j p(t_j | t_1, ..., t_{j-1}, s).

    Kalchbrenner, Danihelka, Graves, "Grid Long Short-Term Memory" (arXiv 1507.01526), the section
    on translation. Each grid has a block per source word s_i and target word t_{j-1}:

        H = [h_source, h_target, h_depth]
        h_source', m_source' = LSTM(H, m_source; W)
        h_target', m_target' = LSTM(H, m_target; W)      # the same W
        h_depth' = V H + b

    The grids lie on each other: what leaves the first along depth enters the second one. The first
    reads the source forward, the second backward. The embedding of t_{j-1} enters row j of each
    grid where its scan of the source begins, and that of s_i column i where the scan of the target
    begins; their memories are zeros. Where the last grid's scan of the source ends, row j has read
    the source once for each grid, knowing all target words before t_j, and

        p(t_j | ...) = softmax(h_source[j] U + c)

    So the source is read again for each target word, in |s| |t| blocks. Id 0 is padding, which
    changes nothing, and a target begins with a word of its own that stands for its beginning.

    >>> model = Reencoder(source_vocabulary_size=20, target_vocabulary_size=30, units=8)
    >>> source, target = np.array([[3, 5, 2, 0]]), np.array([[1, 9, 4]])  # 1 begins a target
    >>> model([source, target]).shape
    TensorShape([1, 3, 30])

    Args:
      source_vocabulary_size: The number of distinct source ids, padding included.
      target_vocabulary_size: The number of distinct target ids, padding included.
      units: The width of the embeddings and of each hidden and memory vector.
      directions: The direction in which each grid reads the source. Default one grid that reads it
        forward and one, on top of that, backward.
      tied: Whether source and target share their weights, as in the paper. Default True.
      priority: The dimensions that see the new hidden vectors of the others; see
        `layers.grid_layer.GridLayer`. Default (), as in the paper.
      dropout: The dropout rate of what enters each side of each grid, and before the output.
        Default 0.
      execution: The algorithm; see `layers.grid_layer.GridLayer`. Default "auto".
      **kwargs: Arguments of `keras.Model`.

    Raises:
      InputError: If an argument is invalid; the message names it, its value and what is expected.
    """

    def __init__(
        self,
        source_vocabulary_size: int,
        target_vocabulary_size: int,
        units: int,
        directions: Sequence[str] = ("forward", "backward"),
        tied: bool = True,
        priority: Sequence[int] = (),
        dropout: float = 0.0,
        execution: Execution = "auto",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.source_vocabulary_size = require_integer(
            "source_vocabulary_size", source_vocabulary_size, 2
        )
        self.target_vocabulary_size = require_integer(
            "target_vocabulary_size", target_vocabulary_size, 2
        )
        self.units = require_integer("units", units, 1)
        if isinstance(directions, str) or not directions:
            raise InputError(
                f"directions is {directions!r}; it must have a direction for each grid, such as "
                f"('forward', 'backward')"
            )
        self.directions = tuple(require_directions(directions))
        self.tied = bool(tied)
        self.priority = tuple(map(int, priority))
        require_range("dropout", dropout, 0, 1)
        self.dropout_rate = float(dropout)
        self.execution = execution
        policy = self.dtype_policy
        self.source_embedding = keras.layers.Embedding(
            source_vocabulary_size, units, dtype=policy, name="source_embedding"
        )
        self.target_embedding = keras.layers.Embedding(
            target_vocabulary_size, units, dtype=policy, name="target_embedding"
        )
        self.grids = [
            GridLSTMSides(
                units,
                directions=(direction, "forward"),
                return_sides=True,
                cells=("lstm", "lstm", "identity"),
                tied_dimensions=((SOURCE, TARGET),) if tied else (),
                priority=priority,
                input_memory=False,
                project_inputs=False,
                dropout=dropout,
                execution=execution,
                dtype=policy,
                name=f"grid{number}",
            )
            for number, direction in enumerate(self.directions)
        ]
        self.dropout = keras.layers.Dropout(dropout, dtype=policy)
        self.output_layer = keras.layers.Dense(target_vocabulary_size, dtype=policy, name="output")
        self.build()

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        self.source_embedding.build((None, None))
        self.target_embedding.build((None, None))
        words = (None, None, self.units)
        for number, grid in enumerate(self.grids):
            grid.build([words, words, (None, None, None, self.units) if number else None])
        self.output_layer.build((None, None, self.units))
        self.built = True

    def call(self, inputs: Sequence[tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes the logits of the next word after each target word.

        Args:
          inputs: The source ids, `[batch, source]`, and the target ids from the word that begins a
            target to the one before the last, `[batch, target]`; both int32, 0 for padding.
          training: Whether dropout applies and a gradient will be taken. Default False.

        Returns:
          The logits, `[batch, target, target_vocabulary_size]`, those of t_j at the place of
          t_{j-1}.
        """
        source_ids, target_ids = (tf.convert_to_tensor(ids) for ids in inputs)
        source = self.source_embedding(source_ids)
        return self.logits_of(source, source_ids != PADDING, target_ids, training)

    def logits_of(
        self,
        source: tf.Tensor,
        source_mask: tf.Tensor,
        target_ids: tf.Tensor,
        training: bool = False,
    ) -> tf.Tensor:
        """Computes the logits as `call` does, from the embeddings of the source words.

        Args:
          source: The embeddings, `[batch, source, units]`.
          source_mask: Which source words are no padding, `[batch, source]`, boolean.
          target_ids: The target ids, `[batch, target]`.
          training: Whether dropout applies and a gradient will be taken. Default False.

        Returns:
          The logits, `[batch, target, target_vocabulary_size]`.
        """
        target = self.target_embedding(target_ids)
        mask = [target_ids != PADDING, source_mask, None]
        depth = None
        for grid in self.grids:
            sides = [target, source, depth]
            scanned, _, depth = grid(sides, mask=mask, training=training)
        return self.output_layer(self.dropout(scanned[..., -1, :], training=training))

    def initial_state(self, source_ids: tf.Tensor) -> ReencoderState:
        """Returns the state before the first target word, for `step`.

        Args:
          source_ids: The source ids, `[batch, source]`, int32, 0 for padding.
        """
        source_ids = tf.convert_to_tensor(source_ids)
        source = self.source_embedding(source_ids)
        states = tuple(grid.initial_state(TARGET, source) for grid in self.grids)
        return ReencoderState(states, source_ids != PADDING)

    def step(self, ids: tf.Tensor, state: ReencoderState) -> tuple[tf.Tensor, ReencoderState]:
        """Reads one target word and computes the logits of the next one.

        Rows of the batch do not mix: a beam search may select rows of the state.

        >>> model = Reencoder(source_vocabulary_size=20, target_vocabulary_size=30, units=8)
        >>> ids, state = tf.ones([2], tf.int32), model.initial_state(np.array([[3, 5], [7, 0]]))
        >>> for _ in range(4):  # greedy search
        ...     logits, state = model.step(ids, state)
        ...     ids = tf.argmax(logits, axis=-1)
        >>> logits.shape
        TensorShape([2, 30])

        Args:
          ids: The target word of each row, `[batch]`; for the first step that which begins a
            target.
          state: The state, of `initial_state` or of the step before.

        Returns:
          The logits, `[batch, target_vocabulary_size]`, and the new state.
        """
        target = self.target_embedding(tf.convert_to_tensor(ids))
        mask = [None, state.source_mask, None]
        states = []
        depth = None
        for grid, old in zip(self.grids, state.grids, strict=True):
            (scanned, _, depth), new = grid.step(TARGET, [target, None, depth], old, mask)
            states.append(new)
        logits = self.output_layer(scanned[..., -1, :])
        return logits, ReencoderState(tuple(states), state.source_mask)

    def get_config(self) -> dict:
        """Returns the arguments that create an equal model."""
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "source_vocabulary_size": self.source_vocabulary_size,
            "target_vocabulary_size": self.target_vocabulary_size,
            "units": self.units,
            "directions": self.directions,
            "tied": self.tied,
            "priority": self.priority,
            "dropout": self.dropout_rate,
            "execution": self.execution,
        }
