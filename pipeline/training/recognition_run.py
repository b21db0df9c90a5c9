"""One training of a recognizer of speech; see `pipeline.training.shuffled_run`.

Format-Serving/         the SavedModel; see `serving.graph.export_recognizer`
"""

import keras
import numpy as np
import tensorflow as tf

from model.speech import ctc
from model.speech.nets import build_net
from model.speech.recognizer import Recognizer
from model.speech.wav import Samples, decode_wavs
from model.speech.wav_headers import BYTES_OF_A_SAMPLE
from pipeline.data.recording_batches import (
    BATCH,
    RecordedSplit,
    RecordingBatch,
    steps_per_epoch,
)
from pipeline.data.recording_statistics import RecordingStatistics
from pipeline.data.recordings import first_recordings
from pipeline.data.spectrograms import limits_of, log_mel_of
from pipeline.settings import Settings
from pipeline.store.artifacts import Artifact
from pipeline.training.shuffled_run import ShuffledRun
from serving.graph.export_recognizer import export_recognizer

EVALUATED = 32
"""Number of recordings that are validated at once."""

SHOWN = 3
"""Number of recordings of the eval split that TensorBoard shows."""

PIXELS_OF_A_BAND = 4


class RecognitionRun(ShuffledRun):
    """A training by CTC on recordings, whose losses are given per character."""

    UNIT = "character"

    def __init__(
        self,
        directory: str,
        write_dir: str,
        examples: Artifact,
        labels: str,
        statistics: RecordingStatistics,
        settings: Settings,
        strategy: tf.distribute.Strategy,
    ):
        """Builds the model and opens the recordings.

        Args:
          directory: Directory in which an earlier attempt may have left a checkpoint.
          write_dir: Directory that this worker writes to; for the chief the same.
          examples: Artifact of ExampleGen, of recordings.
          labels: Characters of the labels, in the order of the outputs of the net.
          statistics: Statistics of the training split.
          settings: Settings of the model and of the training.
          strategy: Strategy that places the replicas on devices.
        """
        self._labels = labels
        self._statistics = statistics
        self._settings = settings
        rate = settings.recognition.sample_rate
        self._train_split, self._eval_split = (
            RecordedSplit(examples.path, split, labels, rate) for split in ("train", "eval")
        )
        config = settings.training
        steps = steps_per_epoch(statistics.periods, config.batch_size)
        super().__init__(directory, write_dir, config, steps, BATCH, strategy)
        shown = {one.source: one for one in first_recordings(examples.path, "eval", SHOWN)}
        audio = {source: one.audio for source, one in shown.items()}
        waves = decode_wavs(audio, limits_of(settings.recognition))
        self._shown = list(zip(shown.values(), waves, strict=True))

    def make_model(self) -> keras.Model:
        """Returns a net with random weights, as wide as the section `[model]` says."""
        model, recognition = self._settings.model, self._settings.recognition
        return build_net(
            recognition.net,
            len(self._labels),
            recognition.bands,
            model.units,
            model.layers,
            model.dropout,
            recognition.noise,
        )

    def recognizer(self, net: keras.Model) -> Recognizer:
        """Returns the recognizer of a net.

        Args:
          net: Net from spectrograms to the logits of the labels.
        """
        return Recognizer(
            net,
            self._labels,
            log_mel_of(self._settings.recognition),
            self._statistics.mean,
            self._statistics.scale,
        )

    def training_batches(self, epoch: int) -> tf.data.Dataset:
        """Returns the batches of a pass, of recordings of about one duration each."""
        samples = self._statistics.seconds * self._settings.recognition.sample_rate
        mean_bytes = BYTES_OF_A_SAMPLE * samples / self._statistics.recordings
        config = self._config
        return self._train_split.training_batches(config.batch_size, config.seed, epoch, mean_bytes)

    def evaluation_batches(self) -> tf.data.Dataset:
        """Returns all recordings of the eval split once."""
        return self._eval_split.evaluation_batches(EVALUATED)

    def losses(self, *batch: tf.Tensor, training: bool) -> tf.Tensor:
        """Returns -ln p of each transcript, float32 `[batch]`.

        Args:
          batch: A `RecordingBatch`.
          training: Whether noise and dropout apply.
        """
        samples, lengths, labels = RecordingBatch(*batch)
        recognizer = self.recognizer(self.model)
        logits, frames = recognizer.logits(Samples(samples, lengths), training=training)
        return -ctc.log_probability(logits, frames, labels)

    def units_of(self, *batch: tf.Tensor) -> tf.Tensor:
        """Returns the number of labels of a batch, at least 1, float32."""
        labels = RecordingBatch(*batch).labels
        return tf.maximum(tf.reduce_sum(tf.cast(labels != ctc.NO_LABEL, tf.float32)), 1.0)

    def log_examples(self) -> None:
        """Logs what is recognized in some recordings, their spectrograms and their sound."""
        recognizer = self.recognizer(self.model)
        rows = ["| file | said | recognized |", "|---|---|---|"]
        for number, (recording, samples) in enumerate(self._shown):
            batch = Samples(tf.constant(samples[None]), tf.constant([len(samples)]))
            found = recognizer.recognize(batch)
            text = recognizer.text(found.labels).numpy()[0].decode()
            cells = (
                one.replace("|", "\\|") for one in (recording.shown, recording.transcript, text)
            )
            rows.append(f"| {' | '.join(cells)} |")
            spectrogram, _ = recognizer.standardized(batch)
            tf.summary.image(f"spectrogram/{number}", grey_picture(spectrogram)[None])
            rate = recognizer.spectrogram.sample_rate
            tf.summary.audio(f"recording/{number}", samples[None, :, None], rate)
        tf.summary.text("recognized", "\n".join(rows))

    def export(self, model: keras.Model, path: str) -> None:
        """Writes the SavedModel of a recognizer.

        Args:
          model: Net whose variables are on no strategy.
          path: Directory to write.
        """
        recognition = self._settings.recognition
        export_recognizer(
            self.recognizer(model), path, recognition.search_width, recognition.max_seconds
        )


def grey_picture(spectrogram: tf.Tensor) -> np.ndarray:
    """Returns a spectrogram as a picture: time to the right, frequency upwards, loud is dark.

    Args:
      spectrogram: Standardized spectrogram, `[1, frames, bands]`; 2 and more is black.

    Returns:
      The picture, uint8 `[height, frames, 1]`.
    """
    loudness = np.clip(spectrogram.numpy()[0] / 4 + 0.5, 0, 1)
    pixels = np.repeat(255 - np.uint8(255 * loudness.T[::-1]), PIXELS_OF_A_BAND, axis=0)
    return pixels[..., None]
