"""The loss of a character model."""

import tensorflow as tf


def character_losses(logits: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes -ln p of each character.

    Args:
      logits: The logits, `[steps, batch, vocabulary_size]`, as `CharacterModel` returns them.
      ids: The ids of the characters, `[batch, steps]`; ids outside the vocabulary (unknown
        characters, padding) do not count.

    Returns:
      The losses in nats, 0 where an id does not count, and the indicator of those that do as a
      float; both `[steps, batch]`.
    """
    targets = tf.transpose(ids)
    counted = (targets >= 0) & (targets < logits.shape[-1])
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.where(counted, targets, 0), logits=logits
    )
    counted = tf.cast(counted, logits.dtype)
    return losses * counted, counted
