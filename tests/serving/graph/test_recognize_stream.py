"""The signature for streams: pieces against the whole recording, and what it refuses."""

import grpc
import keras
import numpy as np
import pytest
import recordings
import servers
import tensorflow as tf
from seeds import generator

from model.layers import GridLSTM, GridLSTMND
from model.speech.ctc import NO_LABEL
from model.speech.log_mel import LogMel
from model.speech.recognizer import Recognizer
from model.speech.wav import Samples
from serving.graph.export_recognizer import export_recognizer

pytestmark = pytest.mark.slow

SETTINGS = LogMel(8_000, bands=8)
LABELS = "abc"
BEGINNING = tf.zeros([1, 0])
"""The default of `state`, which the plain loader does not know."""


def rounded_tones(count):
    """Samples of tones, as 16-bit integers have them."""
    return np.round(recordings.tones(count) * 2**15) / 2**15


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The base path of a grid over time and depth, which prefers no label over a recording."""
    logits = keras.layers.Dense(len(LABELS) + 1)
    grid = GridLSTM(5, layers=2, return_sequences=True)
    net = keras.Sequential([keras.Input([None, SETTINGS.bands]), grid, logits])
    net.set_weights([generator().normal(size=one.shape) for one in net.get_weights()])
    recognizer = Recognizer(net, LABELS, SETTINGS, np.full(8, -5.0), np.full(8, 2.0))
    logits_of = tf.function(lambda values: recognizer.logits(Samples(values, tf.constant([4_000]))))
    logits.bias.assign_sub(tf.reduce_mean(logits_of(rounded_tones(4_000)[None])[0], axis=[0, 1]))
    path = tmp_path_factory.mktemp("recognizer")
    export_recognizer(recognizer, str(path / "1"), beam_width=0, max_seconds=2)
    return path


@pytest.fixture(scope="module")
def signatures(folder):
    """The signatures, by the plain loader."""
    return tf.saved_model.load(str(folder / "1")).signatures


@pytest.fixture(scope="module")
def server(folder):
    """The export behind a server."""
    with servers.running(*servers.of(folder, "digits"), name="digits") as started:
        yield started


def test_pieces_read_as_the_whole(signatures, server):
    samples = rounded_tones(9_000)
    wav = tf.audio.encode_wav(samples[:, None], 8_000)
    whole = signatures["recognize"](audio=wav[None])
    text, times, values = b"", [], {}
    for at in range(0, 9_000, 700):
        values["samples"] = samples[None, at : at + 700]
        outputs, _ = servers.predict(server.channel, "recognize_stream", values, name="digits")
        text += outputs["text"][0]
        times += [one for one in outputs["times"][0] if one != NO_LABEL]
        values["state"] = outputs["state"]
    assert text == whole["text"].numpy()[0] and len(text) > 2
    np.testing.assert_allclose(times, whole["times"].numpy()[0], rtol=1e-5)


def test_streams_of_a_batch_do_not_mix(signatures):
    stream = signatures["recognize_stream"]
    pieces = np.stack([rounded_tones(3_000) for _ in range(3)]).reshape(3, 2, 1_500)

    def second_piece(rows):
        first = stream(samples=tf.constant(pieces[rows, 0]), state=BEGINNING)
        return stream(samples=tf.constant(pieces[rows, 1]), state=first["state"])

    together = second_piece([0, 1, 2])
    for row in range(3):
        alone = second_piece([row])
        assert together["text"][row] == alone["text"][0]
        np.testing.assert_allclose(together["state"][row], alone["state"][0], atol=1e-5)


def test_a_state_that_was_made_up_does_no_harm(signatures):
    stream = signatures["recognize_stream"]
    samples = tf.constant(rounded_tones(1_000)[None])
    state = stream(samples=samples, state=BEGINNING)["state"].numpy()
    state[:, 2:] = np.finfo(np.float32).max
    outputs = stream(samples=samples, state=tf.constant(state))
    assert outputs["state"].shape == state.shape


PIECE = np.zeros([2, 500], np.float32)
REFUSED = {
    "no streams": ({"samples": PIECE[:0]}, "samples has no rows; give at least one stream"),
    "too many": (
        {"samples": np.zeros([17, 5], np.float32)},
        "samples: 17 rows are over the limit of 16",
    ),
    "too long": (
        {"samples": np.zeros([1, 16_001], np.float32)},
        "samples: 16001 per row are over the limit of 16000, 2 seconds; send shorter pieces",
    ),
    "too loud": ({"samples": PIECE + 1.5}, "samples 1.5 must be from -1 to 1"),
    "no numbers": ({"samples": PIECE + np.nan}, "samples nan must be from -1 to 1"),
    "another state": (
        {"samples": PIECE, "state": np.zeros([2, 7], np.float32)},
        "state has 7 numbers; give the ",
    ),
    "one dimension": (
        {"samples": PIECE[0]},
        "samples has the shape [500]; give two dimensions, with a row for each recording",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_is_said_in_a_sentence(server, name):
    values, sentence = REFUSED[name]
    with pytest.raises(grpc.RpcError) as refused:
        servers.predict(server.channel, "recognize_stream", values, name="digits")
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in refused.value.details()


def test_states_of_other_rows_or_recognizers_are_refused(signatures):
    stream = signatures["recognize_stream"]
    state = stream(samples=tf.constant(PIECE), state=BEGINNING)["state"].numpy()
    three = tf.constant(np.concatenate([state, state[:1]]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="3 rows for 2 streams; give as many"):
        stream(samples=tf.constant(PIECE), state=three)
    state[:, 0] += 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="state is of another model version"):
        stream(samples=tf.constant(PIECE), state=tf.constant(state))


def test_a_net_that_looks_across_bands_has_no_streams(tmp_path):
    spectrogram = keras.Input([None, SETTINGS.bands])
    pairs = keras.layers.Reshape([-1, 4, 2])(spectrogram)
    hidden = keras.layers.Reshape([-1, 4 * 3])(GridLSTMND(3)(pairs))
    net = keras.Model(spectrogram, keras.layers.Dense(len(LABELS) + 1)(hidden))
    recognizer = Recognizer(net, LABELS, SETTINGS, np.zeros(8), np.ones(8))
    export_recognizer(recognizer, str(tmp_path / "1"), max_seconds=2)
    found = tf.saved_model.load(str(tmp_path / "1")).signatures
    assert sorted(found) == ["recognize", "serving_default", "spectrogram"]
