"""Exports a language model over words as a SavedModel that scores words and finds near ones."""

import numpy as np
import tensorflow as tf

from model.config import require_integer
from model.errors import InputError
from model.execution.plan import PLAIN
from model.text.word_tables import WordTables
from model.text.word_vocabulary import UNKNOWN, WordVocabulary
from model.words.neighbours import nearest_neighbours
from model.words.spelling import SENTENCE_END, Spelling
from model.words.spelling_tables import SpellingTables
from model.words.word_model import WordModel
from serving.graph.checks import Check, require, sentence_checks
from serving.graph.export import predict_log, save_signatures, temporary_files, write_warm_up
from serving.limits import MAX_ROWS

SCORE_WORDS, NEIGHBOURS = "score_words", "neighbours"
"""Names of the signatures."""
WORDS, CHARACTERS = "words.txt", "characters.txt"
"""Names of the files of the vocabulary, a word per line, and of the characters among the assets."""


class ServedWordModel(tf.Module):
    """A language model over words whose inputs are texts.

    Args:
      model: The model, with the inputs "characters".
      vocabulary: Vocabulary of the words that it predicts.
      spelling: Spelling of the words that it reads.
      max_words: Largest number of words of a text.

    Raises:
      InputError: If the model has no characters, or vocabulary or spelling are those of another.
    """

    def __init__(
        self, model: WordModel, vocabulary: WordVocabulary, spelling: Spelling, max_words: int
    ):
        super().__init__()
        if model.config.inputs != "characters":
            raise InputError(
                "the model has a table of words and reads no characters; give one with the inputs "
                "'characters'"
            )
        sizes = model.vocabulary_size, model.character_count
        if sizes != (vocabulary.size, spelling.size):
            raise InputError(
                f"the model has {sizes[0]} ids of words and {sizes[1]} of characters, and "
                f"vocabulary and spelling {vocabulary.size} and {spelling.size}; give those that "
                "it was trained with"
            )
        self._max_words = require_integer("max_words", max_words, 1)
        self._words = len(vocabulary.words)
        served = WordModel(model.config, *sizes, PLAIN, dtype=model.dtype_policy)
        served.set_weights(model.get_weights())
        if model.config.core.architecture == "grid":
            served.core.plan = None  # chosen where it is called, as sizes are unknown
        # Only what signatures read is saved: variables, and no layers with functions of their own.
        self.weights = [variable.value for variable in served.variables]
        self.tables = WordTables(vocabulary), SpellingTables(spelling)
        self.vectors = tf.Variable(
            served.embedding(spelling.table(vocabulary.words)), trainable=False, name="vectors"
        )
        self.names = tf.constant(vocabulary.words, tf.string)
        self._end = tf.constant(spelling.table([SENTENCE_END]))
        self._embed = lambda ids: served.embedding(ids)
        self._logits = lambda ids: served(ids, served.initial_state(tf.shape(ids)[0]))[0]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "texts")])
    def score_words(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the probability of each word of texts, given those before it.

        Args:
          texts: Texts of words between white space, strings `[batch]`, each the beginning of a
            sentence.

        Returns:
          A dictionary of `words`, strings `[batch, longest]`, "" after the last; of
          `log_probabilities`, float32 `[batch, longest]`, ln p of each, 0 after the last; and of
          `is_known`, boolean `[batch, longest]`: of a word that the vocabulary lacks the
          probability is that of any such word.
        """
        vocabulary, spelling = self.tables
        ragged = vocabulary.words(texts)
        counts = tf.cast(ragged.row_lengths(), tf.int32)
        checks = sentence_checks("texts", counts, MAX_ROWS, self._max_words)
        with tf.control_dependencies([require(checks)]):
            words = ragged.to_tensor("")
        batch, longest = tf.unstack(tf.shape(words))
        spelled = spelling.ids(tf.reshape(words, [-1]))
        width = self._end.shape[1]
        spelled = tf.reshape(spelled, [batch, longest, width])
        first = tf.tile(self._end[None], [batch, 1, 1])
        before = tf.concat([first, spelled[:, :-1]], axis=1)[:, :longest]
        logits = self._logits(before)
        targets = vocabulary.ids(texts)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
            targets, tf.cast(logits, tf.float32)
        )
        is_word = tf.sequence_mask(counts, longest)
        return {
            "words": words,
            "log_probabilities": tf.where(is_word, -losses, 0.0),
            "is_known": is_word & (targets != UNKNOWN),
        }

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.string, "words"),
            tf.TensorSpec([None], tf.int32, "count"),
        ],
    )
    def neighbours(self, words: tf.Tensor, count: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the words of the vocabulary whose vectors have the least angle to those of words.

        Args:
          words: Words, strings `[batch]`, known or not.
          count: Number of neighbours of each, int32 `[1]`.

        Returns:
          A dictionary of `neighbours`, strings `[batch, count]`, the nearest first, which a known
          word itself is, and of `cosines`, float32 `[batch, count]`.
        """
        rows, given = tf.shape(words)[0], tf.shape(count)[0]
        most = self._words

        def too_many() -> tf.Tensor:
            shown = tf.strings.as_string(rows)
            return tf.strings.join(["words has ", shown, f" rows; give at most {MAX_ROWS}"])

        def bad_count() -> tf.Tensor:
            shown = tf.strings.reduce_join(tf.strings.as_string(count), separator=", ")
            remedy = f"]; it must be one number from 1 to {most}"
            return tf.strings.join(["count is [", shown, remedy])

        checks = [
            Check(rows <= MAX_ROWS, too_many),
            Check((given == 1) & tf.reduce_all((count >= 1) & (count <= most)), bad_count),
        ]
        with tf.control_dependencies([require(checks)]):
            words, count = tf.identity(words), tf.identity(count)
        queries = self._embed(self.tables[1].ids(words))
        found = nearest_neighbours(self.vectors, queries, count[0])
        return {
            "neighbours": tf.gather(self.names, found.places),
            "cosines": tf.cast(found.cosines, tf.float32),
        }


def export_word_model(
    model: WordModel,
    vocabulary: WordVocabulary,
    spelling: Spelling,
    directory: str,
    max_words: int = 200,
) -> None:
    """Writes a SavedModel with the signatures `score_words`, also `serving_default`, `neighbours`.

    It runs in TensorFlow Serving and after `tf.saved_model.load`, without this project:

      >>> import tempfile
      >>> from model import ModelConfig, WordModel, WordModelConfig
      >>> from model.text.word_vocabulary import WordVocabulary
      >>> from model.words.spelling import Spelling
      >>> vocabulary = WordVocabulary(("cat", "cats", "sleeps"))
      >>> spelling = Spelling.of(vocabulary.words)
      >>> config = WordModelConfig(ModelConfig(architecture="stacked", units=4))
      >>> model = WordModel(config, vocabulary.size, spelling.size)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     export_word_model(model, vocabulary, spelling, f"{folder}/1")
      ...     signatures = tf.saved_model.load(f"{folder}/1").signatures
      ...     scores = signatures["score_words"](texts=tf.constant(["cat sleeps"]))
      ...     near = signatures["neighbours"](words=tf.constant(["cats"]), count=tf.constant([2]))
      >>> scores["log_probabilities"].shape, near["neighbours"].numpy()[0, 0]
      (TensorShape([1, 2]), b'cats')

    Args:
      model: The model, with the inputs "characters".
      vocabulary: Vocabulary of the words that it predicts.
      spelling: Spelling of the words that it reads.
      directory: Directory to write, the directory of a version.
      max_words: Largest number of words of a text. Default 200.

    Raises:
      InputError: If the model has no characters, vocabulary or spelling are those of another, or
        `max_words` is out of range.
    """
    served = ServedWordModel(model, vocabulary, spelling, max_words)
    # A line per code point, as the end of a sentence is a line feed itself.
    characters = "".join(f"U+{ord(one):04X}\n" for one in spelling.characters)
    functions = {
        SCORE_WORDS: served.score_words,
        "serving_default": served.score_words,
        NEIGHBOURS: served.neighbours,
    }
    with temporary_files({WORDS: vocabulary.to_text(), CHARACTERS: characters}) as paths:
        served.files = [tf.saved_model.Asset(path) for path in paths]
        save_signatures(served, functions, directory)
    word = np.array([vocabulary.words[0]], object)
    requests = {
        SCORE_WORDS: {"texts": word},
        "serving_default": {"texts": word},
        NEIGHBOURS: {"words": word, "count": np.array([1], np.int32)},
    }
    write_warm_up(directory, [predict_log(*request) for request in requests.items()])
