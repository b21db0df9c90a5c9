"""What recordings must be, and their spectrograms, by the settings of a run."""

from model.speech.log_mel import LogMel
from model.speech.wav_headers import WavLimits
from pipeline.settings import RecognitionConfig


def log_mel_of(config: RecognitionConfig) -> LogMel:
    """Returns the settings of the spectrogram.

    >>> log_mel_of(RecognitionConfig(sample_rate=8000)).window
    200

    Args:
      config: Settings of the recognition.
    """
    return LogMel(
        sample_rate=config.sample_rate,
        window_ms=config.window_ms,
        step_ms=config.step_ms,
        bands=config.bands,
    )


def limits_of(config: RecognitionConfig) -> WavLimits:
    """Returns what recordings must be: at least a frame long, and of the sample rate.

    Args:
      config: Settings of the recognition.
    """
    return WavLimits(config.sample_rate, log_mel_of(config).window, config.max_seconds)
