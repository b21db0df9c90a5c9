"""Connected digits: utterances, their loss, what is recognized, and what the report says."""

import csv

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from experiments.speech import (
    connected_data,
    connected_digits,
    connected_hypotheses,
    connected_report,
    speech_data,
    speech_nets,
)
from experiments.speech.connected_data import FEWEST, MOST, NOTHING, SPECTROGRAM
from experiments.speech.speech_data import SAMPLE_RATE
from model.speech.recognizer import Recognizer


def test_recordings_are_joined_where_they_are_said_to_begin():
    random = generator()
    recordings = [random.uniform(-0.5, 0.5, count).astype(np.float32) for count in (900, 400, 700)]
    samples, begins = connected_data.join(recordings, random)
    shortest, longest = connected_data.PAUSE
    end = 0
    for recording, begin in zip(recordings, begins, strict=True):
        at = round(begin * SAMPLE_RATE)
        assert shortest <= (at - end) / SAMPLE_RATE + 1e-3 and (at - end) / SAMPLE_RATE <= longest
        rest = samples[at : at + len(recording)] - recording
        assert np.abs(rest).max() < 6 * connected_data.NOISE[1]
        assert rest.std() > 0.9 * connected_data.NOISE[0]
        end = at + len(recording)


def test_utterances_are_of_one_speaker_and_of_their_own_recordings():
    recordings = speech_data.recordings_of("tones")
    own = speech_data.samples_of(recordings)
    for is_test in (False, True):
        made = connected_data.joined("tones", is_test, 12, seed=3)
        again = connected_data.joined("tones", is_test, 12, seed=3)
        other = connected_data.joined("tones", is_test, 12, seed=4)
        assert all(np.array_equal(a.samples, b.samples) for a, b in zip(made, again, strict=True))
        assert [one.digits for one in made] != [one.digits for one in other]
        assert {one.speaker for one in made} == {"low", "middle", "high"}
        for one in made:
            assert FEWEST <= len(one.digits) <= MOST
            for digit, begin in zip(one.digits, one.begins, strict=True):
                part = one.samples[round(begin * SAMPLE_RATE) :][:1_500]
                found = [
                    recording
                    for recording, samples in zip(recordings, own, strict=True)
                    if np.abs(part - samples[: len(part)]).max() < 0.05
                ]
                assert [(a.digit, a.speaker, a.number < 5) for a in found] == [
                    (digit, one.speaker, is_test)
                ]


@pytest.fixture(scope="module")
def data():
    """A few utterances of tones."""
    return connected_data.load("tones", 20, 8)


def test_spectrograms_are_standardized_and_end_with_their_utterance(data):
    train, test, _, _ = data
    assert train.spectrograms.shape[1:] == test.spectrograms.shape[1:]
    frames = np.concatenate(
        [row[:count] for row, count in zip(train.spectrograms, train.frames, strict=True)]
    )
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-3)
    joined = connected_data.joined("tones", True, 8, seed=0)
    for row, count, digits, one in zip(
        test.spectrograms, test.frames, test.digits, joined, strict=True
    ):
        assert not row[count:].any() and row[count - 1].any()
        assert count == SPECTROGRAM.frames(len(one.samples))
        assert digits[digits != NOTHING].tolist() == list(one.digits)


def test_the_loss_is_that_of_the_digits_alone(data):
    part = data.test
    frames = part.spectrograms.shape[1]
    logits = tf.constant(generator().normal(size=[8, frames, 11]), tf.float32)
    found = connected_digits.ctc_loss(connected_digits.targets_of(part), logits)
    expected = tf.nn.ctc_loss(
        tf.constant(np.maximum(part.digits, 0)),
        logits,
        tf.constant(np.sum(part.digits != NOTHING, axis=1), tf.int32),
        tf.constant(part.frames),
        logits_time_major=False,
        blank_index=10,
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("name", speech_nets.NETS)
def test_nets_label_frames_without_a_look_at_those_after_the_end(name):
    units = speech_nets.width_of(name, 20_000, connected=True)
    net = speech_nets.build_recognizer(name, units)
    assert net.count_params() == pytest.approx(20_000, rel=0.05)
    spectrograms = generator().normal(size=[2, 24, SPECTROGRAM.bands]).astype(np.float32)
    spectrograms[:, 16:] = 0
    padded, alone = net(spectrograms).numpy(), net(spectrograms[:, :16]).numpy()
    assert padded.shape == (2, 24, 11)
    np.testing.assert_allclose(padded[:, :16], alone, atol=1e-5)


def edit_distance(a, b):
    """The textbook's recurrence."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        above, row = row, [i + 1]
        for j, y in enumerate(b):
            row.append(min(above[j + 1] + 1, row[j] + 1, above[j] + (x != y)))
    return row[-1]


def test_errors_can_be_recomputed_from_the_hypotheses(data, tmp_path, monkeypatch):
    comparison = connected_digits.SCALES["tiny"]
    net = speech_nets.build_recognizer("LSTM", 8)
    recognizer = Recognizer(net, connected_digits.LABELS, SPECTROGRAM, data.mean, data.scale)
    random = generator()
    logits = 3 * random.normal(size=[8, data.test.spectrograms.shape[1], 11])
    logits[..., 10] += 5
    monkeypatch.setattr(net, "predict", lambda *_, **__: logits.astype(np.float32))
    errors, rows = connected_digits.evaluate(recognizer, data.test, comparison.beam_width)
    path = tmp_path / connected_digits.HYPOTHESES
    connected_hypotheses.write_rows(str(path), rows)
    with open(path, newline="") as file:
        read = list(csv.DictReader(file))
    digits = sum(len(row["said"]) for row in read)
    for column, name in (("greedy", "greedy_error"), ("beam", "beam_error")):
        distance = sum(edit_distance(row["said"], row[column]) for row in read)
        assert errors[name] == pytest.approx(distance / digits)
        assert errors[name] > 0
    assert [len(row["beam_at"].split()) for row in read] == [len(row["beam"]) for row in read]
    assert [row["said"] for row in read] == [
        "".join(map(str, one.digits)) for one in connected_data.joined("tones", True, 8, seed=0)
    ]


@pytest.mark.slow
def test_training_hears_digits():
    """Digits are drawn at random, so that no net spends less than ln 10 on them without hearing."""
    comparison = connected_digits.SCALES["tiny"]._replace(
        parameters=60_000, train=512, epochs=15, batch_size=16
    )
    data = connected_digits.utterances(comparison, None)
    recognizer = connected_digits.train("LSTM", data, 1, comparison)
    errors, _ = connected_digits.evaluate(recognizer, data.test, comparison.beam_width)
    assert errors["loss"] < 0.7 * np.log(10)
    assert errors["beam_error"] < 0.9


def test_the_report_compares_nets_and_marks_an_utterance(data):
    digits = "".join(str(digit) for digit in data.test.digits[0] if digit != NOTHING)

    def net(model, seed, error):
        errors = {"greedy_error": error + 0.01, "beam_error": error, "exact": 0.5, "loss": 1.0}
        return {"model": model, "seed": seed, **errors, "units": 5, "parameters": 60_000}

    def hypothesis(model, seed, beam):
        times = " ".join(f"{0.3 + 0.4 * place:.3f}" for place in range(len(beam)))
        said = {"said": digits, "said_at": " ".join(["0.5"] * len(digits)), "speaker": "low"}
        return {"model": model, "seed": seed, "utterance": "0", **said, "beam": beam,
                "beam_at": times}  # fmt: skip

    tables = {
        "nets": [net("LSTM", 0, 0.10), net("3-D grid", 0, 0.08)],
        "hypotheses": [hypothesis("LSTM", 0, "1"), hypothesis("3-D grid", 0, "417")],
        "spectrogram": connected_hypotheses.spectrogram_rows(data.test, 0),
    }
    summary = connected_report.summarize(tables)
    assert f"On {len(digits)} connected digits" in summary.sentences[0]
    assert "3-D grid 8.00%, LSTM 10.00%" in summary.sentences[0]
    assert [row[-1] for row in summary.rows] == ["", "-20.0%"]
    assert connected_report.draw_errors(tables).axes
    written = [text.get_text() for text in connected_report.draw_utterance(tables).axes[0].texts]
    assert [text for text in written if text.isdigit()] == [*digits, *"417"]
    assert {"said", "recognized"} <= set(written)
