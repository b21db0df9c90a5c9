"""Generates texts in short chunks, so that short texts do not wait for the long ones of others."""

import numpy as np
import tensorflow as tf

from model.language_model import sampling
from model.language_model.frozen import FrozenCharacterModel
from model.shapes import shape_of
from model.text.code_points import TextVocabulary
from model.text.vocabulary import PADDING
from serving.graph import text_state
from serving.graph.batching import Batching


class ChunkedGeneration:
    """Generation in chunks of a few characters, each merged with those of other requests."""

    def __init__(
        self,
        model: FrozenCharacterModel,
        vocabulary: TextVocabulary,
        fingerprint: np.ndarray,
        batching: Batching,
        is_compiled: bool,
    ):
        """Prepares generation by a model.

        Args:
          model: The model.
          vocabulary: Its vocabulary.
          fingerprint: Its fingerprint, see `text_state.model_fingerprint`.
          batching: How requests are merged.
          is_compiled: Whether XLA compiles the generation of a chunk.
        """
        self._model = model
        self._vocabulary = vocabulary
        self._fingerprint = fingerprint
        self._batching = batching
        self._columns = batching.chunk_length if is_compiled else None

    def generate(self, row_inputs: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        """Generates texts of any length.

        Args:
          row_inputs: The inputs of `generate` by name, all valid, with one row for each text and
            full states `[batch, state_size]`.

        Returns:
          The fields of `sampling.Generated` with at least `Batching.chunk_length` columns: ids
          `[batch, columns]`, lengths `[batch]`, stopped `[batch]`, log-probabilities
          `[batch, columns]`, alternatives `[batch, columns, k]`, their log-probabilities, and the
          states `[batch, state_size]`.
        """
        rows = tf.shape(row_inputs["prompt"])[0]
        stop = self._encode_stop(row_inputs["stop"])

        def add_chunk(
            number: tf.Tensor,
            left: tf.Tensor,
            characters: tf.Tensor,
            stopped: tf.Tensor,
            state: tf.Tensor,
            columns: list[tf.TensorArray],
        ) -> tuple:
            chunk, added, stops, state = self._run_chunk(row_inputs, left, stop, state)
            columns = [
                array.write(number, part) for array, part in zip(columns, chunk, strict=True)
            ]
            stopped |= stops  # rows that have ended wait for the others
            left = tf.where(stopped, 0, tf.maximum(left - self._batching.chunk_length, 0))
            return number + 1, left, characters + added, stopped, state, columns

        columns = [
            tf.TensorArray(dtype, size=0, dynamic_size=True, element_shape=[None] * rank)
            for dtype, rank in ((tf.int32, 2), (tf.float32, 2), (tf.int32, 3), (tf.float32, 3))
        ]
        _, _, characters, stopped, state, columns = tf.while_loop(
            lambda number, left, *_: (number == 0) | tf.reduce_any(left > 0),
            add_chunk,
            (
                tf.constant(0),
                row_inputs["length"],
                tf.zeros([rows], tf.int32),
                tf.fill([rows], False),
                self._read_prompts(row_inputs["prompt"], row_inputs["state"]),
                columns,
            ),
            parallel_iterations=1,
        )
        ids, scores, likeliest, likeliest_scores = (
            _join_chunks(array.stack()) for array in columns
        )
        return [ids, characters, stopped, scores, likeliest, likeliest_scores, state]

    def _run_chunk(
        self,
        row_inputs: dict[str, tf.Tensor],
        left: tf.Tensor,
        stop: tf.Tensor,
        state: tf.Tensor,
    ) -> tuple[tuple[tf.Tensor, ...], tf.Tensor, tf.Tensor, tf.Tensor]:
        """Generates the next chunk, merged with those of other requests.

        Args:
          row_inputs: The inputs of `generate` by name.
          left: Number of characters that each row still lacks, int32 `[batch]`.
          stop: The ids of the stop strings.
          state: The states, `[batch, state_size]`.

        Returns:
          Ids, log-probabilities, alternatives and theirs, with `chunk_length` columns each; the
          number of characters added `[batch]`, whether a row has stopped `[batch]`, and the states.
        """
        length = self._batching.chunk_length
        ids, added, stops, scores, likeliest, likeliest_scores, state = self._batching.run_merged(
            "generate",
            self._generate_chunk,
            tf.minimum(left, length),
            *(row_inputs[name] for name in ("temperature", "top_k", "top_p", "seed")),
            stop,
            row_inputs["alternatives"],
            state,
            batch_sizes=self._batching.generated_batch_sizes,
        )
        # Other requests that were merged may have asked for more alternatives.
        counts = tf.minimum(len(self._vocabulary.code_points), row_inputs["alternatives"])
        k = tf.reduce_max(tf.concat([counts, [0]], axis=0))
        likeliest, likeliest_scores = (
            tf.ensure_shape(part, [None] * 3)[:, :, :k] for part in (likeliest, likeliest_scores)
        )
        chunk = (
            _fit_columns(tf.ensure_shape(ids, [None] * 2), length, PADDING),
            _fit_columns(tf.ensure_shape(scores, [None] * 2), length, 0.0),
            _fit_columns(likeliest, length, PADDING),
            _fit_columns(likeliest_scores, length, 0.0),
        )
        state = tf.ensure_shape(state, [None, text_state.state_size(self._model)])
        return chunk, tf.ensure_shape(added, [None]), tf.ensure_shape(stops, [None]), state

    def _encode_stop(self, stop: tf.Tensor) -> tf.Tensor:
        """Returns the ids of stop strings, right-aligned in rows of `MAX_STOP`."""
        ids = self._vocabulary.encode(stop)
        missing = sampling.MAX_STOP - tf.shape(ids)[1]
        ids = tf.pad(ids, [[0, 0], [0, tf.maximum(missing, 0)]], constant_values=PADDING)
        lengths = tf.reduce_sum(tf.cast(ids != PADDING, tf.int32), axis=1)
        positions = tf.range(sampling.MAX_STOP) - (sampling.MAX_STOP - lengths)[:, None]
        aligned = tf.gather(ids, tf.maximum(positions, 0), batch_dims=1)
        return tf.where(positions < 0, PADDING, aligned)

    def _read_prompts(self, prompt: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
        """Returns the states after reading prompts.

        Most pieces of a text come without a prompt, and skip the queue for reading.
        """
        width = text_state.state_size(self._model)

        def read(prompt: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
            before = text_state.unpack(state, self._model)
            after = sampling.read(self._model, self._vocabulary.encode(prompt), before)
            return text_state.pack(after, self._fingerprint)

        def read_merged() -> tf.Tensor:
            return tf.ensure_shape(
                self._batching.run_merged("read", read, prompt, state), [None, width]
            )

        return tf.cond(tf.reduce_any(prompt != ""), read_merged, lambda: state)

    def _generate_chunk(
        self,
        length: tf.Tensor,
        temperature: tf.Tensor,
        top_k: tf.Tensor,
        top_p: tf.Tensor,
        seed: tf.Tensor,
        stop: tf.Tensor,
        alternatives: tf.Tensor,
        state: tf.Tensor,
    ) -> list[tf.Tensor]:
        """Generates one chunk for the rows of all merged requests, which have been checked."""
        generated = sampling.generate(
            self._model,
            tf.zeros([tf.shape(length)[0], 0], tf.int32),
            length,
            temperature,
            top_k,
            top_p,
            seed,
            stop=stop,
            alternatives=tf.minimum(tf.reduce_max(alternatives), len(self._vocabulary.code_points)),
            state=text_state.unpack(state, self._model),
            compiled_columns=self._columns,
        )
        return [
            generated.ids,
            generated.lengths,
            generated.stopped,
            generated.log_probabilities,
            generated.alternatives,
            generated.alternative_log_probabilities,
            text_state.pack(generated.state, self._fingerprint),
        ]


def _fit_columns(values: tf.Tensor, count: int, padding: float) -> tf.Tensor:
    """Returns `[batch, count, ...]`: the values with their columns padded or cut to a count."""
    missing = [[0, 0], [0, count], *[[0, 0]] * (len(values.shape) - 2)]
    return tf.pad(values, missing, constant_values=padding)[:, :count]


def _join_chunks(chunks: tf.Tensor) -> tf.Tensor:
    """Returns `[batch, chunks * columns, ...]` for `[chunks, batch, columns, ...]`."""
    count, batch, columns, *rest = shape_of(chunks)
    by_row = tf.transpose(chunks, [1, 0, *range(2, len(chunks.shape))])
    return tf.reshape(by_row, [batch, count * columns, *rest])
