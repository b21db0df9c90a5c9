"""Which source words the probability of each target word depends on."""

import tensorflow as tf

from ..text.word_vocabulary import BEGIN, PADDING
from .reencoder import Reencoder


def source_gradients(
    model: Reencoder, source_ids: tf.Tensor, target_ids: tf.Tensor, begin: int = BEGIN
) -> tf.Tensor:
    """Computes how much the probability of each target word depends on each source word.

        a[j, i] = || d ln p(t_j | t_1, ..., t_{j-1}, s) / d e(s_i) ||

    where e(s_i) is the embedding of source word i. The model has no attention; this is the picture
    of its alignment, of one pair of sentences.

    >>> model = Reencoder(source_vocabulary_size=20, target_vocabulary_size=30, units=8)
    >>> source_gradients(model, np.array([5, 7, 4]), np.array([9, 12])).shape
    TensorShape([2, 3])

    Args:
      model: The model.
      source_ids: The source ids, `[source]`, int32, without padding.
      target_ids: The target ids, `[target]`, int32, without the word that begins a target.
      begin: The id of that word.

    Returns:
      The norms, `[target, source]`, in the dtype of the model's variables.
    """
    source_ids, target_ids = (
        tf.cast(tf.convert_to_tensor(ids), tf.int32)[None] for ids in (source_ids, target_ids)
    )
    before = tf.concat([[[begin]], target_ids[:, :-1]], axis=1)
    source = tf.convert_to_tensor(model.source_embedding(source_ids))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(source)
        logits = model.logits_of(source, source_ids != PADDING, before)
        log_p = tf.gather(tf.nn.log_softmax(logits), target_ids, axis=2, batch_dims=2)
    gradients = tape.jacobian(log_p, source, experimental_use_pfor=False)
    return tf.norm(gradients[0, :, 0], axis=-1)
