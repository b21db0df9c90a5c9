"""Text from a character model, and what a character model thinks of a text."""

from typing import NamedTuple

import tensorflow as tf

from model.alphabet import PADDING
from model.character_model import CharacterModel, CharacterState, character_losses, choose_rows
from model.transforms import shape_of

MAX_LENGTH = 10_000
"""Most characters one call reads or generates for a row; more are asked for in pieces."""

MAX_STOP = 16
"""Most characters of a stop string."""


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


class TextState(NamedTuple):
    """What a text has left behind, so that it can go on as if it had never paused.

    Attributes:
      characters: the net's state.
      drawn: `[batch]`, int32, how many characters have been generated: the n-th character of a seed
        is the same however the text is cut into pieces.
      recent: `[batch, MAX_STOP]`, int32, the ids generated last, `PADDING` before the first; a stop
        string may begin in one piece and end in the next.
    """

    characters: CharacterState
    drawn: tf.Tensor
    recent: tf.Tensor


class Generated(NamedTuple):
    """What `generate` returns.

    Attributes:
      ids: `[batch, longest]`, int32, `PADDING` after the end of each row.
      log_probabilities: `[batch, longest]`, float32, ln p of each character under the model itself
        (temperature 1, all characters), 0 after the end.
      alternatives: `[batch, longest, k]`, int32, ids of the likeliest characters at each place, the
        likeliest first; `PADDING` after the end.
      alternative_log_probabilities: `[batch, longest, k]`, float32, theirs.
      lengths: `[batch]`, int32, how many characters were added.
      stopped: `[batch]`, whether the stop string ended the text.
      state: the state after the last character.
    """

    ids: tf.Tensor
    log_probabilities: tf.Tensor
    alternatives: tf.Tensor
    alternative_log_probabilities: tf.Tensor
    lengths: tf.Tensor
    stopped: tf.Tensor
    state: TextState


class Drawn(NamedTuple):
    """One character per row.

    Attributes:
      ids: `[batch]`, int32.
      order: `[batch, vocabulary_size]`, int32, all ids, the likeliest first.
    """

    ids: tf.Tensor
    order: tf.Tensor


def choose(logits: tf.Tensor, choice: Choice, uniform: tf.Tensor) -> Drawn:
    """Draws one character per row by inverting the cumulative distribution.

    Args:
      logits: `[batch, vocabulary_size]`.
      choice: how to choose.
      uniform: `[batch]`, in [0, 1), the random numbers.
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
    return Drawn(tf.gather(order, tf.minimum(rank, last), batch_dims=1), order)


def initial_state(model: CharacterModel, batch: int | tf.Tensor) -> TextState:
    """The state of `batch` texts of which nothing has been read or written."""
    return TextState(
        model.initial_state(batch),
        tf.zeros([batch], tf.int32),
        tf.fill([batch, MAX_STOP], PADDING),
    )


def read(model: CharacterModel, ids: tf.Tensor, state: TextState) -> TextState:
    """The state after texts of different lengths.

    Args:
      model: the model.
      ids: `[batch, longest]`, int32, `PADDING` after the end; a row may be empty.
      state: what came before them.
    """
    if ids.shape[1] == 0:
        return state
    known = ids != PADDING

    def reading():
        _, characters = model(tf.maximum(ids, 0), state.characters, keep=known)
        # A stop string consists of generated characters.
        return TextState(
            characters,
            state.drawn,
            tf.where(tf.reduce_any(known, axis=1, keepdims=True), PADDING, state.recent),
        )

    return tf.cond(tf.reduce_any(known), reading, lambda: state)


def generate(
    model: CharacterModel,
    prompt: tf.Tensor,
    length: tf.Tensor,
    choice: Choice,
    stop: tf.Tensor | None = None,
    alternatives: int | tf.Tensor = 0,
    state: TextState | None = None,
) -> Generated:
    """Reads prompts and continues them, one column of the net per character.

    Args:
      model: the model.
      prompt: `[batch, longest]`, int32 ids, `PADDING` after the end; a row may be empty.
      length: `[batch]`, int32, at most `MAX_LENGTH`, the number of characters to add to each row.
      choice: how to choose them.
      stop: `[batch, MAX_STOP]`, int32, a row ends once its last characters are these; `PADDING`
        before the first. All `PADDING`, or None, does not stop.
      alternatives: k, of how many of the likeliest characters to report the probabilities.
      state: what came before the prompts; None for nothing.

    Returns:
      The added characters; see `Generated`.
    """
    batch = shape_of(prompt)[0]
    if stop is None:
        stop = tf.fill([batch, MAX_STOP], PADDING)
    state = read(model, prompt, initial_state(model, batch) if state is None else state)
    longest = tf.reduce_max(tf.concat([length, [0]], axis=0))
    uniform = _uniform(choice.seed, state.drawn, longest)
    stepper = model.stepper()

    def add_character(step, active, added, state, arrays):
        logits, after = stepper(state.characters)
        drawn = choose(logits, choice, uniform[:, step])
        new = TextState(
            CharacterState(drawn.ids, *after.state),
            state.drawn + 1,
            tf.concat([state.recent[:, 1:], drawn.ids[:, None]], axis=1),
        )
        log_probabilities = tf.nn.log_softmax(logits)
        likeliest = drawn.order[:, :alternatives]
        columns = (
            tf.where(active, drawn.ids, PADDING),
            tf.where(active, _of(log_probabilities, drawn.ids), 0.0),
            tf.where(active[:, None], likeliest, PADDING),
            tf.where(active[:, None], _of(log_probabilities, likeliest), 0.0),
        )
        arrays = [one.write(step + 1, column) for one, column in zip(arrays, columns, strict=True)]
        added += tf.cast(active, tf.int32)
        state = choose_rows(active, new, state)
        active &= (step + 1 < length) & ~_ends_with(state.recent, stop)
        return step + 1, active, added, state, arrays

    # An array of columns that nobody has written cannot be stacked; the first is dropped again.
    blanks = (
        tf.fill([batch], PADDING),
        tf.zeros([batch]),
        tf.fill([batch, alternatives], PADDING),
        tf.zeros([batch, alternatives]),
    )
    arrays = [
        tf.TensorArray(
            blank.dtype, size=1, dynamic_size=True, element_shape=[None] * len(blank.shape)
        ).write(0, blank)
        for blank in blanks
    ]
    _, _, added, state, arrays = tf.while_loop(
        lambda step, active, *_: tf.reduce_any(active),
        add_character,
        (0, length > 0, tf.zeros_like(length), state, arrays),
    )
    ids, scores, likeliest, likeliest_scores = (_rows(array.stack()[1:]) for array in arrays)
    stopped = _ends_with(state.recent, stop) & (added > 0)
    return Generated(ids, scores, likeliest, likeliest_scores, added, stopped, state)


def _uniform(seed, drawn, count):
    """The random numbers of each row from its `drawn`-th on, `[batch, count]`, in [0, 1).

    SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014): the
    n-th number is a hash of the seed and n, so that it can be had without those before it.
    """
    first = tf.cast(drawn, tf.int64)[:, None] + tf.range(tf.cast(count, tf.int64))
    counter = tf.cast(first, tf.uint64) * tf.constant(0x9E3779B97F4A7C15, tf.uint64)
    mixed = _mix(_mix(tf.bitcast(seed, tf.uint64))[:, None] + counter)
    return tf.cast(tf.bitwise.right_shift(mixed, _shift(40)), tf.float32) * 2.0**-24


def _mix(z):
    for bits, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _shift(bits)))
        z *= tf.constant(factor, tf.uint64)
    return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _shift(31)))


def _shift(bits):
    return tf.constant(bits, tf.uint64)


def _of(values, ids):
    """The values of ids, per row."""
    return tf.gather(values, ids, batch_dims=1)


def _ends_with(recent, stop):
    same = tf.reduce_all((recent == stop) | (stop == PADDING), axis=1)
    return same & tf.reduce_any(stop != PADDING, axis=1)


def _rows(columns):
    return tf.transpose(columns, [1, 0, *range(2, len(columns.shape))])


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


def embed(model: CharacterModel, ids: tf.Tensor) -> tf.Tensor:
    """Texts as feature vectors: the hidden vectors of all layers, bottom first, after the last
    character.

    Args:
      model: the model.
      ids: as for `score`.

    Returns:
      `[batch, layers * units]`, float32.
    """
    batch = tf.shape(ids)[0]
    state = read(model, ids, initial_state(model, batch)).characters
    _, after = model.stepper()(state)
    hidden = tf.transpose(after.state.hidden, [1, 0, 2])
    return tf.reshape(hidden, [batch, model.config.layers * model.config.units])
