"""Recognizers: the front end, padding that changes nothing, and mistakes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from model.errors import InputError
from model.layers import GridLSTMND
from model.speech.log_mel import LogMel, log_mel_spectrogram
from model.speech.recognizer import Recognizer
from model.speech.wav import Samples

SETTINGS = LogMel(8_000, bands=8)


def net(outputs=4):
    """A 3-D grid over time and pairs of bands, with logits of each frame."""
    spectrogram = keras.Input([None, SETTINGS.bands])
    pairs = keras.layers.Reshape([-1, 4, 2])(spectrogram)
    hidden = keras.layers.Reshape([-1, 4 * 3])(GridLSTMND(3)(pairs))
    return keras.Model(spectrogram, keras.layers.Dense(outputs)(hidden))


@pytest.fixture(scope="module")
def recognizer():
    """One that has learnt nothing."""
    random = generator()
    mean, scale = random.normal(size=SETTINGS.bands), random.uniform(0.5, 2, SETTINGS.bands)
    return Recognizer(net(), "abc", SETTINGS, mean, scale)


def test_logits_are_those_of_the_standardized_spectrogram(recognizer):
    samples = generator().uniform(-1, 1, [1, 2_000]).astype(np.float32)
    logits, lengths = recognizer.logits(Samples(tf.constant(samples), tf.constant([2_000])))
    spectrogram = log_mel_spectrogram(tf.constant(samples), SETTINGS).numpy()
    expected = recognizer.net(np.float32((spectrogram - recognizer.mean) / recognizer.scale))
    assert lengths.numpy().tolist() == [SETTINGS.frames(2_000)] == [logits.shape[1]]
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_a_recording_reads_the_same_beside_a_longer_one(recognizer):
    long = generator().uniform(-1, 1, 4_000).astype(np.float32)
    short = long[:1_500]
    both = np.stack([long, np.pad(short, [0, 2_500])])
    alone = recognizer.recognize(Samples(tf.constant(short[None]), tf.constant([1_500])))
    together = recognizer.recognize(Samples(tf.constant(both), tf.constant([4_000, 1_500])))
    text = recognizer.text(together.labels).numpy()
    assert recognizer.text(alone.labels).numpy()[0] == text[1]
    np.testing.assert_allclose(alone.log_probability[0], together.log_probability[1], rtol=1e-4)


def test_labels_are_text_and_frames_are_seconds(recognizer):
    labels = tf.constant([[2, 0, 1], [1, -1, -1], [-1, -1, -1]])
    assert recognizer.text(labels).numpy().tolist() == [b"cab", b"b", b""]
    seconds = recognizer.seconds(tf.constant([[0, 3], [100, -1]])).numpy()
    np.testing.assert_allclose(seconds, [[0.0125, 0.0425], [1.0125, -1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "outputs", "bands", "problem"),
    [
        ("aba", 4, 8, "labels is 'aba'; each character must occur once"),
        ("ab", 4, 8, r"the net puts out \(None, None, 4\); 2 labels and the blank need"),
        ("abc", 4, 7, r"mean has the shape \(7,\); give a number for each of 8 bands"),
    ],
)
def test_mistakes_are_named(labels, outputs, bands, problem):
    with pytest.raises(InputError, match=problem):
        Recognizer(net(outputs), labels, SETTINGS, np.zeros(bands), np.ones(bands))
