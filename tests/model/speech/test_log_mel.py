"""Log-mel spectrograms against their formula in float64 NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from model.errors import InputError
from model.speech.log_mel import LogMel, log_mel_spectrogram


def mel(hz):
    return 1127 * np.log(1 + hz / 700)


def reference(samples, settings):
    """The spectrogram of one recording, frame by frame and band by band."""
    size = 1 << (settings.window - 1).bit_length()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(settings.window) / settings.window)
    highest = settings.highest_hz or settings.sample_rate / 2
    edges = np.linspace(mel(settings.lowest_hz), mel(highest), settings.bands + 2)
    places = mel(np.arange(size // 2 + 1) * settings.sample_rate / size)
    rows = []
    for start in range(0, len(samples) - settings.window + 1, settings.step):
        frame = samples[start : start + settings.window]
        power = np.abs(np.fft.rfft(frame * hann, size)) ** 2
        row = []
        for left, middle, right in zip(edges, edges[1:], edges[2:], strict=False):
            rising, falling = (places - left) / (middle - left), (right - places) / (right - middle)
            weights = np.maximum(0, np.minimum(rising, falling))
            weights[0] = 0  # the mean of the samples is no sound
            row.append(np.log(weights @ power + settings.floor))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize(
    "settings",
    [
        LogMel(sample_rate=8_000),
        LogMel(sample_rate=8_000, step_ms=20, bands=23, lowest_hz=100, highest_hz=3_500),
        LogMel(sample_rate=16_000, window_ms=32, bands=64, floor=1e-3),
    ],
)
def test_spectrograms_are_those_of_the_formula(settings):
    random = generator()
    samples = random.uniform(-1, 1, (2, settings.sample_rate // 4)).astype(np.float32)
    samples *= np.array([[1.0], [0.01]], np.float32)
    found = tf.function(lambda s: log_mel_spectrogram(s, settings))(samples).numpy()
    expected = [reference(row.astype(np.float64), settings) for row in samples]
    assert found.shape[1] == settings.frames(samples.shape[1])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)


def test_a_recording_of_unknown_length_has_the_same_spectrogram():
    settings = LogMel(sample_rate=8_000)
    samples = generator().uniform(-1, 1, 3_000).astype(np.float32)
    signature = [tf.TensorSpec([None], tf.float32)]
    unknown = tf.function(lambda s: log_mel_spectrogram(s, settings), input_signature=signature)
    np.testing.assert_allclose(
        unknown(samples), log_mel_spectrogram(tf.constant(samples), settings), rtol=1e-5, atol=1e-5
    )
    assert unknown(samples[: settings.window - 1]).shape == (0, 40), "shorter than a frame"


def test_silence_is_finite():
    found = log_mel_spectrogram(tf.zeros([400]), LogMel(sample_rate=8_000))
    np.testing.assert_allclose(found, np.log(1e-6), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "samples", "problem"),
    [
        ({}, 199, "the recording has 199 samples; a frame needs 200"),
        ({"highest_hz": 4_001}, 800, "must lie between 0 and half the sample rate, 4000 Hz"),
        ({"lowest_hz": 4_000}, 800, "from 4000 to 4000 Hz"),
        ({"step_ms": 0.01}, 800, "step_ms 0.01; .* must last 2 samples and 1 at least"),
        ({"bands": 0}, 800, "bands is 0"),
    ],
)
def test_mistakes_are_named(options, samples, problem):
    with pytest.raises(InputError, match=problem):
        log_mel_spectrogram(tf.zeros([samples]), LogMel(sample_rate=8_000, **options))
