"""Streams in pieces against the whole, and nets that streams cannot go through."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from recordings import tones
from seeds import generator

from model.errors import InputError
from model.layers import GridLSTM, GridLSTMND, RecurrentHighway, StackedLSTM
from model.speech.ctc import NO_LABEL
from model.speech.log_mel import LogMel
from model.speech.recognizer import Recognizer
from model.speech.streaming import StreamRecognizer
from model.speech.wav import Samples

SETTINGS = LogMel(8_000, bands=8)
LABELS = "abc"


def recognizer_of(*layers):
    """One with large weights, that prefers no label over a whole recording."""
    logits = keras.layers.Dense(len(LABELS) + 1)
    net = keras.Sequential([keras.Input([None, SETTINGS.bands]), *layers, logits])
    net.set_weights([generator().normal(size=one.shape) for one in net.get_weights()])
    recognizer = Recognizer(net, LABELS, SETTINGS, np.full(8, -5.0), np.full(8, 2.0))
    logits_of = tf.function(lambda values: recognizer.logits(Samples(values, tf.constant([8_000]))))
    logits.bias.assign_sub(tf.reduce_mean(logits_of(tones(8_000)[None])[0], axis=[0, 1]))
    return recognizer


NETS = {
    "stacked": lambda: (
        keras.layers.GaussianNoise(0.3),
        keras.layers.Dense(6),
        StackedLSTM(6, layers=2, return_sequences=True),
    ),
    "a grid and recurrent highway": lambda: (
        GridLSTM(5, layers=2, return_sequences=True),
        keras.layers.Dropout(0.5),
        RecurrentHighway(5, depth=2, return_sequences=True),
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_pieces_of_any_size_read_as_the_whole(name):
    recognizer = recognizer_of(*NETS[name]())
    random = generator()
    samples = np.stack([tones(6_000), tones(6_000)])
    whole = tf.function(
        lambda values: recognizer.recognize(Samples(values, tf.constant([6_000, 6_000])))
    )(samples)
    streaming = StreamRecognizer(recognizer)
    cuts = [0, 0, 1, 130, 199, 201, 1_700, *sorted(random.integers(1_700, 6_000, 5)), 6_000]
    state = streaming.begin(2)
    specs = tf.nest.map_structure(lambda one: tf.TensorSpec(one.shape, one.dtype), state)
    signature = [specs, tf.TensorSpec([2, None])]
    advance = tf.function(streaming.advance, input_signature=signature, autograph=False)
    labels, frames = [[], []], [[], []]
    for begin, end in itertools.pairwise(cuts):
        heard, state = advance(state, tf.constant(samples[:, begin:end]))
        for row in range(2):
            for found, part in ((labels, heard.labels), (frames, heard.frames)):
                found[row] += [int(one) for one in part[row] if one != NO_LABEL]
    for row in range(2):
        expected = whole.labels[row].numpy()
        assert labels[row] == expected[expected != NO_LABEL].tolist()
        begins = whole.frames[row].numpy()
        assert frames[row] == begins[begins != NO_LABEL].tolist()
    assert len(labels[0] + labels[1]) > 4, "the test says little"
    assert state.frames.numpy().tolist() == [SETTINGS.frames(6_000)] * 2


def test_streams_of_a_batch_may_be_at_different_places():
    """As when a server's client sends several streams at once, of which some began before."""
    recognizer = recognizer_of(GridLSTM(5, return_sequences=True))
    streaming = StreamRecognizer(recognizer)
    samples = tones(3_000)[None]
    pieces = [tf.constant(samples[:, at : at + 1_000]) for at in (0, 1_000, 2_000)]
    states = [streaming.begin(1)]
    heard = []
    for piece in pieces:
        found, state = streaming.advance(states[-1], piece)
        heard.append(found)
        states.append(state)
    both = tf.nest.map_structure(
        lambda *parts: tf.concat(parts, axis=1 if parts[0].shape.rank == 3 else 0), *states[:2]
    )
    found, after = streaming.advance(both, tf.concat(pieces[:2], axis=0))
    for row in range(2):
        expected = heard[row].labels[0].numpy().tolist()
        assert found.labels[row].numpy()[: len(expected)].tolist() == expected
        assert after.count[row] == states[row + 1].count[0]
        np.testing.assert_allclose(after.left[row], states[row + 1].left[0])


@pytest.mark.parametrize(
    ("layers", "name"),
    [
        ([keras.layers.Conv1D(4, 3, padding="same", name="looks_ahead")], "looks_ahead"),
        ([GridLSTM(4, return_sequences=True, go_backwards=True, name="reads_back")], "reads_back"),
        (
            [keras.layers.Reshape([-1, 4, 2]), GridLSTMND(3, name="bands")],
            "reshape",
        ),
    ],
)
def test_other_nets_are_refused(layers, name):
    spectrogram = keras.Input([None, SETTINGS.bands])
    features = spectrogram
    for layer in layers:
        features = layer(features)
    if len(features.shape) == 4:
        features = keras.layers.Reshape([-1, 12])(features)
    net = keras.Model(spectrogram, keras.layers.Dense(len(LABELS) + 1)(features))
    recognizer = Recognizer(net, LABELS, SETTINGS, np.zeros(8), np.ones(8))
    with pytest.raises(InputError, match=f"{name}.* of the net is no recurrent layer that reads"):
        StreamRecognizer(recognizer)
