"""The loss of translations, and the words that a model has read before each."""

import tensorflow as tf

from ..text.word_vocabulary import BEGIN, PADDING


def targets_before(targets: tf.Tensor) -> tf.Tensor:
    """Returns the word before each target word, `BEGIN` for the first, `[batch, target]`.

    >>> targets_before(tf.constant([[7, 5, 2], [9, 2, 0]])).numpy().tolist()
    [[1, 7, 5], [1, 9, 2]]

    Args:
      targets: The target ids, `[batch, target]`.
    """
    return tf.pad(targets[:, :-1], [[0, 0], [1, 0]], constant_values=BEGIN)


def word_losses(logits: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes -ln p of each target word, and which of them count.

    Args:
      logits: The logits, `[batch, target, vocabulary]`.
      targets: The target ids, `[batch, target]`, int32; 0 for padding, which does not count.

    Returns:
      The losses, 0 where there is padding, and 1 for each word that counts, else 0; both
      `[batch, target]`, float32.
    """
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, tf.cast(logits, tf.float32))
    counted = tf.cast(targets != PADDING, tf.float32)
    return losses * counted, counted
