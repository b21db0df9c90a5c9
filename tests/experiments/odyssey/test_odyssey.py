"""The search space odyssey: its statistics, its tasks, and single trials."""

import itertools
import json
import math

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from experiments.data import datasets
from experiments.framework.experiment import Inputs
from experiments.odyssey import odyssey, odyssey_report, odyssey_trial, sequence_data
from experiments.odyssey.odyssey_statistics import best_trials, variance_shares, welch
from experiments.odyssey.odyssey_trial import GRID, Budget, Settings
from experiments.odyssey.sequence_data import STEPS, SequenceSource
from model.cells.registry import MEMORY_CELLS


def test_shares_of_variance_are_those_of_a_known_function():
    """3 log10(a) + 3 b: over four decades of a and b in [0, 1] the shares are 16/17 and 1/17."""
    random = generator()
    rows = []
    for _ in range(200):
        a, b, c = 10 ** random.uniform(-6, -2), random.uniform(), random.uniform()
        rows.append({"a": a, "b": b, "c": c, "loss": 3 * math.log10(a) + 3 * b})
    ranges = {"a": (1e-6, 1e-2, True), "b": (0, 1, False), "c": (0, 1, False)}
    shares = variance_shares(rows, ranges)
    assert shares["a"] == pytest.approx(16 / 17, abs=0.04)
    assert shares["b"] == pytest.approx(1 / 17, abs=0.04)
    assert shares["c"] < 0.01


def test_losses_that_are_all_alike_have_no_variance_to_explain():
    rows = [{"a": float(at), "loss": 1.0} for at in range(5)]
    assert variance_shares(rows, {"a": (0, 5, False)}) == {"a": 0.0}


def test_welch_is_the_formula_of_the_book():
    first, second = [2.1, 2.4, 1.9, 2.2], [3.0, 3.9, 2.2]
    variances = [np.var(one, ddof=1) / len(one) for one in (first, second)]
    t = (np.mean(first) - np.mean(second)) / math.sqrt(sum(variances))
    freedom = sum(variances) ** 2 / (variances[0] ** 2 / 3 + variances[1] ** 2 / 2)
    samples = generator().standard_t(freedom, 400_000)
    assert welch(first, second) == pytest.approx(np.mean(np.abs(samples) > abs(t)), abs=0.005)


def test_the_best_are_chosen_by_validation():
    rows = [{"valid_loss": float(n % 40), "loss": -float(n)} for n in range(40)]
    assert [row["valid_loss"] for row in best_trials(rows)] == [0, 1, 2, 3]
    assert len(best_trials(rows[:5])) == 3


def test_settings_are_drawn_as_in_the_paper_and_alike_for_all_variants():
    drawn = [odyssey_trial.draw(5, trial) for trial in range(300)]
    assert drawn == [odyssey_trial.draw(5, trial) for trial in range(300)]
    for name, (least, most, is_log) in odyssey_report.RANGES.items():
        values = np.array(
            [1 - one.momentum if name == "momentum_gap" else getattr(one, name) for one in drawn]
        )
        assert least * 0.99 <= values.min() and values.max() <= most * 1.01
        place = np.log if is_log else np.array
        middle = (place(least) + place(most)) / 2
        assert abs(np.mean(place(values)) - middle) < 0.1 * (place(most) - place(least))
    points = odyssey.EXPERIMENT.points("small", Inputs(text=None))
    by_trial = {}
    for point in points:
        key = point.labels["task"], point.labels["trial"]
        by_trial.setdefault(key, set()).add(point.measure.keywords["settings"])
    assert all(len(settings) == 1 for settings in by_trial.values())
    assert set(odyssey_report.VARIANTS) <= {*MEMORY_CELLS, GRID}


@pytest.fixture
def chorales(tmp_path, monkeypatch):
    """Three chorales in the layout of the data set, one of them longer than a sequence."""
    pieces = [[[60, 64]] * 5, [[21 + step % 88] for step in range(STEPS + 20)], [[108]] * 3]
    content = json.dumps(dict.fromkeys(("train", "valid", "test"), pieces)).encode()
    (tmp_path / "jsb-chorales-quarter.json").write_bytes(content)
    monkeypatch.setattr(datasets, "read", lambda *_: {"jsb-chorales-quarter.json": content})
    sequence_data._chorales.cache_clear()
    yield str(tmp_path)
    sequence_data._chorales.cache_clear()


def test_chorales_predict_the_next_step_and_no_padding(chorales):
    data = SequenceSource("chorales", folder=chorales).load(None)
    assert data.are_notes and data.train.inputs.shape == (4, STEPS, 88)
    assert data.train.counted.sum(axis=1).tolist() == [4, STEPS, 19, 2]
    long, rest = data.train.inputs[1], data.train.inputs[2]
    assert long.argmax(axis=1).tolist() == [step % 88 for step in range(STEPS)]
    assert data.train.targets[1, -1].argmax() == STEPS % 88 == rest[0].argmax()
    assert set(np.flatnonzero(data.train.inputs[0, 0])) == {39, 43}


@pytest.fixture
def spoken_digits(monkeypatch):
    """Half a second of a tone of its own for each digit, from two speakers, in all parts."""
    random, found = generator(), []
    for digit, speaker, index in itertools.product(range(10), "ab", (0, 4, 5, 9, 10, 30, 49)):
        time = np.arange(4_000) / 8_000
        tone = 0.5 * np.sin(2 * np.pi * 300 * (digit + 1) * time + random.uniform(0, 6))
        noisy = tone + 0.01 * random.normal(size=len(time))
        wav = tf.audio.encode_wav(noisy[:, None].astype(np.float32), 8_000).numpy()
        found.append(datasets.Recording(digit, speaker, index, wav))
    monkeypatch.setattr(datasets, "spoken_digits", lambda _: found)
    sequence_data._spoken_digits.cache_clear()
    yield
    sequence_data._spoken_digits.cache_clear()


@pytest.mark.slow
def test_digits_are_told_frame_by_frame_in_both_directions(spoken_digits):
    data = SequenceSource("spoken digits").load(None)
    assert data.reads_ahead and data.outputs == 10 and not data.are_notes
    per_recording = sequence_data.SPEECH.frames(4_000)
    for part, recordings in ((data.train, 60), (data.valid, 40), (data.test, 40)):
        assert part.inputs.shape == (recordings * per_recording // STEPS, STEPS, 40)
        assert set(np.unique(part.targets)) <= set(range(10)) and part.counted.all()
    flat = data.train.inputs.reshape(-1, 40)
    np.testing.assert_allclose(flat.mean(axis=0), 0, atol=0.1)  # but for the frames left over
    np.testing.assert_allclose(flat.std(axis=0), 1, atol=0.1)
    easy = Settings(units=20, learning_rate=0.003, momentum=0.9, input_noise=0.0)
    model = odyssey_trial.build(data, "lstm", easy)
    first = data.train.inputs[:1].copy()
    before = model.predict(first, verbose=0)
    first[0, -1] += 1
    assert np.abs(model.predict(first, verbose=0) - before)[0, 0].max() > 0, "reads the future"
    learned = odyssey_trial.train(
        data, "lstm", easy, Budget(epochs=12, patience=12, batch_size=4), 1
    )
    assert learned.loss < 0.5 < math.log(10)


def test_losses_are_negative_log_likelihoods():
    logits = tf.constant(generator().normal(size=(2, 3, 4)), tf.float32)
    notes = generator().integers(0, 2, (2, 3, 4))
    p = 1 / (1 + np.exp(-logits.numpy()))
    likelihood = np.where(notes == 1, p, 1 - p).prod(axis=-1)
    np.testing.assert_allclose(
        odyssey_trial.notes_loss(notes, logits), -np.log(likelihood), rtol=1e-5
    )
    classes = generator().integers(0, 4, (2, 3))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    expected = -np.log(np.take_along_axis(softmax, classes[..., None], axis=-1))[..., 0]
    np.testing.assert_allclose(odyssey_trial.classes_loss(classes, logits), expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["lstm_peephole", GRID])
def test_a_trial_learns_and_a_diverged_one_counts_as_a_guess(variant):
    data = sequence_data._characters(b"abcd" * 2000)
    good = Settings(units=20, learning_rate=0.003, momentum=0.9, input_noise=0.0)
    learned = odyssey_trial.train(data, variant, good, Budget(epochs=4, patience=4), seed=1)
    assert learned.loss < 0.5 < math.log(4) and learned.epochs == 4
    wild = good._replace(learning_rate=1e6, momentum=0.99)
    letters = generator().integers(97, 101, 4000, np.uint8)
    noise = sequence_data._characters(letters.tobytes())
    diverged = odyssey_trial.train(noise, variant, wild, Budget(epochs=2, patience=2), seed=1)
    assert diverged.loss == pytest.approx(math.log(4)) and diverged.valid_loss == diverged.loss


def test_padding_changes_no_loss(chorales):
    data = SequenceSource("chorales", folder=chorales).load(None)
    settings = Settings(units=20, learning_rate=1e-6, momentum=0.0, input_noise=0.0)
    model = odyssey_trial.build(data, "lstm", settings)
    model.layers[-1].bias.assign(tf.fill([88], -2.0))  # better than a guess
    logits = model(data.test.inputs.astype(np.float32))
    losses = odyssey_trial.notes_loss(data.test.targets, logits).numpy()
    expected = losses[data.test.counted].mean()
    assert odyssey_trial._nats(model, data, data.test) == pytest.approx(expected, rel=1e-4)
