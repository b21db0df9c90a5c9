"""Exports a Reencoder as a SavedModel that translates sentences."""

import numpy as np
import tensorflow as tf

from model.config import require_integer
from model.errors import InputError
from model.text.word_tables import WordTables
from model.text.word_vocabulary import PADDING, WordVocabulary
from model.translation.beam_search import beam_search
from model.translation.reencoder import Reencoder
from serving.graph.checks import require, sentence_checks
from serving.graph.export import predict_log, save_signatures, temporary_files, write_warm_up
from serving.limits import MAX_ROWS

SIGNATURE = "translate"
SOURCE_VOCABULARY = "source_words.txt"
TARGET_VOCABULARY = "target_words.txt"
"""Names of the vocabularies among the assets of a SavedModel."""


class ServedTranslator(tf.Module):
    """A Reencoder whose inputs and outputs are sentences.

    Args:
      model: The model.
      source: Vocabulary of the sentences.
      target: Vocabulary of the translations.
      beam_width: Number of hypotheses of the beam.
      max_words: Largest number of words of a sentence, and of a translation.
      length_power: Power of the length that scores are divided by; see `beam_search`.

    Raises:
      InputError: If the vocabularies are not those of the model, or an argument is out of range.
    """

    def __init__(
        self,
        model: Reencoder,
        source: WordVocabulary,
        target: WordVocabulary,
        beam_width: int,
        max_words: int,
        length_power: float,
    ):
        super().__init__()
        sizes = model.source_vocabulary_size, model.target_vocabulary_size
        if sizes != (source.size, target.size):
            raise InputError(
                f"the model has {sizes[0]} source and {sizes[1]} target ids, and the vocabularies "
                f"{source.size} and {target.size}; give the vocabularies that it was trained with"
            )
        self._max_words = require_integer("max_words", max_words, 1)
        # Only what signatures read is saved: variables, and no layers with functions of their own.
        self.weights = [variable.value for variable in model.variables]
        self.tables = WordTables(source), WordTables(target)
        self._search = lambda ids: beam_search(model, ids, beam_width, max_words, length_power)
        self._search(tf.ones([1, 1], tf.int32))  # refuses arguments before anything is written

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "sources")])
    def translate(self, sources: tf.Tensor) -> dict[str, tf.Tensor]:
        """Translates sentences.

        Args:
          sources: Sentences of words between white space, strings `[batch]`.

        Returns:
          A dictionary of `translations`, strings `[batch]`, and `scores`, float32 `[batch]`, as
          `beam_search` has them.
        """
        source, target = self.tables
        ids = source.ids(sources)
        words = tf.math.count_nonzero(ids != PADDING, axis=1, dtype=tf.int32)
        checks = sentence_checks("sources", words, MAX_ROWS, self._max_words)
        with tf.control_dependencies([require(checks)]):
            ids = tf.identity(ids)
        found = self._search(ids)
        return {"translations": target.texts(found.ids[:, 0]), "scores": found.scores[:, 0]}


def export_translator(
    model: Reencoder,
    source: WordVocabulary,
    target: WordVocabulary,
    directory: str,
    beam_width: int = 4,
    max_words: int = 50,
    length_power: float = 0.6,
) -> None:
    """Writes a SavedModel with the signature `translate`, which is `serving_default`, too.

    It runs in TensorFlow Serving and after `tf.saved_model.load`, without this project:

      >>> import tempfile
      >>> from model import Reencoder
      >>> from model.text.word_vocabulary import WordVocabulary
      >>> source, target = WordVocabulary(("oui", "non")), WordVocabulary(("yes", "no"))
      >>> model = Reencoder(source.size, target.size, units=4)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     export_translator(model, source, target, f"{folder}/1", max_words=5)
      ...     translate = tf.saved_model.load(f"{folder}/1").signatures["translate"]
      ...     found = translate(sources=tf.constant(["oui", "non oui"]))
      >>> found["translations"].shape, found["scores"].dtype
      (TensorShape([2]), tf.float32)

    Args:
      model: The model.
      source: Vocabulary of the sentences.
      target: Vocabulary of the translations.
      directory: Directory to write, the directory of a version.
      beam_width: Number of hypotheses of the beam. Default 4.
      max_words: Largest number of words of a sentence, and of a translation. Default 50.
      length_power: Power of the length that scores are divided by. Default 0.6.

    Raises:
      InputError: If the vocabularies are not those of the model, or an argument is out of range.
    """
    served = ServedTranslator(model, source, target, beam_width, max_words, length_power)
    files = {SOURCE_VOCABULARY: source.to_text(), TARGET_VOCABULARY: target.to_text()}
    names = (SIGNATURE, "serving_default")
    with temporary_files(files) as paths:
        served.files = [tf.saved_model.Asset(path) for path in paths]
        save_signatures(served, dict.fromkeys(names, served.translate), directory)
    text = np.array([source.words[0] if source.words else "x"], object)
    write_warm_up(directory, [predict_log(name, {"sources": text}) for name in names])
