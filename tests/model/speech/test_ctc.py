"""Decoding of CTC against all paths, one by one, in float64."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from model.speech import ctc
from model.speech.ctc import NO_LABEL

FRAMES, CLASSES = 5, 4
BLANK = CLASSES - 1


def read(path):
    """What a path reads as, and the frame in which each label begins."""
    labels, frames = [], []
    for frame, (label, before) in enumerate(zip(path, (None, *path), strict=False)):
        if label not in (before, BLANK):
            labels.append(label)
            frames.append(frame)
    return tuple(labels), frames


def paths_of(log_probabilities):
    """By what they read as: ln p of all paths, and the likeliest one with its frames."""
    found = {}
    for path in itertools.product(range(CLASSES), repeat=len(log_probabilities)):
        score = sum(row[label] for row, label in zip(log_probabilities, path, strict=True))
        labels, frames = read(path)
        total, best, begins = found.get(labels, (-np.inf, -np.inf, None))
        if score > best:
            best, begins = score, frames
        found[labels] = (np.logaddexp(total, score), best, begins)
    return found


@pytest.fixture(scope="module")
def examples():
    """Logits of recordings of 1 to all frames, and all paths of each."""
    logits = 2 * generator().normal(size=[40, FRAMES, CLASSES])
    lengths = generator().integers(1, FRAMES + 1, len(logits))
    normalized = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    paths = [paths_of(row[:length]) for row, length in zip(normalized, lengths, strict=True)]
    return tf.constant(logits, tf.float32), tf.constant(lengths, tf.int32), paths


def unpadded(row):
    return tuple(row[row != NO_LABEL].tolist())


def check(found, paths):
    """Checks frames and ln p of labels against the paths that read as them."""
    for labels, frames, log_probability, of_row in zip(*map(np.array, found), paths, strict=True):
        total, _, begins = of_row[unpadded(labels)]
        assert list(unpadded(frames)) == begins
        assert log_probability == pytest.approx(total, abs=1e-4)


def test_the_likeliest_path_is_found(examples):
    logits, lengths, paths = examples
    found = ctc.decode(logits, lengths)
    for labels, of_row in zip(found.labels.numpy(), paths, strict=True):
        assert unpadded(labels) == max(of_row, key=lambda one: of_row[one][1])
    check(found, paths)


def test_the_beam_finds_the_likeliest_labels(examples):
    logits, lengths, paths = examples
    found = ctc.decode(logits, lengths, beam_width=200)
    for labels, of_row in zip(found.labels.numpy(), paths, strict=True):
        assert unpadded(labels) == max(of_row, key=lambda one: of_row[one][0])
    check(found, paths)
    by_path = ctc.decode(logits, lengths)
    assert (found.labels.shape != by_path.labels.shape) or (
        found.labels.numpy() != by_path.labels.numpy()
    ).any(), "no example tells the two apart"


def test_frames_after_the_end_change_nothing(examples):
    logits, lengths, _ = examples
    is_inside = tf.sequence_mask(lengths, FRAMES)[..., None]
    other = tf.where(is_inside, logits, tf.random.normal(logits.shape, stddev=9.0))
    for width in (0, 8):
        for mine, theirs in zip(
            ctc.decode(logits, lengths, width), ctc.decode(other, lengths, width), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)


def test_labels_in_a_row_are_told_apart_by_a_blank():
    confident = 20 * tf.one_hot([[1, 1, BLANK, 1, 2, 2, 2], [BLANK] * 7], CLASSES)
    found = ctc.decode(confident, tf.constant([7, 7]))
    assert found.labels.numpy().tolist() == [[1, 1, 2], [NO_LABEL] * 3]
    assert found.frames.numpy().tolist() == [[0, 3, 4], [NO_LABEL] * 3]
    np.testing.assert_allclose(found.log_probability, 0, atol=1e-4)
    silent = ctc.decode(confident[1:], tf.constant([7]))
    assert silent.labels.shape == silent.frames.shape == (1, 0)
    np.testing.assert_allclose(silent.log_probability, 0, atol=1e-4)


def test_a_graph_of_unknown_sizes_decodes_likewise(examples):
    logits, lengths, _ = examples
    signature = [tf.TensorSpec([None, None, None]), tf.TensorSpec([None], tf.int32)]
    decode = tf.function(lambda *given: ctc.decode(*given, 8), input_signature=signature)
    for mine, theirs in zip(decode(logits, lengths), ctc.decode(logits, lengths, 8), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)
