"""Spoken digits: splits, nets of as many parameters, and what the report says."""

import numpy as np
import pytest
from seeds import generator

from experiments.data.datasets import Recording
from experiments.speech import speech, speech_data, speech_nets, speech_report
from experiments.speech.speech_data import FRAMES, OFFICIAL, SPECTROGRAM


@pytest.mark.slow
def test_a_speaker_who_is_left_out_is_not_trained_on():
    names = speech_data.splits("tones")
    assert names == [OFFICIAL, "high", "low", "middle"]
    whole = speech_data.load("tones", OFFICIAL)
    assert [len(part.digits) for part in whole] == [150, 150]
    for name in names[1:]:
        train, test = speech_data.load("tones", name)
        assert (len(train.digits), len(test.digits)) == (200, 100)
        assert np.bincount(test.digits).tolist() == [10] * 10
        frames = train.spectrograms[train.spectrograms.any(axis=-1)]
        np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-3)
        np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-3)


def test_spectrograms_end_with_their_recording(monkeypatch):
    lengths = iter([10, FRAMES + 7])
    recordings = [Recording(3, "a", 9, b"short"), Recording(4, "a", 0, b"long")]
    drawn = {
        name: generator().normal(size=[next(lengths), SPECTROGRAM.bands])
        for name in (b"short", b"long")
    }
    monkeypatch.setattr(speech_data, "recordings_of", lambda *_: recordings)
    monkeypatch.setattr(speech_data, "samples_of", lambda _: [one.wav for one in recordings])
    monkeypatch.setattr(speech_data, "log_mel_of", lambda wav, _: drawn[wav])
    split = speech_data.load.__wrapped__("tones", OFFICIAL)
    mean, scale = drawn[b"short"].mean(axis=0), drawn[b"short"].std(axis=0)
    (short,), (long,) = split.train.spectrograms, split.test.spectrograms
    assert not short[: FRAMES - 10].any()
    np.testing.assert_allclose(short[-10:], (drawn[b"short"] - mean) / scale, rtol=1e-5)
    np.testing.assert_allclose(long, (drawn[b"long"][7:] - mean) / scale, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", speech_nets.NETS)
def test_nets_have_as_many_parameters_and_read_all_of_the_spectrogram(name):
    units = speech_nets.width_of(name, 20_000)
    model = speech_nets.build(name, units)
    assert model.count_params() == pytest.approx(20_000, rel=0.05)
    spectrogram = generator().normal(size=[1, FRAMES, SPECTROGRAM.bands]).astype(np.float32)
    before = model(spectrogram).numpy()
    assert before.shape == (1, 10)
    for frame, band in ((0, 0), (FRAMES - 1, SPECTROGRAM.bands - 1), (FRAMES // 2, 17)):
        other = spectrogram.copy()
        other[0, frame, band] += 30
        assert np.abs(model(other).numpy() - before).max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LSTM", "time-frequency grid + LSTM"])
def test_tones_are_learnt(name):
    comparison = speech.SCALES["tiny"]._replace(epochs=15)
    found = speech.train(name, speech_data.load("tones", OFFICIAL), 1, comparison)
    assert found.error < 0.1 and found.loss < 0.5


def test_the_report_pairs_the_speakers_left_out():
    def row(model, split, seed, error):
        labels = {"model": model, "split": split, "seed": seed}
        return {**labels, "error": error, "units": 5, "parameters": 60_000}

    speakers, seeds = "abcdef", (0, 1)
    rows = [row("LSTM", OFFICIAL, seed, 0.02) for seed in seeds]
    rows += [row("3-D grid", OFFICIAL, seed, 0.01) for seed in seeds]
    for number, (speaker, seed) in enumerate((s, n) for s in speakers for n in seeds):
        rows.append(row("LSTM", speaker, seed, 0.20 + 0.01 * number))
        rows.append(row("3-D grid", speaker, seed, 0.18 + 0.0098 * number))
    tables = {"nets": rows}
    summary = speech_report.summarize(tables)
    assert "3-D grid 23.39%, LSTM 25.50%" in summary.sentences[0]
    assert "the best net errs on 1.00%" in summary.sentences[1]
    assert speech_report.paired_p(tables, "3-D grid") == pytest.approx(2 / 2**6)
    (reference,) = [cells for cells in summary.rows if cells[0] == "LSTM"]
    (grid,) = [cells for cells in summary.rows if cells[0] == "3-D grid"]
    assert reference[-2:] == ("", "") and grid[-2:] == ("-8.3%", "0.031")
    for draw in (speech_report.draw_errors, speech_report.draw_folds):
        assert draw(tables).axes
