"""One training of a model that translates; see `pipeline.training.shuffled_run`.

Format-Serving/         the SavedModel; see `serving.graph.export_translator`
"""

import itertools

import tensorflow as tf

from model.translation.losses import targets_before, word_losses
from model.translation.reencoder import Reencoder
from pipeline.data.pair_batches import PairedSplit, Vocabularies, steps_per_epoch
from pipeline.data.pair_statistics import Lengths
from pipeline.settings import Settings
from pipeline.store.artifacts import Artifact
from pipeline.training.shuffled_run import ShuffledRun
from serving.graph.export_translator import export_translator

IDS = tf.TensorSpec([None, None], tf.int32)
EVALUATED = 64
"""Number of pairs that are validated at once."""


class TranslationRun(ShuffledRun):
    """A training on pairs of sentences, whose losses are given per word."""

    UNIT = "word"

    def __init__(
        self,
        directory: str,
        write_dir: str,
        examples: Artifact,
        vocabularies: Vocabularies,
        lengths: Lengths,
        settings: Settings,
        strategy: tf.distribute.Strategy,
    ):
        """Builds the model and opens the pairs.

        Args:
          directory: Directory in which an earlier attempt may have left a checkpoint.
          write_dir: Directory that this worker writes to; for the chief the same.
          examples: Artifact of ExampleGen, of records of whole lines.
          vocabularies: Vocabularies of the model.
          lengths: Number of pairs of the training split by the numbers of words of both sides.
          settings: Settings of the model and of the training.
          strategy: Strategy that places the replicas on devices.
        """
        self._vocabularies = vocabularies
        self._settings = settings
        most = settings.translation.max_words
        self._train_split, self._eval_split = (
            PairedSplit(examples.path, split, vocabularies, most) for split in ("train", "eval")
        )
        config = settings.training
        steps = steps_per_epoch(lengths, config.batch_size, most)
        super().__init__(directory, write_dir, config, steps, [IDS, IDS], strategy)

    def make_model(self) -> Reencoder:
        """Returns a model with random weights, as wide as the section `[model]` says."""
        settings = self._settings
        turns = itertools.cycle(("forward", "backward"))
        directions = itertools.islice(turns, settings.translation.grids)
        return Reencoder(
            self._vocabularies.source.size,
            self._vocabularies.target.size,
            settings.model.units,
            directions=tuple(directions),
            dropout=settings.model.dropout,
            execution=settings.training.execution,
            name="reencoder",
        )

    def training_batches(self, epoch: int) -> tf.data.Dataset:
        """Returns the batches of a pass, of sources of one length each."""
        return self._train_split.training_batches(self._config.batch_size, self._config.seed, epoch)

    def evaluation_batches(self) -> tf.data.Dataset:
        """Returns all pairs of the eval split once."""
        return self._eval_split.evaluation_batches(EVALUATED)

    def losses(self, *batch: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns -ln p of each target and its end, float32 `[batch]`.

        Args:
          batch: Ids of the sources `[batch, source]` and of the targets `[batch, target]`.
          training: Whether dropout applies.
        """
        sources, targets = batch
        logits = self.model([sources, targets_before(targets)], training=training)
        return tf.reduce_sum(word_losses(logits, targets)[0], axis=1)

    def units_of(self, *batch: tf.Tensor) -> tf.Tensor:
        """Returns the number of words of all targets, their ends included, float32."""
        _, targets = batch
        return tf.math.count_nonzero(targets, dtype=tf.float32)

    def export(self, model: Reencoder, path: str) -> None:
        """Writes the SavedModel of a translator.

        Args:
          model: Model whose variables are on no strategy.
          path: Directory to write.
        """
        search = self._settings.translation
        export_translator(
            model,
            *self._vocabularies,
            path,
            beam_width=search.beam_width,
            max_words=search.max_words,
            length_power=search.length_power,
        )
