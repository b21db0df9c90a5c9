"""Sampling of texts from a character model, and scores and embeddings of given texts."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ..shapes import shape_of
from ..text.vocabulary import PADDING
from .forward import CharacterState, LanguageModel, choose_rows
from .losses import character_losses

MAX_STOP = 16
"""The largest number of characters of a stop string."""


class TextState(NamedTuple):
    """The state of a text, from which it continues as if it had never paused.

    Attributes:
      characters: The state of the model.
      drawn: The number of characters generated so far, `[batch]`, int32: the n-th character of a
        seed is the same however the text is cut into pieces.
      recent: The ids generated last, `[batch, MAX_STOP]`, int32, `PADDING` before the first; a stop
        string may begin in one piece and end in the next.
    """

    characters: CharacterState
    drawn: tf.Tensor
    recent: tf.Tensor


class Generated(NamedTuple):
    """The result of `generate`.

    Attributes:
      ids: The ids of the added characters, `[batch, longest]`, int32, `PADDING` after the end of
        each row.
      log_probabilities: The ln p of each character under the model itself (temperature 1, all
        characters), `[batch, longest]`, float32, 0 after the end.
      alternatives: The ids of the likeliest characters at each place, the likeliest first,
        `[batch, longest, k]`, int32; `PADDING` after the end.
      alternative_log_probabilities: The ln p of the alternatives, `[batch, longest, k]`, float32.
      lengths: The number of added characters, `[batch]`, int32.
      stopped: Whether the stop string ended the text, `[batch]`, boolean.
      state: The state after the last character.
    """

    ids: tf.Tensor
    log_probabilities: tf.Tensor
    alternatives: tf.Tensor
    alternative_log_probabilities: tf.Tensor
    lengths: tf.Tensor
    stopped: tf.Tensor
    state: TextState


def sampler(
    temperature: tf.Tensor, top_k: tf.Tensor, top_p: tf.Tensor, size: int
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns a function that draws characters by inverting the cumulative distribution.

    Characters are in the order of their ids; where only the likeliest may be drawn, these come
    first. Sorting takes longer than all else here, and is left out if no row asks for it.

    Args:
      temperature: The divisor of the logits, `[batch]`, float32; 0 takes the likeliest character.
      top_k: The number of likeliest characters that may be drawn, `[batch]`, int32; 0 for all.
      top_p: The probability that the likeliest characters which may be drawn make up, `[batch]`,
        float32, in (0, 1].
      size: The size of the vocabulary.

    Returns:
      A function of logits, `[batch, size]`, and random numbers in [0, 1), `[batch]`, that draws an
      id per row, `[batch]`, int32. It is to be called in a loop: what does not change is computed
      outside of it.
    """
    greedy = temperature == 0
    divisor = tf.where(greedy, 1.0, temperature)[:, None]
    most = tf.where(greedy, 1, tf.where(top_k > 0, top_k, size))
    among_first = tf.range(size) < most[:, None]
    only_likeliest = (most < size) | (top_p < 1)
    sorts = tf.reduce_any(only_likeliest)

    def draw(logits: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
        scaled = logits / divisor

        def draw_sorted() -> tf.Tensor:
            ranked, order = tf.math.top_k(scaled, size)
            probabilities = tf.nn.softmax(ranked)
            likelier = tf.cumsum(probabilities, axis=-1, exclusive=True)
            kept = among_first & (likelier < top_p[:, None]) | (tf.range(size) == 0)
            rank = _invert(tf.where(kept, probabilities, 0.0), uniform)
            return tf.where(only_likeliest, tf.gather(order, rank, batch_dims=1), draw_by_id())

        def draw_by_id() -> tf.Tensor:
            return _invert(tf.nn.softmax(scaled), uniform)

        return tf.cond(sorts, draw_sorted, draw_by_id)

    return draw


def _invert(weights: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Returns the first index at which sums of `[batch, size]` exceed a share of their total."""
    cumulative = tf.cumsum(weights, axis=-1)
    total = cumulative[:, -1:]
    # A share may be rounded to the total.
    before = (cumulative <= uniform[:, None] * total) & (cumulative < total)
    return tf.reduce_sum(tf.cast(before, tf.int32), axis=-1)


def initial_state(model: LanguageModel, batch: int | tf.Tensor) -> TextState:
    """Returns the state of `batch` texts of which nothing has been read or written."""
    return TextState(
        characters=model.initial_state(batch),
        drawn=tf.zeros([batch], tf.int32),
        recent=tf.fill([batch, MAX_STOP], PADDING),
    )


def read(model: LanguageModel, ids: tf.Tensor, state: TextState) -> TextState:
    """Returns the state after texts of different lengths.

    Args:
      model: The model.
      ids: The characters, `[batch, longest]`, int32, `PADDING` after the end; a row may be empty.
      state: The state before them.
    """
    if ids.shape[1] == 0:
        return state
    known = ids != PADDING

    def read_ids() -> TextState:
        _, characters = model(tf.maximum(ids, 0), state.characters, keep=known)
        # A stop string consists of generated characters.
        has_ids = tf.reduce_any(known, axis=1, keepdims=True)
        return TextState(
            characters=characters,
            drawn=state.drawn,
            recent=tf.where(has_ids, PADDING, state.recent),
        )

    return tf.cond(tf.reduce_any(known), read_ids, lambda: state)


def generate(
    model: LanguageModel,
    prompt: tf.Tensor,
    length: tf.Tensor,
    temperature: tf.Tensor,
    top_k: tf.Tensor,
    top_p: tf.Tensor,
    seed: tf.Tensor,
    stop: tf.Tensor | None = None,
    alternatives: int | tf.Tensor = 0,
    state: TextState | None = None,
) -> Generated:
    """Reads prompts and continues them, one decode step per character.

    >>> model = CharacterModel(ModelConfig(layers=1, units=8), vocabulary_size=5)
    >>> generated = generate(
    ...     model,
    ...     prompt=tf.constant([[0, 1]]),
    ...     length=tf.constant([7]),
    ...     temperature=tf.constant([0.8]),
    ...     top_k=tf.constant([0]),
    ...     top_p=tf.constant([1.0]),
    ...     seed=tf.constant([1], tf.int64),
    ... )
    >>> generated.ids.shape
    TensorShape([1, 7])

    Args:
      model: The model, trained or frozen.
      prompt: The ids of the prompts, `[batch, longest]`, int32, `PADDING` after the end; a row may
        be empty.
      length: The number of characters to add to each row, `[batch]`, int32.
      temperature: The divisor of the logits, `[batch]`, float32; 0 takes the likeliest character.
      top_k: The number of likeliest characters that may be drawn, `[batch]`, int32; 0 for all.
      top_p: The probability that the likeliest characters which may be drawn make up, `[batch]`,
        float32, in (0, 1].
      seed: The seed of each row, `[batch]`, int64: the same seed gives the same text, whatever else
        is in the batch.
      stop: The stop string of each row, `[batch, MAX_STOP]`, int32, `PADDING` before its first
        character: a row ends once its last characters are these. All `PADDING`, or None, does not
        stop.
      alternatives: The number k of likeliest characters whose probabilities are returned.
      state: The state before the prompts; None for the initial state.

    Returns:
      The added characters; see `Generated`.
    """
    batch = shape_of(prompt)[0]
    if stop is None:
        stop = tf.fill([batch, MAX_STOP], PADDING)
    state = read(model, prompt, initial_state(model, batch) if state is None else state)
    longest = tf.reduce_max(tf.concat([length, [0]], axis=0))
    uniform = _uniform(seed, state.drawn, longest)
    decode = model.decode_step()
    draw = sampler(temperature, top_k, top_p, model.vocabulary_size)
    any_character = stop == PADDING
    stops = ~tf.reduce_all(any_character, axis=1)

    def has_stopped(state: TextState) -> tf.Tensor:
        return stops & tf.reduce_all((state.recent == stop) | any_character, axis=1)

    def add_character(
        step: tf.Tensor,
        active: tf.Tensor,
        added: tf.Tensor,
        state: TextState,
        *arrays: tf.TensorArray,
    ) -> tuple:
        logits, output = decode(state.characters)
        drawn = draw(logits, uniform[:, step])
        new = TextState(
            characters=CharacterState(drawn, *output.state),
            drawn=state.drawn + 1,
            recent=tf.concat([state.recent[:, 1:], drawn[:, None]], axis=1),
        )
        state = choose_rows(active, new, state)
        added += tf.cast(active, tf.int32)
        step += 1
        written = [one.write(step, part) for one, part in zip(arrays, (drawn, logits), strict=True)]
        active &= (step < length) & ~has_stopped(state)
        return step, active, added, state, *written

    # Arrays to which nothing was written cannot be read; the first entry is dropped again.
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
    ids, scores, likeliest, likeliest_scores = _report(ids, logits, added, alternatives)
    return Generated(
        ids=ids,
        log_probabilities=scores,
        alternatives=likeliest,
        alternative_log_probabilities=likeliest_scores,
        lengths=added,
        stopped=has_stopped(state) & (added > 0),
        state=state,
    )


def _report(
    ids: tf.Tensor, logits: tf.Tensor, added: tf.Tensor, alternatives: int | tf.Tensor
) -> list[tf.Tensor]:
    """Returns the first fields of `Generated` from ids `[longest, batch]` and their logits."""
    log_probabilities = tf.nn.log_softmax(logits)
    likeliest_scores, likeliest = tf.math.top_k(log_probabilities, alternatives)
    within = tf.range(tf.shape(ids)[0])[:, None] < added
    fields = (
        tf.where(within, ids, PADDING),
        tf.where(within, tf.gather(log_probabilities, ids, batch_dims=2), 0.0),
        tf.where(within[..., None], likeliest, PADDING),
        tf.where(within[..., None], likeliest_scores, 0.0),
    )
    return [tf.transpose(field, [1, 0, *range(2, len(field.shape))]) for field in fields]


def _uniform(seed: tf.Tensor, drawn: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """Returns the random numbers of each row from its `drawn`-th on, `[batch, count]`, in [0, 1).

    SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014): the
    n-th number is a hash of the seed and n, so that it does not need those before it.
    """
    first = tf.cast(drawn, tf.int64)[:, None] + tf.range(tf.cast(count, tf.int64))
    counter = tf.cast(first, tf.uint64) * tf.constant(0x9E3779B97F4A7C15, tf.uint64)
    mixed = _mix(_mix(tf.bitcast(seed, tf.uint64))[:, None] + counter)
    return tf.cast(tf.bitwise.right_shift(mixed, _shift(40)), tf.float32) * 2.0**-24


def _mix(z: tf.Tensor) -> tf.Tensor:
    """Applies the finalizer of SplitMix64."""
    for bits, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _shift(bits)))
        z *= tf.constant(factor, tf.uint64)
    return tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, _shift(31)))


def _shift(bits: int) -> tf.Tensor:
    return tf.constant(bits, tf.uint64)


def score(model: LanguageModel, ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes how well a model predicts texts from their first character on.

    >>> model = CharacterModel(ModelConfig(layers=1, units=8), vocabulary_size=5)
    >>> bits, log_probabilities = score(model, tf.constant([[0, 1, 2, -1]]))
    >>> log_probabilities.shape
    TensorShape([1, 4])

    Args:
      model: The model, trained or frozen.
      ids: The characters, `[batch, longest]`, int32, `PADDING` after the end of each row, at least
        one column.

    Returns:
      Bits per character, `[batch]`, 0 for an empty row; and ln p of each character,
      `[batch, longest]`, 0 after the end.
    """
    logits, _ = model(tf.maximum(ids, 0), model.initial_state(tf.shape(ids)[0]))
    losses, counted = character_losses(logits, ids)
    totals = tf.math.divide_no_nan(tf.reduce_sum(losses, axis=0), tf.reduce_sum(counted, axis=0))
    return totals / tf.math.log(2.0), -tf.transpose(losses)


def embed(model: LanguageModel, ids: tf.Tensor) -> tf.Tensor:
    """Computes feature vectors of texts: the hidden vectors of all layers after the last character.

    Args:
      model: The model, trained or frozen.
      ids: The characters, `[batch, longest]`, int32, `PADDING` after the end of each row.

    Returns:
      The features, bottom layer first, `[batch, layers * units]`, float32.
    """
    batch = tf.shape(ids)[0]
    state = read(model, ids, initial_state(model, batch)).characters
    _, output = model.decode_step()(state)
    hidden = tf.transpose(output.state.hidden, [1, 0, 2])
    return tf.reshape(hidden, [batch, model.config.layers * model.config.units])
