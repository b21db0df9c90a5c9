"""Texts a few characters at a time, so that nobody waits for the long texts of others."""

import numpy as np
import tensorflow as tf

from model.language_model import sampling
from model.language_model.character_model import CharacterModel
from model.shapes import shape_of
from model.text.code_points import PADDING, TextVocabulary
from serving.graph import text_state
from serving.graph.batching import Batching

INPUTS = {
    "prompt": tf.TensorSpec([None], tf.string, "prompt"),
    "length": tf.TensorSpec([None], tf.int32, "length"),
    "temperature": tf.TensorSpec([None], tf.float32, "temperature"),
    "top_k": tf.TensorSpec([None], tf.int32, "top_k"),
    "top_p": tf.TensorSpec([None], tf.float32, "top_p"),
    "seed": tf.TensorSpec([None], tf.int64, "seed"),
    "stop": tf.TensorSpec([None], tf.string, "stop"),
    "alternatives": tf.TensorSpec([None], tf.int32, "alternatives"),
    "state": tf.TensorSpec([None, None], tf.float32, "state"),
}
"""What `ServedModel.generate` takes, in order."""


class Turns:
    """Turns at generating, each merged with those of other requests."""

    def __init__(
        self,
        model: CharacterModel,
        vocabulary: TextVocabulary,
        mark: np.ndarray,
        batching: Batching,
    ):
        """Takes the model's fingerprint, `mark`, besides what is to be asked."""
        self._model = model
        self._vocabulary = vocabulary
        self._mark = mark
        self._batching = batching

    def take(self, row_inputs: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        """Generates texts of any length.

        Args:
          row_inputs: what `ServedModel.generate` takes, one row for each text, all of them valid.

        Returns:
          As `sampling.Generated` has them, with at least `Batching.turn` columns: ids, lengths,
          stopped, log-probabilities, alternatives, theirs; and the state, see `text_state`.
        """
        turn = self._batching.turn
        rows = tf.shape(row_inputs["prompt"])[0]
        stop = self._stops(row_inputs["stop"])
        choices = [row_inputs[name] for name in ("temperature", "top_k", "top_p", "seed")]
        most = tf.minimum(len(self._vocabulary.code_points), row_inputs["alternatives"])
        k = tf.reduce_max(tf.concat([most, [0]], axis=0))
        size = text_state.state_size(self._model)

        def take_turn(number, left, characters, stopped, state, columns):
            del stopped
            inputs = [tf.minimum(left, turn), *choices, stop, row_inputs["alternatives"], state]
            made = self._batching.merged("generate", self._turn, *inputs)
            ids, added, stopped, scores, likeliest, likeliest_scores, state = made
            padded = (
                _columns(tf.ensure_shape(ids, [None] * 2), turn, PADDING),
                _columns(tf.ensure_shape(scores, [None] * 2), turn, 0.0),
                _columns(tf.ensure_shape(likeliest, [None] * 3)[:, :, :k], turn, PADDING),
                _columns(tf.ensure_shape(likeliest_scores, [None] * 3)[:, :, :k], turn, 0.0),
            )
            columns = [one.write(number, part) for one, part in zip(columns, padded, strict=True)]
            stopped = tf.ensure_shape(stopped, [None])
            left = tf.where(stopped, 0, tf.maximum(left - turn, 0))
            characters += tf.ensure_shape(added, [None])
            state = tf.ensure_shape(state, [None, size])
            return number + 1, left, characters, stopped, state, columns

        columns = [
            tf.TensorArray(dtype, size=0, dynamic_size=True, element_shape=[None] * rank)
            for dtype, rank in ((tf.int32, 2), (tf.float32, 2), (tf.int32, 3), (tf.float32, 3))
        ]
        _, _, characters, stopped, state, columns = tf.while_loop(
            lambda number, left, *_: (number == 0) | tf.reduce_any(left > 0),
            take_turn,
            (
                tf.constant(0),
                row_inputs["length"],
                tf.zeros([rows], tf.int32),
                tf.fill([rows], False),
                self._after(row_inputs["prompt"], row_inputs["state"]),
                columns,
            ),
            parallel_iterations=1,
        )
        ids, scores, likeliest, likeliest_scores = (_side_by_side(one.stack()) for one in columns)
        return [ids, characters, stopped, scores, likeliest, likeliest_scores, state]

    def _stops(self, stop):
        """Stop strings at the end of rows of ids, as `sampling.generate` takes them."""
        ids = self._vocabulary.encode(stop)
        missing = sampling.MAX_STOP - tf.shape(ids)[1]
        ids = tf.pad(ids, [[0, 0], [0, tf.maximum(missing, 0)]], constant_values=PADDING)
        lengths = tf.reduce_sum(tf.cast(ids != PADDING, tf.int32), axis=1)
        positions = tf.range(sampling.MAX_STOP) - (sampling.MAX_STOP - lengths)[:, None]
        moved = tf.gather(ids, tf.maximum(positions, 0), batch_dims=1)
        return tf.where(positions < 0, PADDING, moved)

    def _after(self, prompt, state):
        """The states after prompts; most pieces of a text have none, and do not wait to be read."""
        width = text_state.state_size(self._model)

        def read(prompt, state):
            before = text_state.unpack(state, self._model)
            after = sampling.read(self._model, self._vocabulary.encode(prompt), before)
            return text_state.pack(after, self._mark)

        def merged():
            return tf.ensure_shape(
                self._batching.merged("read", read, prompt, state), [None, width]
            )

        return tf.cond(tf.reduce_any(prompt != ""), merged, lambda: state)

    def _turn(self, length, temperature, top_k, top_p, seed, stop, alternatives, state):
        """`sampling.generate` for the rows of all requests, which are known to be valid."""
        generated = sampling.generate(
            self._model,
            tf.zeros([tf.shape(length)[0], 0], tf.int32),
            length,
            sampling.Choice(temperature, top_k, top_p, seed),
            stop,
            tf.minimum(tf.reduce_max(alternatives), len(self._vocabulary.code_points)),
            text_state.unpack(state, self._model),
        )
        return [
            generated.ids,
            generated.lengths,
            generated.stopped,
            generated.log_probabilities,
            generated.alternatives,
            generated.alternative_log_probabilities,
            text_state.pack(generated.state, self._mark),
        ]


def _columns(values, count, padding):
    """`[batch, columns, ...]` with as many columns as told, padded or cut."""
    missing = [[0, 0], [0, count], *[[0, 0]] * (len(values.shape) - 2)]
    return tf.pad(values, missing, constant_values=padding)[:, :count]


def _side_by_side(parts):
    """`[parts, batch, columns, ...]` as `[batch, parts * columns, ...]`."""
    count, batch, columns, *rest = shape_of(parts)
    turned = tf.transpose(parts, [1, 0, *range(2, len(parts.shape))])
    return tf.reshape(turned, [batch, count * columns, *rest])
