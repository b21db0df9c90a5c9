"""Recognizers: a net with its front end and its labels, from samples to text with times."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from ..errors import InputError
from .ctc import NO_LABEL, Transcript, decode
from .log_mel import LogMel, log_mel_spectrogram
from .wav import Samples


def standardize(
    spectrogram: tf.Tensor, lengths: tf.Tensor, mean: np.ndarray, scale: np.ndarray
) -> tf.Tensor:
    """Returns (spectrogram - mean) / scale, and zeros after the end of each recording.

    So a recording has the same spectrogram in any batch, with the zeros that convolutions pad with.

    Args:
      spectrogram: Log-mel spectrograms, float32 `[batch, frames, bands]`.
      lengths: Number of frames of each recording, int32 `[batch]`.
      mean: Mean of each band over the training recordings, `[bands]`.
      scale: Standard deviation of each band, likewise.
    """
    values = (spectrogram - np.float32(mean)) / np.float32(scale)
    is_inside = tf.sequence_mask(lengths, tf.shape(values)[1])
    return tf.where(is_inside[..., None], values, 0.0)


@dataclasses.dataclass(frozen=True)
class Recognizer:
    """A net that recognizes speech by connectionist temporal classification.

    >>> net = keras.Sequential([keras.Input([None, 40]), keras.layers.Dense(11)])
    >>> recognizer = Recognizer(net, "0123456789", LogMel(8000), np.zeros(40), np.ones(40))
    >>> logits, lengths = recognizer.logits(Samples(tf.zeros([2, 8000]), tf.constant([8000, 400])))
    >>> logits.shape, lengths.numpy()
    (TensorShape([2, 98, 11]), array([98,  3], dtype=int32))

    Attributes:
      net: Net from standardized spectrograms `[batch, frames, bands]`, of any number of frames, to
        logits `[batch, frames, labels + 1]`, of which the last is the blank's. Frames after the end
        of a recording must not change those before.
      labels: Characters of the labels, in the order of their logits.
      spectrogram: Settings of the log-mel spectrogram.
      mean: Mean of each band over the training recordings, `[bands]`.
      scale: Standard deviation of each band, likewise.

    Raises:
      InputError: If a label occurs twice, or sizes contradict each other.
    """

    net: keras.Model
    labels: str
    spectrogram: LogMel
    mean: np.ndarray
    scale: np.ndarray

    def __post_init__(self) -> None:
        if len(set(self.labels)) < len(self.labels):
            raise InputError(f"labels is {self.labels!r}; each character must occur once")
        expected = (None, None, len(self.labels) + 1)
        if self.net.output_shape != expected:
            raise InputError(
                f"the net puts out {self.net.output_shape}; {len(self.labels)} labels and the "
                f"blank need {expected}"
            )
        for name, given in (("mean", self.mean), ("scale", self.scale)):
            if np.shape(given) != (self.spectrogram.bands,):
                raise InputError(
                    f"{name} has the shape {np.shape(given)}; give a number for each of "
                    f"{self.spectrogram.bands} bands"
                )

    def logits(self, samples: Samples, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the logits `[batch, frames, labels + 1]`, and the frames of each recording.

        Args:
          samples: Recordings of at least a frame each.
          training: Whether the net's noise and dropout apply. Default False.
        """
        standardized, lengths = self.standardized(samples)
        return self.net(standardized, training=training), lengths

    def standardized(self, samples: Samples) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what the net reads, `[batch, frames, bands]`, and the frames of each recording.

        Args:
          samples: Recordings of at least a frame each.
        """
        lengths = self.spectrogram.frame_counts(samples.lengths)
        spectrogram = log_mel_spectrogram(samples.values, self.spectrogram)
        return standardize(spectrogram, lengths, self.mean, self.scale), lengths

    def recognize(self, samples: Samples, beam_width: int = 0) -> Transcript:
        """Returns the labels of recordings, the frames in which they begin, and ln p.

        Args:
          samples: Recordings of at least a frame each.
          beam_width: Width of the beam search; 0, the default, for the likeliest path.
        """
        return decode(*self.logits(samples), beam_width)

    def text(self, labels: tf.Tensor) -> tf.Tensor:
        """Returns the text of labels, strings `[batch]`.

        Args:
          labels: Labels, int32 `[batch, most]`, padded with `NO_LABEL`.
        """
        characters = tf.constant([*self.labels, ""])
        ids = tf.where(labels == NO_LABEL, len(self.labels), labels)
        return tf.strings.reduce_join(tf.gather(characters, ids), axis=1)

    def seconds(self, frames: tf.Tensor) -> tf.Tensor:
        """Returns the middle of frames in seconds, float32, and `NO_LABEL` where a frame is.

        Args:
          frames: Numbers of frames, int32 of any shape.
        """
        settings = self.spectrogram
        middle = tf.cast(frames * settings.step, tf.float32) + settings.window / 2
        return tf.where(frames == NO_LABEL, float(NO_LABEL), middle / settings.sample_rate)
