"""Decoding of connectionist temporal classification (CTC): labels, when they are said, and ln p.

Graves, Fernandez, Gomez, Schmidhuber, "Connectionist Temporal Classification" (ICML 2006). A net
gives each frame a distribution over the labels and the blank, which is the last class. A path takes
a class per frame, and reads as the labels that are left when repetitions are merged and blanks are
dropped; p of labels is the sum over all paths that read so.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from ..shapes import shape_of

NO_LABEL = -1
"""What labels and frames are padded with."""

_IMPOSSIBLE = -1e30


class Transcript(NamedTuple):
    """The labels of some recordings.

    Attributes:
      labels: Labels, int32 `[batch, most]`, padded with `NO_LABEL`.
      frames: Frame in which each label begins on the likeliest path, int32 `[batch, most]`, padded
        likewise.
      log_probability: ln p of the labels, summed over all paths, float32 `[batch]`.
    """

    labels: tf.Tensor
    frames: tf.Tensor
    log_probability: tf.Tensor


def decode(logits: tf.Tensor, lengths: tf.Tensor, beam_width: int = 0) -> Transcript:
    """Finds the labels of recordings, and when each begins.

    Two labels over three frames: the first in the first two frames, the second in the last.

    >>> logits = tf.math.log([[[0.8, 0.1, 0.1], [0.7, 0.1, 0.2], [0.1, 0.8, 0.1]]])
    >>> transcript = decode(logits, [3])
    >>> transcript.labels.numpy(), transcript.frames.numpy()
    (array([[0, 1]], dtype=int32), array([[0, 2]], dtype=int32))

    Args:
      logits: Logits of the classes, float32 `[batch, frames, labels + 1]`; the last is the blank.
      lengths: Number of frames of each recording, int32 `[batch]`.
      beam_width: Width of the beam search for the labels of the largest p; 0, the default, for the
        labels of the likeliest path.
    """
    log_probabilities = tf.nn.log_softmax(logits)
    time_major = tf.transpose(log_probabilities, [1, 0, 2])
    lengths = tf.cast(lengths, tf.int32)
    if beam_width:
        (found,), _ = tf.nn.ctc_beam_search_decoder(time_major, lengths, beam_width)
    else:
        (found,), _ = tf.nn.ctc_greedy_decoder(time_major, lengths)
    labels = tf.sparse.to_dense(tf.cast(found, tf.int32), default_value=NO_LABEL)
    frames = align(log_probabilities, lengths, labels)
    return Transcript(labels, frames, _log_probability(time_major, lengths, labels))


def log_probability(logits: tf.Tensor, lengths: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns ln p of labels, summed over all paths that read so, float32 `[batch]`.

    A label in the first of two frames, or in the second, or in both:

    >>> logits = tf.math.log([[[0.5, 0.5], [0.5, 0.5]]])
    >>> float(tf.exp(log_probability(logits, [2], tf.constant([[0]])))[0])
    0.75

    Args:
      logits: Logits of the classes, float32 `[batch, frames, labels + 1]`; the last is the blank.
      lengths: Number of frames of each recording, int32 `[batch]`; enough for its labels.
      labels: Labels, int32 `[batch, most]`, padded with `NO_LABEL`. A row may have none.
    """
    time_major = tf.transpose(tf.nn.log_softmax(logits), [1, 0, 2])
    return _log_probability(time_major, tf.cast(lengths, tf.int32), labels)


def _log_probability(time_major: tf.Tensor, lengths: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns ln p of labels `[batch, most]`, of ln p of classes `[frames, batch, classes]`."""
    is_inside = tf.sequence_mask(lengths, tf.shape(time_major)[0])
    blanks = tf.where(is_inside, tf.transpose(time_major[..., -1]), 0.0)
    # The loss refuses rows without a label: these get one, and are summed by themselves.
    padded = tf.pad(labels, [[0, 0], [0, 1]], constant_values=NO_LABEL)
    is_empty = padded[:, 0] == NO_LABEL
    first = tf.where(is_empty, 0, padded[:, 0])
    padded = tf.concat([first[:, None], padded[:, 1:]], axis=1)
    loss = tf.nn.ctc_loss(sparse(padded), time_major, None, lengths, blank_index=-1)
    return tf.where(is_empty, tf.reduce_sum(blanks, axis=1), -loss)


def frames_needed(labels: Sequence) -> int:
    """Returns the smallest number of frames that can read as labels.

    Each label takes a frame, and two equal ones in a row a blank between them.

    >>> frames_needed("hello")
    6

    Args:
      labels: Labels, or the characters that stand for them.
    """
    return len(labels) + sum(a == b for a, b in itertools.pairwise(labels))


def sparse(labels: tf.Tensor) -> tf.SparseTensor:
    """Returns labels `[batch, most]`, padded with `NO_LABEL`, as `tf.nn.ctc_loss` reads them fast.

    Args:
      labels: The labels, int32.
    """
    places = tf.where(labels != NO_LABEL)
    size = tf.shape(labels, out_type=tf.int64)
    return tf.SparseTensor(places, tf.gather_nd(labels, places), size)


def align(log_probabilities: tf.Tensor, lengths: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Returns the frame in which each label begins on the likeliest path that reads as the labels.

    Viterbi's algorithm over the states of CTC: label k is state 2k + 1, and the blanks before,
    between and after labels are the even states. A step stays, goes to the next state, or passes
    over the blank between two labels that differ.

    Args:
      log_probabilities: ln p of the classes, float32 `[batch, frames, labels + 1]`.
      lengths: Number of frames of each recording, int32 `[batch]`; enough for its labels.
      labels: Labels, int32 `[batch, most]`, padded with `NO_LABEL`.

    Returns:
      The frames, int32 `[batch, most]`, padded with `NO_LABEL`.
    """
    batch, frames, classes = shape_of(log_probabilities)
    most = shape_of(labels)[1]
    is_label = labels >= 0
    blanks = tf.fill([batch, most], classes - 1)
    pairs = tf.stack([blanks, tf.where(is_label, labels, blanks)], axis=-1)
    states = tf.concat([tf.reshape(pairs, [batch, 2 * most]), tf.fill([batch, 1], classes - 1)], 1)
    can_pass = states != _shifted(states, 2, classes - 1)

    def step(
        frame: tf.Tensor, scores: tf.Tensor, moves: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
        passing = tf.where(can_pass, _shifted(scores, 2, _IMPOSSIBLE), _IMPOSSIBLE)
        origins = tf.stack([scores, _shifted(scores, 1, _IMPOSSIBLE), passing])
        move = tf.argmax(origins, output_type=tf.int32)
        reached = tf.reduce_max(origins, 0)
        reached += tf.gather(log_probabilities[:, frame], states, axis=1, batch_dims=1)
        is_over = (frame >= lengths)[:, None]
        moves = moves.write(frame, tf.cast(tf.where(is_over, 0, move), tf.uint8))
        return frame + 1, tf.where(is_over, scores, reached), moves

    # Before the first frame only the first state, a blank, is possible.
    begin = tf.one_hot(tf.zeros([batch], tf.int32), 2 * most + 1, 0.0, _IMPOSSIBLE)
    array = tf.TensorArray(tf.uint8, frames, element_shape=[None, None])
    _, scores, moves = tf.while_loop(
        lambda frame, *_: frame < frames, step, (tf.constant(0), begin, array)
    )
    path = _path_back(moves, frames, _last_states(scores, is_label))
    # The states of a path only grow, so that label k begins where they reach 2k + 1.
    begins = tf.searchsorted(path, tf.tile(tf.range(most)[None] * 2 + 1, [batch, 1]))
    return tf.where(is_label, begins, NO_LABEL)


def _last_states(scores: tf.Tensor, is_label: tf.Tensor) -> tf.Tensor:
    """Returns the better of the last label and the blank after it, int32 `[batch]`."""
    blank = 2 * tf.reduce_sum(tf.cast(is_label, tf.int32), axis=1)
    label = tf.maximum(blank - 1, 0)
    of_blank, of_label = (tf.gather(scores, at, axis=1, batch_dims=1) for at in (blank, label))
    return tf.where(of_label > of_blank, label, blank)


def _path_back(moves: tf.TensorArray, frames: int | tf.Tensor, last: tf.Tensor) -> tf.Tensor:
    """Returns the state of each frame, int32 `[batch, frames]`, from how each state was reached."""

    def step(
        frame: tf.Tensor, state: tf.Tensor, path: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
        move = tf.gather(moves.read(frame), state, axis=1, batch_dims=1)
        return frame - 1, state - tf.cast(move, tf.int32), path.write(frame, state)

    array = tf.TensorArray(tf.int32, frames, element_shape=[None])
    begin = (tf.convert_to_tensor(frames) - 1, last, array)
    _, _, path = tf.while_loop(lambda frame, *_: frame >= 0, step, begin)
    return tf.transpose(path.stack())


def _shifted(values: tf.Tensor, by: int, fill: float | int) -> tf.Tensor:
    """Returns `[batch, size]`, shifted to the right by as many places."""
    size = tf.shape(values)[1]
    padded = tf.pad(values, [[0, 0], [by, 0]], constant_values=tf.cast(fill, values.dtype))
    return padded[:, :size]
