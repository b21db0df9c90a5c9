"""An exported recognizer against the decoding of its net's logits, in a session and a server."""

import base64
import threading

import grpc
import keras
import numpy as np
import pytest
import servers
import tensorflow as tf
from recordings import tones, wav_of

from model.errors import InputError
from model.layers import GridLSTMND
from model.speech.ctc import NO_LABEL
from model.speech.log_mel import LogMel
from model.speech.recognizer import Recognizer
from model.speech.wav import Samples, decode_wavs
from model.speech.wav_headers import WavLimits
from serving.graph.export_recognizer import export_recognizer
from serving.limits import MAX_RECORDINGS
from serving.messages import plain

SETTINGS = LogMel(8_000, bands=8)
LABELS = "abc"
BEAM = 8


@pytest.fixture(scope="module")
def recognizer():
    """A 3-D grid that has learnt nothing, and prefers no label over a whole recording."""
    spectrogram = keras.Input([None, SETTINGS.bands])
    pairs = keras.layers.Reshape([-1, 4, 2])(spectrogram)
    hidden = keras.layers.Reshape([-1, 4 * 6])(GridLSTMND(6)(pairs))
    spread = keras.initializers.RandomNormal(stddev=3.0)
    logits = keras.layers.Dense(len(LABELS) + 1, kernel_initializer=spread)
    net = keras.Model(spectrogram, logits(hidden))
    made = Recognizer(net, LABELS, SETTINGS, np.full(8, -5.0), np.full(8, 2.0))
    probe = Samples(tf.constant(tones(8_000)[None], tf.float32), tf.constant([8_000]))
    found, _ = tf.function(lambda: made.logits(probe))()
    logits.bias.assign_sub(tf.reduce_mean(found, axis=[0, 1]))
    return made


@pytest.fixture(scope="module")
def folder(recognizer, tmp_path_factory):
    """The base path of the export."""
    path = tmp_path_factory.mktemp("recognizer")
    export_recognizer(recognizer, str(path / "1"), BEAM, max_seconds=2)
    return path


@pytest.fixture(scope="module")
def recognize(folder):
    """The signature, by the plain loader."""
    signature = tf.saved_model.load(str(folder / "1")).signatures["recognize"]
    return lambda audio: signature(audio=tf.constant(audio, tf.string))


@pytest.fixture(scope="module")
def audio():
    """Recordings of several durations."""
    return [wav_of(tones(count)) for count in (16_000, 200, 5_000, 9_000)]


def expected_of(logits_of, wav):
    """What the net's logits read as, decoded by TensorFlow in Python."""
    (samples,) = decode_wavs({"it": wav}, WavLimits(8_000))
    logits, lengths = logits_of(samples[None], tf.constant([len(samples)]))
    (found,), _ = tf.nn.ctc_beam_search_decoder(tf.transpose(logits, [1, 0, 2]), lengths, BEAM)
    labels = found.values.numpy()
    return "".join(LABELS[label] for label in labels), log_probability(logits[0].numpy(), labels)


def log_probability(logits, labels):
    """ln p of labels, by the forward recurrence of CTC in float64."""
    logits = logits.astype(np.float64)
    scores = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    blank = len(LABELS)
    states = [blank, *(one for label in labels for one in (label, blank))]
    alpha = [0.0] + [-np.inf] * (len(states) - 1)
    for row in scores:
        before, alpha = alpha, []
        for at, label in enumerate(states):
            total = np.logaddexp(before[at], before[at - 1] if at else -np.inf)
            if at > 1 and label not in (blank, states[at - 2]):
                total = np.logaddexp(total, before[at - 2])
            alpha.append(total + row[label])
    return np.logaddexp(alpha[-1], alpha[-2] if labels.size else -np.inf)


def test_text_is_that_of_the_nets_logits(recognizer, recognize, audio):
    found = recognize(audio)
    texts = [text.decode() for text in found["text"].numpy()]
    assert len(set("".join(texts))) > 1 and max(map(len, texts)) > 3, "the test says little"
    logits_of = tf.function(
        lambda values, lengths: recognizer.logits(Samples(values, lengths)),
        input_signature=[tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int32)],
    )
    for text, times, score, wav in zip(
        texts, found["times"].numpy(), found["log_probability"].numpy(), audio, strict=True
    ):
        expected, log_probability = expected_of(logits_of, wav)
        assert text == expected
        assert score == pytest.approx(log_probability, rel=1e-3, abs=1e-3)
        own = times[times != NO_LABEL]
        assert len(own) == len(text) and (times[len(text) :] == NO_LABEL).all()
        seconds = (len(wav) - 44) / 2 / 8_000
        assert (np.diff(own) > 0).all() and (own > 0).all() and (own < seconds).all()
    assert found["times"].shape[1] == max(map(len, texts))


def test_recordings_at_the_same_time_answer_as_alone(recognize, audio):
    alone = [recognize([wav]) for wav in audio]
    answers = [None] * 12

    def ask(number):
        answers[number] = recognize([audio[number % len(audio)]])

    threads = [threading.Thread(target=ask, args=[number]) for number in range(len(answers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, answer in enumerate(answers):
        expected = alone[number % len(audio)]
        assert answer["text"].numpy().tolist() == expected["text"].numpy().tolist()
        np.testing.assert_allclose(answer["times"], expected["times"], rtol=1e-6)


def test_the_spectrogram_is_what_the_net_reads(folder, recognizer, audio):
    spectrogram = tf.saved_model.load(str(folder / "1")).signatures["spectrogram"]
    found = spectrogram(audio=tf.constant(audio))
    assert found["sample_rate"] == 8_000
    for values, frames, wav in zip(found["spectrogram"], found["frames"], audio, strict=True):
        (samples,) = decode_wavs({"it": wav}, WavLimits(8_000))
        expected, _ = recognizer.standardized(
            Samples(tf.constant(samples[None]), tf.constant([len(samples)]))
        )
        assert frames == SETTINGS.frames(len(samples)) and not values[frames:].numpy().any()
        np.testing.assert_allclose(values[:frames], expected[0], rtol=1e-4, atol=1e-4)


def test_the_sample_rate_is_known_before_anything_is_recorded(folder):
    spectrogram = tf.saved_model.load(str(folder / "1")).signatures["spectrogram"]
    found = spectrogram(audio=tf.constant([], tf.string))
    assert found["sample_rate"] == 8_000 and found["max_seconds"] == 2
    assert found["spectrogram"].shape == [0, 0, SETTINGS.bands]


GOOD = wav_of(np.zeros(800))
REFUSED = {
    "no rows": ([], "audio has no rows; give at least one WAV file"),
    "too many rows": (
        [GOOD] * (MAX_RECORDINGS + 1),
        f"audio: {MAX_RECORDINGS + 1} rows are over the limit of {MAX_RECORDINGS}",
    ),
    "no WAV file": (
        [GOOD, b"text"],
        "audio row 1 is no WAV file: RIFF is not at byte 0; convert it, as by `ffmpeg -i in -ac 1 "
        "-ar 8000 -c:a pcm_s16le out.wav`",
    ),
    "empty": ([b""], "audio row 0 is empty, 0 bytes; record or copy it again"),
    "truncated": (
        [GOOD[:500], GOOD],
        "audio row 0 is truncated: it ends at byte 500, its samples at byte 1644; record or copy "
        "it again",
    ),
    "stereo": (
        [wav_of(np.zeros([800, 2]))],
        "audio row 0 has 2 channels (byte 22), not one; convert it, as by `ffmpeg -i in -ac 1 "
        "-ar 8000 -c:a pcm_s16le out.wav`",
    ),
    "too short": (
        [wav_of(np.zeros(199))],
        "audio row 0 has 199 samples at byte 44; record at least 200",
    ),
    "too long": (
        [GOOD, GOOD, wav_of(np.zeros(17_000))],
        "audio row 2 lasts 2.1 seconds (samples at byte 44), the limit is 2; cut it",
    ),
    "a scalar": (
        GOOD,
        "audio has the shape []; give one dimension, with a row for each recording",
    ),
}


@pytest.fixture(scope="module")
def server(folder):
    """The export behind a server."""
    with servers.running(*servers.of(folder, "digits"), name="digits") as started:
        yield started


@pytest.mark.parametrize("name", sorted(REFUSED.keys() - {"no rows"}))
def test_bad_audio_has_no_spectrogram(server, name):
    audio, sentence = REFUSED[name]
    with pytest.raises(grpc.RpcError) as refused:
        values = {"audio": np.array(audio, object)}
        servers.predict(server.channel, "spectrogram", values, name="digits")
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in refused.value.details().replace("\\'", "'")


@pytest.mark.parametrize("name", REFUSED)
def test_bad_audio_is_refused_in_a_sentence(recognize, server, name):
    audio, sentence = REFUSED[name]
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        recognize(audio)
    assert plain(caught.value.message) == sentence
    with pytest.raises(grpc.RpcError) as refused:
        values = {"audio": np.array(audio, object)}
        servers.predict(server.channel, "recognize", values, name="digits")
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in refused.value.details().replace("\\'", "'")


def test_the_server_answers_as_the_loader(recognize, server, audio):
    expected = recognize(audio)
    values = {"audio": np.array(audio, object)}
    for signature in ("recognize", "serving_default"):
        found, _ = servers.predict(server.channel, signature, values, name="digits")
        assert found["text"].tolist() == expected["text"].numpy().tolist()
        np.testing.assert_allclose(found["times"], expected["times"], rtol=1e-6)
    body = {"inputs": {"audio": [{"b64": base64.b64encode(wav).decode()} for wav in audio]}}
    status, answer = servers.rest(server, "/v1/models/digits:predict", body)
    assert status == 200
    texts = [text.decode() for text in expected["text"].numpy()]
    assert answer["outputs"]["text"] == texts


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"beam_width": -1}, "beam_width is -1; it must be at least 0"),
        ({"beam_width": 5_000}, "beam_width is 5000; it must be"),
        ({"max_seconds": 0.01}, "max_seconds is 0.01; it must be at least 0.025"),
        ({"max_seconds": 1e6}, "max_seconds is 1000000.0; it must be"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(recognizer, tmp_path, options, problem):
    with pytest.raises(InputError, match=problem):
        export_recognizer(recognizer, str(tmp_path / "1"), **options)
    assert not list(tmp_path.iterdir())
