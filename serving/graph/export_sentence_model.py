"""Exports an autoencoder of sentences as a SavedModel that encodes, writes and completes them."""

import numpy as np
import tensorflow as tf

from model.config import require_integer
from model.errors import InputError
from model.execution.plan import PLAIN
from model.sentences import decoding
from model.sentences.sentence_model import SentenceModel
from model.text.vocabulary import PADDING
from model.text.word_tables import WordTables
from model.text.word_vocabulary import END, WordVocabulary
from model.text.word_vocabulary import PADDING as NO_WORD
from serving.graph.checks import (
    Check,
    broadcast_rows,
    check_row_count,
    check_values,
    first_or_zero,
    require,
    sentence_checks,
)
from serving.graph.export import predict_log, save_signatures, temporary_files, write_warm_up
from serving.limits import MAX_ROWS

ENCODE, DECODE, INTERPOLATE, IMPUTE = "encode", "decode", "interpolate", "impute"
"""Names of the signatures; the first is `serving_default`, too."""
WORDS = "words.txt"
"""Name of the file of the vocabulary, a word per line, among the assets."""
MAX_POINTS = 32
"""Largest number of sentences on the line between two."""
MAX_WORDS = 50
"""Default of the largest number of words of a sentence."""


class ServedSentenceModel(tf.Module):
    """An autoencoder of sentences whose inputs and outputs are texts.

    Args:
      model: The model, with an encoder, of ids of words.
      vocabulary: Vocabulary of the words.
      max_words: Largest number of words of a sentence, read or written.

    Raises:
      InputError: If the model has no encoder, the vocabulary is that of another, or `max_words` is
        out of range.
    """

    def __init__(self, model: SentenceModel, vocabulary: WordVocabulary, max_words: int):
        super().__init__()
        if model.encoder is None:
            raise InputError(
                "the model is a language model without an encoder, which nothing can be encoded "
                "with; give one with `SentenceModelConfig.encoder`"
            )
        if model.vocabulary_size != vocabulary.size:
            raise InputError(
                f"the model has {model.vocabulary_size} ids of words, and the vocabulary "
                f"{vocabulary.size}; give the vocabulary that it was trained with"
            )
        self._max_words = require_integer("max_words", max_words, 1)
        self._size = model.config.latent
        # Variables of a model trained by a strategy are mirrored; a plain model's are not.
        served = SentenceModel(model.config, model.vocabulary_size, PLAIN)
        served.set_weights(model.get_weights())
        # Only what signatures read is saved: variables, and no layers with functions of their own.
        self.weights = [variable.value for variable in served.variables]
        self.table = WordTables(vocabulary)
        self._posterior = lambda ids: served.encode(ids)
        self._write = lambda *inputs: decoding.decode(served, inputs[0], END, *inputs[1:])
        self._line = lambda *inputs: decoding.interpolate(served, *inputs)
        self._complete = lambda ids, length: decoding.impute(served, ids, END, length)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "texts")])
    def encode(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the posteriors of the latent vectors of sentences.

        Args:
          texts: Sentences of words between white space, strings `[batch]`.

        Returns:
          A dictionary of `means` and `log_variances`, float32 `[batch, latent]`.
        """
        ids, checks = self._ids("texts", texts)
        with tf.control_dependencies([require(checks)]):
            posterior = self._posterior(_ended(ids))
        return {"means": posterior.mean, "log_variances": posterior.log_variance}

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, None], tf.float32, "latent"),
            tf.TensorSpec([None], tf.int32, "length"),
            tf.TensorSpec([None], tf.float32, "temperature"),
            tf.TensorSpec([None], tf.int64, "seed"),
        ],
    )
    def decode(
        self, latent: tf.Tensor, length: tf.Tensor, temperature: tf.Tensor, seed: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Writes sentences from latent vectors.

        Args:
          latent: Latent vectors, float32 `[batch, latent]`.
          length: Largest number of words of each, int32 `[batch]`, or `[1]` for all.
          temperature: Divisor of the logits, float32, likewise; 0 takes the likeliest word.
          seed: Seed of each sentence, int64, likewise.

        Returns:
          A dictionary of `texts`, strings `[batch]`.
        """
        rows, columns = tf.unstack(tf.shape(latent))
        size, most = self._size, self._max_words

        def too_many() -> tf.Tensor:
            shown = tf.strings.as_string(rows)
            return tf.strings.join(["latent has ", shown, f" rows; give at most {MAX_ROWS}"])

        def other_size() -> tf.Tensor:
            shown = tf.strings.as_string(columns)
            return tf.strings.join(["latent has ", shown, f" columns; give the {size} of encode"])

        def not_finite() -> tf.Tensor:
            return tf.constant("latent has a number that is not finite; give those of encode")

        parts = {"length": length, "temperature": temperature, "seed": seed}
        is_warm = tf.math.is_finite(temperature) & (temperature >= 0)
        checks = [
            Check(rows <= MAX_ROWS, too_many),
            Check(columns == size, other_size),
            Check(tf.reduce_all(tf.math.is_finite(latent)), not_finite),
            *(check_row_count(name, part, rows, "vectors") for name, part in parts.items()),
            check_values(
                length, (length >= 1) & (length <= most), "length", f"must be from 1 to {most}"
            ),
            check_values(temperature, is_warm, "temperature", "must be finite and at least 0"),
        ]
        with tf.control_dependencies([require(checks)]):
            latent = tf.ensure_shape(tf.identity(latent), [None, size])
            parts = {name: broadcast_rows(part, rows) for name, part in parts.items()}
        return {"texts": self._texts(self._write(latent, *parts.values()))}

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.string, "first"),
            tf.TensorSpec([None], tf.string, "second"),
            tf.TensorSpec([None], tf.int32, "count"),
        ],
    )
    def interpolate(
        self, first: tf.Tensor, second: tf.Tensor, count: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Writes the likeliest sentences on the straight line between the vectors of two sentences.

        Args:
          first: Sentences of words between white space, strings `[batch]`.
          second: A sentence for each, strings `[batch]`.
          count: Number n of sentences on each line, the first and the last included, int32 `[1]`.

        Returns:
          A dictionary of `texts`, strings `[batch, n]`.
        """
        sides, checks = [], []
        for name, texts in (("first", first), ("second", second)):
            ids, found = self._ids(name, texts)
            sides.append(ids)
            checks += found
        rows, others = tf.shape(first)[0], tf.shape(second)[0]
        points = first_or_zero(count)
        with tf.control_dependencies([require(_line_checks(rows, others, count) + checks)]):
            sides = [_ended(ids) for ids in sides]
            points = tf.identity(points)
        latent = tf.reshape(self._line(*sides, points), [-1, self._size])
        number = rows * points
        written = self._write(
            latent,
            tf.fill([number], self._max_words),
            tf.zeros([number]),
            tf.zeros([number], tf.int64),
        )
        return {"texts": tf.reshape(self._texts(written), [rows, points])}

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.string, "texts"),
            tf.TensorSpec([None], tf.int32, "length"),
        ],
    )
    def impute(self, texts: tf.Tensor, length: tf.Tensor) -> dict[str, tf.Tensor]:
        """Writes likely ends of sentences.

        Args:
          texts: Beginnings of sentences, of words between white space, strings `[batch]`.
          length: Largest number of words to add to each, int32 `[batch]`, or `[1]` for all.

        Returns:
          A dictionary of `ends`, strings `[batch]`, the words after the beginning.
        """
        ids, checks = self._ids("texts", texts)
        rows, most = tf.shape(texts)[0], self._max_words
        checks += [
            check_row_count("length", length, rows, "texts"),
            check_values(
                length, (length >= 1) & (length <= most), "length", f"must be from 1 to {most}"
            ),
        ]
        with tf.control_dependencies([require(checks)]):
            prefix = tf.where(ids == NO_WORD, PADDING, ids)
            length = broadcast_rows(length, rows)
        return {"ends": self._texts(self._complete(prefix, length))}

    def _ids(self, name: str, texts: tf.Tensor) -> tuple[tf.Tensor, list[Check]]:
        """Returns the ids of the words of sentences, 0 after the last, and the checks of these."""
        ids = self.table.ids(texts)
        words = tf.math.count_nonzero(ids != NO_WORD, axis=1, dtype=tf.int32)
        return ids, sentence_checks(name, words, MAX_ROWS, self._max_words)

    def _texts(self, ids: tf.Tensor) -> tf.Tensor:
        """Returns the sentences of ids, `[batch, longest]`, without their ends."""
        return self.table.texts(tf.where((ids == PADDING) | (ids == END), NO_WORD, ids))


def _line_checks(rows: tf.Tensor, others: tf.Tensor, count: tf.Tensor) -> list[Check]:
    """Returns the checks of the sizes of a request for the sentences between others.

    Args:
      rows: Number of first sentences.
      others: Number of second ones.
      count: Number of sentences on each line, `[1]` in a valid request.
    """
    points = first_or_zero(count)

    def different() -> tf.Tensor:
        return tf.constant("first and second differ in the number of rows; give a second for each")

    def bad_count() -> tf.Tensor:
        shown = tf.strings.reduce_join(tf.strings.as_string(count), separator=", ")
        return tf.strings.join(
            ["count is [", shown, f"]; it must be one number from 2 to {MAX_POINTS}"]
        )

    def too_many() -> tf.Tensor:
        pairs, asked = (tf.strings.as_string(one) for one in (rows, rows * points))
        remedy = f" sentences, of which {MAX_ROWS} are allowed; give fewer pairs"
        return tf.strings.join([pairs, " lines have ", asked, remedy])

    is_one = (tf.shape(count)[0] == 1) & (points >= 2) & (points <= MAX_POINTS)
    return [
        Check(rows == others, different),
        Check(is_one, bad_count),
        Check(rows * points <= MAX_ROWS, too_many),
    ]


def _ended(ids: tf.Tensor) -> tf.Tensor:
    """Returns sentences with `END` after the last word of each, and `PADDING` after that.

    Args:
      ids: Ids of words, `[batch, longest]`, 0 after the last word of each.
    """
    longer = tf.pad(ids, [[0, 0], [0, 1]])
    words = tf.math.count_nonzero(ids != NO_WORD, axis=1, dtype=tf.int32)
    is_end = tf.range(tf.shape(longer)[1]) == words[:, None]
    return tf.where(is_end, END, tf.where(longer == NO_WORD, PADDING, longer))


def export_sentence_model(
    model: SentenceModel, vocabulary: WordVocabulary, directory: str, max_words: int = MAX_WORDS
) -> None:
    """Writes a SavedModel with the signatures of `ServedSentenceModel`; `encode` is the default.

    It runs in TensorFlow Serving and after `tf.saved_model.load`, without this project:

      >>> import tempfile
      >>> from model import ModelConfig
      >>> from model.sentences.config import SentenceModelConfig
      >>> vocabulary = WordVocabulary(("cats", "dogs", "sleep"))
      >>> core = ModelConfig(architecture="stacked", layers=1, units=4)
      >>> model = SentenceModel(SentenceModelConfig(core, core, latent=3), vocabulary.size)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     export_sentence_model(model, vocabulary, f"{folder}/1")
      ...     signatures = tf.saved_model.load(f"{folder}/1").signatures
      ...     line = signatures["interpolate"](
      ...         first=tf.constant(["cats sleep"]),
      ...         second=tf.constant(["dogs sleep"]),
      ...         count=tf.constant([5]),
      ...     )
      >>> line["texts"].shape
      TensorShape([1, 5])

    Args:
      model: The model, with an encoder, of ids of words.
      vocabulary: Vocabulary of the words.
      directory: Directory to write, the directory of a version.
      max_words: Largest number of words of a sentence, read or written. Default 50.

    Raises:
      InputError: If the model has no encoder, the vocabulary is that of another, or `max_words` is
        out of range.
    """
    served = ServedSentenceModel(model, vocabulary, max_words)
    functions = {
        ENCODE: served.encode,
        "serving_default": served.encode,
        DECODE: served.decode,
        INTERPOLATE: served.interpolate,
        IMPUTE: served.impute,
    }
    with temporary_files({WORDS: vocabulary.to_text()}) as paths:
        served.files = [tf.saved_model.Asset(path) for path in paths]
        save_signatures(served, functions, directory, row="sentence")
    text, one = np.array([vocabulary.words[0]], object), np.array([1], np.int32)
    requests: dict[str, dict[str, np.ndarray]] = {
        ENCODE: {"texts": text},
        "serving_default": {"texts": text},
        DECODE: {
            "latent": np.zeros([1, model.config.latent], np.float32),
            "length": one,
            "temperature": np.zeros([1], np.float32),
            "seed": np.zeros([1], np.int64),
        },
        INTERPOLATE: {"first": text, "second": text, "count": 2 * one},
        IMPUTE: {"texts": text, "length": one},
    }
    write_warm_up(directory, [predict_log(*request) for request in requests.items()])
