"""Text from a character model, and what a character model thinks of a text."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ..shapes import shape_of
from ..text.code_points import PADDING
from .character_model import CharacterModel, CharacterState, choose_rows
from .losses import character_losses

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


def chooser(choice: Choice, size: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """How the next characters are drawn: by inverting the cumulative distribution.

    Characters are in the order of their ids; where only the likeliest may be drawn, these come
    first. Sorting takes longer than all else here, and is left out if no row asks for it.

    Args:
      choice: how to choose.
      size: of the vocabulary.

    Returns:
      A function of logits, `[batch, size]`, and random numbers in [0, 1), `[batch]`, that draws an
      id per row, `[batch]`, int32. To be called in a loop: what does not change is outside of it.
    """
    greedy = choice.temperature == 0
    temperature = tf.where(greedy, 1.0, choice.temperature)[:, None]
    most = tf.where(greedy, 1, tf.where(choice.top_k > 0, choice.top_k, size))
    among_first = tf.range(size) < most[:, None]
    only_likeliest = (most < size) | (choice.top_p < 1)
    sorts = tf.reduce_any(only_likeliest)

    def choose(logits, uniform):
        scaled = logits / temperature

        def sorted_first():
            ranked, order = tf.math.top_k(scaled, size)
            probabilities = tf.nn.softmax(ranked)
            likelier = tf.cumsum(probabilities, axis=-1, exclusive=True)
            kept = among_first & (likelier < choice.top_p[:, None]) | (tf.range(size) == 0)
            rank = _inverse(tf.where(kept, probabilities, 0.0), uniform)
            return tf.where(only_likeliest, tf.gather(order, rank, batch_dims=1), by_id())

        def by_id():
            return _inverse(tf.nn.softmax(scaled), uniform)

        return tf.cond(sorts, sorted_first, by_id)

    return choose


def _inverse(weights, uniform):
    """The first index at which sums of `[batch, size]` weights exceed a share of their total."""
    cumulative = tf.cumsum(weights, axis=-1)
    total = cumulative[:, -1:]
    # A share may be rounded to the total.
    before = (cumulative <= uniform[:, None] * total) & (cumulative < total)
    return tf.reduce_sum(tf.cast(before, tf.int32), axis=-1)


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
      length: `[batch]`, int32, the number of characters to add to each row.
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
    choose = chooser(choice, model.vocabulary_size)
    any_character = stop == PADDING
    stops = ~tf.reduce_all(any_character, axis=1)

    def has_stopped(state):
        return stops & tf.reduce_all((state.recent == stop) | any_character, axis=1)

    def add_character(step, active, added, state, *arrays):
        logits, after = stepper(state.characters)
        drawn = choose(logits, uniform[:, step])
        new = TextState(
            CharacterState(drawn, *after.state),
            state.drawn + 1,
            tf.concat([state.recent[:, 1:], drawn[:, None]], axis=1),
        )
        state = choose_rows(active, new, state)
        added += tf.cast(active, tf.int32)
        step += 1
        arrays = (one.write(step, part) for one, part in zip(arrays, (drawn, logits), strict=True))
        active &= (step < length) & ~has_stopped(state)
        return step, active, added, state, *arrays

    # Arrays that nobody has written to cannot be read; the first entry is dropped again.
    first = (tf.zeros([batch], tf.int32), tf.zeros([batch, model.vocabulary_size]))
    arrays = [
        tf.TensorArray(one.dtype, longest + 1, element_shape=[None, *one.shape[1:]]).write(0, one)
        for one in first
    ]
    steps, _, added, state, *arrays = tf.while_loop(
        lambda step, active, *_: tf.reduce_any(active),
        add_character,
        (0, length > 0, tf.zeros_like(length), state, *arrays),
    )
    ids, logits = (one.gather(tf.range(steps + 1))[1:] for one in arrays)
    reported = _report(ids, logits, added, alternatives)
    return Generated(*reported, added, has_stopped(state) & (added > 0), state)


def _report(ids, logits, added, alternatives):
    """The columns of `Generated` from ids `[longest, batch]` and what they were drawn from."""
    log_probabilities = tf.nn.log_softmax(logits)
    likeliest_scores, likeliest = tf.math.top_k(log_probabilities, alternatives)
    within = tf.range(tf.shape(ids)[0])[:, None] < added
    return [
        _rows(part)
        for part in (
            tf.where(within, ids, PADDING),
            tf.where(within, tf.gather(log_probabilities, ids, batch_dims=2), 0.0),
            tf.where(within[..., None], likeliest, PADDING),
            tf.where(within[..., None], likeliest_scores, 0.0),
        )
    ]


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
