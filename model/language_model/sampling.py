"""Sampling of texts from a character model, and scores and embeddings of given texts."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from ..shapes import shape_of
from ..text.vocabulary import PADDING
from .drawing import sampler, uniform_numbers
from .forward import CharacterState, LanguageModel, choose_rows
from .losses import character_losses

MAX_STOP = 16
"""The largest number of characters of a stop string."""

WINDOW = 500
"""The number of characters of a text that are read at once, which bounds the memory of a text."""


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
        def read_window(
            window: tf.Tensor, characters: CharacterState
        ) -> tuple[CharacterState, tuple[()]]:
            return model(tf.maximum(window, 0), characters, keep=window != PADDING)[1], ()

        characters, _ = _over_windows(ids, state.characters, read_window)
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
    compiled_columns: int | None = None,
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
      top_p: The cumulative probability of the candidates (nucleus sampling), `[batch]`, float32, in
        (0, 1]; 1 for all.
      seed: The seed of each row, `[batch]`, int64: the same seed gives the same text, whatever else
        is in the batch.
      stop: The stop string of each row, `[batch, MAX_STOP]`, int32, `PADDING` before its first
        character: a row ends once its last characters are these. All `PADDING`, or None, does not
        stop.
      alternatives: The number k of likeliest characters whose probabilities are returned.
      state: The state before the prompts; None for the initial state.
      compiled_columns: The number of columns of the result, no smaller than any length, for a loop
        that XLA compiles, for each size of the batch anew. One text of a small model is faster so,
        as its operations take less time than to start them. None, the default, for a loop that is
        not compiled.

    Returns:
      The added characters; see `Generated`.
    """
    batch = shape_of(prompt)[0]
    if stop is None:
        stop = tf.fill([batch, MAX_STOP], PADDING)
    state = read(model, prompt, initial_state(model, batch) if state is None else state)
    write = functools.partial(_write, model, columns=compiled_columns)
    if compiled_columns is not None:
        write = tf.function(write, autograph=False, jit_compile=True)
    ids, logits, added, stopped, state = write(length, temperature, top_k, top_p, seed, stop, state)
    ids, scores, likeliest, likeliest_scores = _report(ids, logits, added, alternatives)
    return Generated(
        ids=ids,
        log_probabilities=scores,
        alternatives=likeliest,
        alternative_log_probabilities=likeliest_scores,
        lengths=added,
        stopped=stopped,
        state=state,
    )


def _write(
    model: LanguageModel,
    length: tf.Tensor,
    temperature: tf.Tensor,
    top_k: tf.Tensor,
    top_p: tf.Tensor,
    seed: tf.Tensor,
    stop: tf.Tensor,
    state: TextState,
    columns: int | None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, TextState]:
    """Adds characters one after the other; see `generate`.

    Returns:
      The ids, `[columns, batch]`, and their logits, `[columns, batch, vocabulary]`, up to the
      longest row or as many as given; the number of characters of each row, `[batch]`; whether its
      stop string ended it, `[batch]`; and the state.
    """
    batch = shape_of(length)[0]
    longest = tf.reduce_max(tf.concat([length, [0]], axis=0)) if columns is None else columns
    uniform = uniform_numbers(seed, state.drawn, longest)
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
            characters=CharacterState.after(drawn, output),
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
    # XLA knows no sizes but constants, and its arrays begin as zeros.
    read_all = [
        one.gather(tf.range(steps + 1)) if columns is None else one.stack() for one in arrays
    ]
    ids, logits = (one[1:] for one in read_all)
    return ids, logits, added, has_stopped(state) & (added > 0), state


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

    def score_window(
        window: tf.Tensor, characters: CharacterState
    ) -> tuple[CharacterState, tuple[tf.Tensor, ...]]:
        logits, characters = model(tf.maximum(window, 0), characters)
        return characters, character_losses(logits, window)

    start = model.initial_state(tf.shape(ids)[0])
    _, (losses, counted) = _over_windows(ids, start, score_window, outputs=2)
    totals = tf.math.divide_no_nan(tf.reduce_sum(losses, axis=0), tf.reduce_sum(counted, axis=0))
    return totals / tf.math.log(2.0), -tf.transpose(losses)


def _over_windows(
    ids: tf.Tensor,
    state: CharacterState,
    step: Callable[[tf.Tensor, CharacterState], tuple[CharacterState, tuple[tf.Tensor, ...]]],
    outputs: int = 0,
) -> tuple[CharacterState, tuple[tf.Tensor, ...]]:
    """Reads texts in windows, so that memory does not grow with their length.

    Args:
      ids: The characters, `[batch, longest]`, int32, at least one column.
      state: The state before them.
      step: Maps the ids of a window, `[batch, window]`, and the state before it to the state after
        it and to outputs `[window, batch]`, float32.
      outputs: The number of outputs. Default 0.

    Returns:
      The state after the last window, and the outputs of all, `[longest, batch]`.
    """
    batch, longest = tf.shape(ids)[0], tf.shape(ids)[1]
    size = tf.minimum(longest, WINDOW)
    count = -(-longest // size)
    padded = tf.pad(ids, [[0, 0], [0, count * size - longest]], constant_values=PADDING)
    parts = tf.nest.flatten(state)
    shapes = [part.shape for part in parts]

    def body(number: tf.Tensor, *carried: tf.Tensor | tf.TensorArray) -> tuple:
        window = padded[:, number * size : (number + 1) * size]
        before = tf.nest.pack_sequence_as(state, carried[: len(shapes)])
        after, found = step(window, before)
        arrays = [
            array.write(number, one)
            for array, one in zip(carried[len(shapes) :], found, strict=True)
        ]
        after = tf.nest.flatten(after)
        kept = [tf.ensure_shape(part, shape) for part, shape in zip(after, shapes, strict=True)]
        return number + 1, *kept, *arrays

    arrays = [
        tf.TensorArray(tf.float32, count, element_shape=[None, ids.shape[0]])
        for _ in range(outputs)
    ]
    _, *carried = tf.while_loop(lambda number, *_: number < count, body, (0, *parts, *arrays))
    joined = tuple(
        tf.reshape(array.stack(), [count * size, batch])[:longest]
        for array in carried[len(shapes) :]
    )
    return tf.nest.pack_sequence_as(state, carried[: len(shapes)]), joined


def embed(model: LanguageModel, ids: tf.Tensor) -> tf.Tensor:
    """Computes feature vectors of texts: the hidden vectors of all layers after the last character.

    Args:
      model: The model, trained or frozen.
      ids: The characters, `[batch, longest]`, int32, `PADDING` after the end of each row.

    Returns:
      The features, bottom layer first, `[batch, state_layers * units]`, float32.
    """
    batch = tf.shape(ids)[0]
    state = read(model, ids, initial_state(model, batch)).characters
    _, output = model.decode_step()(state)
    hidden = tf.transpose(output.state.hidden, [1, 0, 2])
    return tf.reshape(hidden, [batch, model.state_layers * model.config.units])
