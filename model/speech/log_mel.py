"""Log-mel spectrograms, computed in the graph, so that training and serving have the same."""

from typing import Any, NamedTuple

import tensorflow as tf

from ..config import require_range
from ..errors import InputError
from ..shapes import shape_of


class LogMel(NamedTuple):
    """The settings of a log-mel spectrogram.

    Attributes:
      sample_rate: Number of samples per second.
      window_ms: Length of a frame, in milliseconds. Default 25.
      step_ms: Distance of the beginnings of two frames, in milliseconds. Default 10.
      bands: Number of mel bands. Default 40.
      lowest_hz: Lower edge of the lowest band, in Hz. Default 20.
      highest_hz: Upper edge of the highest band, in Hz; 0 for half the sample rate. Default 0.
      floor: Power that is added before the logarithm, so that silence stays finite; samples lie in
        [-1, 1]. Default 1e-6.
    """

    sample_rate: int
    window_ms: float = 25.0
    step_ms: float = 10.0
    bands: int = 40
    lowest_hz: float = 20.0
    highest_hz: float = 0.0
    floor: float = 1e-6

    @property
    def window(self) -> int:
        """Length of a frame, in samples."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def step(self) -> int:
        """Distance of the beginnings of two frames, in samples."""
        return round(self.sample_rate * self.step_ms / 1000)

    def frames(self, samples: int) -> int:
        """Returns the number of frames of a recording.

        >>> LogMel(sample_rate=8000).frames(8000)
        98

        Args:
          samples: Number of its samples.
        """
        return max(0, self._frames(samples))

    def frame_counts(self, samples: tf.Tensor) -> tf.Tensor:
        """Returns the numbers of frames of recordings, int32 `[batch]`.

        Args:
          samples: Numbers of their samples, int32 `[batch]`.
        """
        return tf.maximum(0, self._frames(samples))

    def _frames(self, samples: Any) -> Any:
        return 1 + (samples - self.window) // self.step


def log_mel_spectrogram(samples: tf.Tensor, settings: LogMel) -> tf.Tensor:
    """Computes the log-mel spectrogram of recordings.

    With the frames x_t of `window` samples, w Hann's window and M the triangles of the mel scale
    (O'Shaughnessy; `tf.signal.linear_to_mel_weight_matrix`) it is

        ln(|FFT(w x_t)|^2 M + floor)

    Only whole frames count: what is left over at the end of a recording is dropped.

    >>> log_mel_spectrogram(tf.zeros([3, 8000]), LogMel(sample_rate=8000)).shape
    TensorShape([3, 98, 40])

    Args:
      samples: Samples in [-1, 1], `[..., samples]`, float32.
      settings: Settings of the spectrogram.

    Returns:
      The spectrogram, `[..., frames, bands]`, float32.

    Raises:
      InputError: If the settings contradict each other, or a recording is known to be shorter than
        a frame.
    """
    highest = settings.highest_hz or settings.sample_rate / 2
    require_range("bands", settings.bands, 1, 1024)
    require_range("sample_rate", settings.sample_rate, 1, 1 << 20)
    if settings.step < 1 or settings.window < 2:
        raise InputError(
            f"window_ms is {settings.window_ms} and step_ms {settings.step_ms}; at "
            f"{settings.sample_rate} samples per second they must last 2 samples and 1 at least"
        )
    if not 0 <= settings.lowest_hz < highest <= settings.sample_rate / 2:
        raise InputError(
            f"the bands reach from {settings.lowest_hz:g} to {highest:g} Hz; they must lie between "
            f"0 and half the sample rate, {settings.sample_rate / 2:g} Hz"
        )
    length = shape_of(samples)[-1]
    if isinstance(length, int) and length < settings.window:
        raise InputError(
            f"the recording has {length} samples; a frame needs {settings.window}, "
            f"{settings.window_ms:g} ms"
        )
    spectrum = tf.signal.stft(samples, settings.window, settings.step)
    power = tf.math.real(spectrum) ** 2 + tf.math.imag(spectrum) ** 2
    mel = tf.signal.linear_to_mel_weight_matrix(
        settings.bands, spectrum.shape[-1], settings.sample_rate, settings.lowest_hz, highest
    )
    return tf.math.log(tf.tensordot(power, mel, 1) + settings.floor)
