"""Text from a character model, and what a character model thinks of a text."""

from typing import NamedTuple

import tensorflow as tf

from model.alphabet import PADDING
from model.character_model import CharacterModel, CharacterState, character_losses
from model.grid import State

MAX_LENGTH = 10_000
"""Most characters one call generates for a row; more are asked for in pieces."""


class Choice(NamedTuple):
    """How the next character of each text is chosen; all `[batch]`.

    Attributes:
      temperature: float32, logits are divided by it; 0 takes the likeliest character.
      top_k: int32, only the k likeliest characters; 0 for all.
      top_p: float32 in (0, 1], only the likeliest characters that make up this probability.
      seed: int64, the same seed gives the same text, whatever else is in the batch.
    """

    temperature: tf.Tensor
    top_k: tf.Tensor
    top_p: tf.Tensor
    seed: tf.Tensor


class Generated(NamedTuple):
    """What `generate` returns.

    Attributes:
      ids: `[batch, longest]`, int32, `PADDING` after the end of each row.
      log_probabilities: `[batch, longest]`, float32, ln p of each character under the model itself
        (temperature 1, all characters), 0 after the end.
      state: the state after the last character.
    """

    ids: tf.Tensor
    log_probabilities: tf.Tensor
    state: CharacterState


def choose(logits: tf.Tensor, choice: Choice, uniform: tf.Tensor) -> tf.Tensor:
    """Draws one character per row by inverting the cumulative distribution.

    Args:
      logits: `[batch, vocabulary_size]`.
      choice: how to choose.
      uniform: `[batch]`, in [0, 1), the random numbers.

    Returns:
      Ids, `[batch]`, int32.
    """
    size = logits.shape[-1]
    greedy = choice.temperature == 0
    temperature = tf.where(greedy, 1.0, choice.temperature)
    ranked, order = tf.math.top_k(logits / temperature[:, None], size)
    probabilities = tf.nn.softmax(ranked)
    top_k = tf.where(choice.top_k > 0, choice.top_k, size)
    top_k = tf.where(greedy, 1, top_k)
    likelier = tf.cumsum(probabilities, axis=-1, exclusive=True)
    kept = (tf.range(size) < top_k[:, None]) & (likelier < choice.top_p[:, None])
    kept |= tf.range(size) == 0
    cumulative = tf.cumsum(tf.where(kept, probabilities, 0.0), axis=-1)
    threshold = uniform * cumulative[:, -1]
    rank = tf.reduce_sum(tf.cast(cumulative <= threshold[:, None], tf.int32), axis=-1)
    last = tf.reduce_sum(tf.cast(kept, tf.int32), axis=-1) - 1
    return tf.gather(order, tf.minimum(rank, last), batch_dims=1)


def generate(
    model: CharacterModel,
    prompt: tf.Tensor,
    length: tf.Tensor,
    choice: Choice,
) -> Generated:
    """Reads prompts and continues them, one column of the net per character.

    Args:
      model: the model.
      prompt: `[batch, longest]`, int32 ids, `PADDING` after the end; a row may be empty.
      length: `[batch]`, int32, at most `MAX_LENGTH`, the number of characters to add to each row.
      choice: how to choose them.

    Returns:
      The added characters; see `Generated`.
    """
    batch = tf.shape(prompt)[0]
    prompt_length = tf.reduce_sum(tf.cast(prompt != PADDING, tf.int32), axis=-1)
    total = tf.reduce_max(tf.concat([prompt_length + length, [0]], axis=0))
    prompt = tf.pad(prompt, [[0, 0], [0, 1]], constant_values=PADDING)
    uniform = tf.map_fn(
        lambda seed: tf.random.stateless_uniform([MAX_LENGTH], tf.stack([seed, 0])),
        choice.seed,
        fn_output_signature=tf.TensorSpec([MAX_LENGTH], tf.float32),
    )

    def add_character(position, state, ids, log_probabilities):
        logits, net_state = model.step(state)
        index = tf.clip_by_value(position - prompt_length, 0, MAX_LENGTH - 1)
        drawn = choose(logits, choice, tf.gather(uniform, index, batch_dims=1))
        column = tf.minimum(position, tf.shape(prompt)[1] - 1)
        character = tf.where(position < prompt_length, prompt[:, column], drawn)
        active = position < prompt_length + length
        new = CharacterState(character, *net_state)
        state = CharacterState(
            tf.where(active, new.previous, state.previous),
            tf.where(active[None, :, None], new.hidden, state.hidden),
            tf.where(active[None, :, None], new.memory, state.memory),
        )
        chosen = tf.gather(tf.nn.log_softmax(logits), character, batch_dims=1)
        return (
            position + 1,
            state,
            ids.write(position, character),
            log_probabilities.write(position, chosen),
        )

    _, state, ids, log_probabilities = tf.while_loop(
        lambda position, *_: position < total,
        add_character,
        (
            0,
            model.initial_state(batch),
            tf.TensorArray(tf.int32, size=total, element_shape=[None]),
            tf.TensorArray(tf.float32, size=total, element_shape=[None]),
        ),
    )
    steps = tf.range(tf.reduce_max(tf.concat([length, [0]], axis=0)))
    added = steps < length[:, None]
    columns = tf.where(added, prompt_length[:, None] + steps, 0)

    def of_added(array):
        stacked = tf.transpose(array.stack())
        # A gather from an array without columns is an error even where no column is asked for.
        return tf.gather(tf.pad(stacked, [[0, 0], [0, 1]]), columns, batch_dims=1)

    return Generated(
        tf.where(added, of_added(ids), PADDING),
        tf.where(added, of_added(log_probabilities), 0.0),
        state,
    )


def score(model: CharacterModel, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How well a model predicts texts from their first character on.

    Args:
      model: the model.
      ids: `[batch, longest]`, int32, `PADDING` after the end of each row, at least one column.

    Returns:
      Bits per character, `[batch]`, 0 for an empty row; and ln p of each character,
      `[batch, longest]`, 0 after the end.
    """
    logits, _ = model(tf.maximum(ids, 0), model.initial_state(tf.shape(ids)[0]))
    losses, counted = character_losses(logits, ids)
    totals = tf.math.divide_no_nan(tf.reduce_sum(losses, axis=0), tf.reduce_sum(counted, axis=0))
    return totals / tf.math.log(2.0), -tf.transpose(losses)


def flatten_state(state: CharacterState) -> tf.Tensor:
    """One row of `2 * layers * units + 1` floats per text: previous id, hidden, memory."""
    parts = [tf.cast(state.previous, tf.float32)[:, None]]
    for part in State(state.hidden, state.memory):
        by_text = tf.transpose(part, [1, 0, 2])
        parts.append(tf.reshape(by_text, [-1, part.shape[0] * part.shape[2]]))
    return tf.concat(parts, axis=-1)
