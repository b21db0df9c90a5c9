"""Exports a Reencoder as a SavedModel that translates sentences."""

import numpy as np
import tensorflow as tf

from model.config import require_integer
from model.errors import InputError
from model.text.word_tables import WordTables
from model.text.word_vocabulary import END, PADDING, WordVocabulary
from model.translation.beam_search import beam_search
from model.translation.losses import targets_before, word_losses
from model.translation.reencoder import Reencoder
from serving.graph.checks import Check, require, sentence_checks
from serving.graph.export import predict_log, save_signatures, temporary_files, write_warm_up
from serving.limits import MAX_ROWS

TRANSLATE, SCORE = "translate", "score_translations"
"""Names of the signatures; the first is `serving_default`, too."""
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
        self._logits = lambda ids, before: model([ids, before])
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
        checks = self._checks("sources", ids)
        with tf.control_dependencies([require(checks)]):
            ids = tf.identity(ids)
        found = self._search(ids)
        return {"translations": target.texts(found.ids[:, 0]), "scores": found.scores[:, 0]}

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.string, "sources"),
            tf.TensorSpec([None], tf.string, "targets"),
        ],
    )
    def score_translations(self, sources: tf.Tensor, targets: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes how likely given translations are.

        Args:
          sources: Sentences of words between white space, strings `[batch]`.
          targets: A translation of each, strings `[batch]`.

        Returns:
          A dictionary of `log_probabilities`, ln p of the words of each translation and its end,
          float32 `[batch]`, and `words`, the number of these, the end included, int32 `[batch]`.
          Words that the vocabulary lacks count as one and the same word.
        """
        sides = zip(("sources", "targets"), (sources, targets), self.tables, strict=True)
        checks, encoded = [], []
        for name, texts, table in sides:
            encoded.append(table.ids(texts))
            checks += self._checks(name, encoded[-1])
        same = tf.shape(sources)[0] == tf.shape(targets)[0]
        sentence = "sources and targets differ in the number of rows; give a target for each source"
        checks.insert(0, Check(same, lambda: tf.constant(sentence)))
        with tf.control_dependencies([require(checks)]):
            source, target = map(tf.identity, encoded)
        words = tf.math.count_nonzero(target, axis=1, dtype=tf.int32)
        padded = tf.pad(target, [[0, 0], [0, 1]])
        ended = tf.where(tf.range(tf.shape(padded)[1]) == words[:, None], END, padded)
        losses, _ = word_losses(self._logits(source, targets_before(ended)), ended)
        return {"log_probabilities": -tf.reduce_sum(losses, axis=1), "words": words + 1}

    @tf.function(autograph=False, input_signature=[])
    def longest(self) -> tf.Tensor:
        """Returns the largest number of words of a sentence, for those that load the SavedModel."""
        return tf.constant(self._max_words)

    def _checks(self, name: str, ids: tf.Tensor) -> list[Check]:
        """Returns the checks of an input and of the ids of its words."""
        words = tf.math.count_nonzero(ids != PADDING, axis=1, dtype=tf.int32)
        return sentence_checks(name, words, MAX_ROWS, self._max_words)


def export_translator(
    model: Reencoder,
    source: WordVocabulary,
    target: WordVocabulary,
    directory: str,
    beam_width: int = 4,
    max_words: int = 50,
    length_power: float = 0.6,
) -> None:
    """Writes a SavedModel with the signatures `translate` and `score_translations`.

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
    names = (TRANSLATE, "serving_default")
    signatures = {**dict.fromkeys(names, served.translate), SCORE: served.score_translations}
    with temporary_files(files) as paths:
        served.files = [tf.saved_model.Asset(path) for path in paths]
        save_signatures(served, signatures, directory)
    texts = [np.array([one.words[0] if one.words else "x"], object) for one in (source, target)]
    requests = [predict_log(name, {"sources": texts[0]}) for name in names]
    scored = predict_log(SCORE, dict(zip(("sources", "targets"), texts, strict=True)))
    write_warm_up(directory, [*requests, scored])
