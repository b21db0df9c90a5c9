"""Search for likely translations, by one hypothesis or a beam of them, within the graph."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from ..config import require_integer, require_range
from ..errors import InputError
from ..text.word_vocabulary import BEGIN, END, PADDING

MAX_BEAM_WIDTH = 128
"""The largest number of hypotheses of a beam."""

MAX_WORDS = 512
"""The largest number of words of a translation."""


class Translator(Protocol):
    """A model that computes p(t_j | t_1, ..., t_{j-1}, s) word by word, such as the `Reencoder`."""

    def initial_state(self, source_ids: tf.Tensor) -> Any:
        """Returns the state before the first target word.

        Args:
          source_ids: The source ids, `[batch, source]`, int32, 0 for padding.

        Returns:
          A structure of tensors `[batch, ...]`.
        """

    def step(self, ids: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """Reads a target word of each row, and computes the logits of the next one.

        Args:
          ids: The words, `[batch]`, int32.
          state: The state, of `initial_state` or of the step before. Rows do not mix.

        Returns:
          The logits, `[batch, vocabulary]`, and the new state.
        """


class Translations(NamedTuple):
    """The translations of a batch of sentences, the best of each sentence first.

    Attributes:
      ids: The ids of the words, `[batch, count, max_words]`, int32, without those of beginning and
        end, 0 after the last word.
      scores: The scores, `[batch, count]`, float32; -inf where there are fewer translations.
    """

    ids: tf.Tensor
    scores: tf.Tensor


def greedy_search(
    model: Translator,
    source_ids: tf.Tensor,
    max_words: int = 32,
    begin: int = BEGIN,
    end: int = END,
) -> Translations:
    """Translates by the likeliest word at each place.

    After `max_words` words the end follows, whatever its probability. Padding and the beginning are
    never chosen.

    >>> from model import Reencoder
    >>> model = Reencoder(source_vocabulary_size=20, target_vocabulary_size=30, units=8)
    >>> found = greedy_search(model, np.array([[5, 7, 4], [9, 0, 0]]), max_words=6)
    >>> found.ids.shape, found.scores.shape
    (TensorShape([2, 1, 6]), TensorShape([2, 1]))

    Args:
      model: The model.
      source_ids: The source ids, `[batch, source]`, int32, 0 for padding.
      max_words: The largest number of words of a translation, at most `MAX_WORDS`. Default 32.
      begin: The id that stands for the beginning of a target.
      end: The id that stands for its end.

    Returns:
      One translation for each sentence; its score is ln p of its words and its end.

    Raises:
      InputError: If an argument is invalid.
    """
    _require_bounds(max_words, begin, end)
    batch = tf.shape(source_ids)[0]

    def body(
        step: tf.Tensor, last: tf.Tensor, is_open: tf.Tensor, found: Translations, state: Any
    ) -> tuple:
        log_p, state = _log_probabilities(model, last, state)
        chosen = tf.argmax(_without(log_p, PADDING, begin), axis=-1, output_type=tf.int32)
        chosen = tf.where(step < max_words, chosen, end)
        gained = tf.where(is_open, tf.gather(log_p, chosen, axis=1, batch_dims=1), 0.0)
        is_open &= chosen != end
        words = tf.where(is_open, chosen, PADDING)
        ids = _written(found.ids, words[:, None], step)
        return step + 1, chosen, is_open, Translations(ids, found.scores + gained[:, None]), state

    loop = (
        tf.constant(0),
        tf.fill([batch], begin),
        tf.fill([batch], True),
        Translations(tf.zeros([batch, 1, max_words], tf.int32), tf.zeros([batch, 1])),
        _start(model, source_ids, 1),
    )
    return _loop(lambda _, __, is_open, *___: tf.reduce_any(is_open), body, loop)[3]


def beam_search(
    model: Translator,
    source_ids: tf.Tensor,
    beam_width: int = 4,
    max_words: int = 32,
    length_power: float = 0.0,
    begin: int = BEGIN,
    end: int = END,
) -> Translations:
    """Searches for the likeliest translations, among those that a beam of hypotheses leads to.

    At each place the `beam_width` likeliest hypotheses that have not ended are continued by every
    word, and so are reduced to as many again. Each of them is also ended there, and the best
    `beam_width` of all that have ended, by their score

        ln p(t_1, ..., t_n, end | s) / (n + 1)^length_power

    are the result. The search of a batch ends where no hypothesis can reach a better score any
    more. With a beam as wide as the number of all hypotheses of a length the search is exact.
    Padding and the beginning are never words of a translation.

    >>> from model import Reencoder
    >>> model = Reencoder(source_vocabulary_size=20, target_vocabulary_size=30, units=8)
    >>> search = tf.function(lambda ids: beam_search(model, ids, beam_width=3, max_words=6))
    >>> found = search(tf.constant([[5, 7, 4], [9, 0, 0]]))
    >>> found.ids.shape, found.scores.shape
    (TensorShape([2, 3, 6]), TensorShape([2, 3]))

    Args:
      model: The model.
      source_ids: The source ids, `[batch, source]`, int32, 0 for padding.
      beam_width: The number of hypotheses, and of translations of each sentence, at most
        `MAX_BEAM_WIDTH`. Default 4.
      max_words: The largest number of words of a translation, at most `MAX_WORDS`. Default 32.
      length_power: The power of the length that scores are divided by, from 0, the default, for
        none, to 1 for ln p per word.
      begin: The id that stands for the beginning of a target.
      end: The id that stands for its end.

    Returns:
      The best `beam_width` translations of each sentence, the best first.

    Raises:
      InputError: If an argument is invalid.
    """
    _require_bounds(max_words, begin, end)
    width = require_integer("beam_width", beam_width, 1)
    require_range("beam_width", width, 1, MAX_BEAM_WIDTH + 1)
    if not 0 <= length_power <= 1:
        raise InputError(f"length_power is {length_power}; it must be from 0 to 1")
    batch = tf.shape(source_ids)[0]

    def score(log_p: tf.Tensor, words: tf.Tensor | int) -> tf.Tensor:
        return log_p / (tf.cast(words, tf.float32) + 1.0) ** length_power

    def body(
        step: tf.Tensor, last: tf.Tensor, beam: Translations, ended: Translations, state: Any
    ) -> tuple:
        log_p, state = _log_probabilities(model, last, state)
        vocabulary = log_p.shape[-1]
        log_p = tf.reshape(log_p, [batch, width, vocabulary]) + beam.scores[:, :, None]
        ended = _best(ended, Translations(beam.ids, score(log_p[:, :, end], step)), width)
        going = tf.reshape(_without(log_p, PADDING, begin, end), [batch, width * vocabulary])
        scores, best = tf.math.top_k(going, width)
        parent, word = best // vocabulary, best % vocabulary
        ids = _written(tf.gather(beam.ids, parent, axis=1, batch_dims=1), word, step)
        rows = tf.reshape(parent + width * tf.range(batch)[:, None], [-1])
        state = tf.nest.map_structure(lambda part: tf.gather(part, rows), state)
        return step + 1, tf.reshape(word, [-1]), Translations(ids, scores), ended, state

    def continues(
        step: tf.Tensor, _: tf.Tensor, beam: Translations, ended: Translations, __: Any
    ) -> tf.Tensor:
        # ln p only falls, and is divided by no more than the greatest length.
        bound = score(tf.reduce_max(beam.scores, axis=1), max_words)
        return (step <= max_words) & tf.reduce_any(bound > ended.scores[:, -1])

    no_words = tf.zeros([batch, width, max_words], tf.int32)
    nothing = tf.fill([batch, width], -float("inf"))
    # All hypotheses are the same at first, so that one of them stands for all.
    first = tf.where(tf.range(width) == 0, 0.0, nothing)
    loop = (
        tf.constant(0),
        tf.fill([batch * width], begin),
        Translations(no_words, first),
        Translations(no_words, nothing),
        _start(model, source_ids, width),
    )
    return _loop(continues, body, loop)[3]


def _require_bounds(max_words: int, begin: int, end: int) -> None:
    """Checks the arguments that both searches have."""
    require_range("max_words", require_integer("max_words", max_words, 1), 1, MAX_WORDS + 1)
    if begin == end or PADDING in (begin, end):
        raise InputError(
            f"begin is {begin} and end {end}; they must differ from each other and from the id "
            f"{PADDING} of padding"
        )


def _start(model: Translator, source_ids: tf.Tensor, width: int) -> Any:
    """Returns the state of each hypothesis before the first word, those of a sentence in a row."""
    state = model.initial_state(source_ids)
    return tf.nest.map_structure(lambda part: tf.repeat(part, width, axis=0), state)


def _log_probabilities(model: Translator, ids: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
    """Returns ln p of each next word, `[batch, vocabulary]`, float32, and the new state."""
    logits, new_state = model.step(ids, state)
    for part, old in zip(tf.nest.flatten(new_state), tf.nest.flatten(state), strict=True):
        part.set_shape(old.shape)  # as loops ask for it
    return tf.nn.log_softmax(tf.cast(logits, tf.float32)), new_state


def _without(log_p: tf.Tensor, *ids: int) -> tf.Tensor:
    """Returns ln p of each word, but -inf for some ids."""
    left_out = tf.reduce_any(tf.range(log_p.shape[-1])[:, None] == tf.constant(ids), axis=1)
    return tf.where(left_out, -float("inf"), log_p)


def _written(ids: tf.Tensor, word: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Returns words `[..., max_words]` with one `[...]` at a place, if there is such a place."""
    return tf.where(tf.range(ids.shape[-1]) == place, word[..., None], ids)


def _best(first: Translations, second: Translations, count: int) -> Translations:
    """Returns the best of two sets of translations."""
    scores, places = tf.math.top_k(tf.concat([first.scores, second.scores], axis=1), count)
    ids = tf.gather(tf.concat([first.ids, second.ids], axis=1), places, axis=1, batch_dims=1)
    return Translations(ids, scores)


def _loop(continues: Callable, body: Callable, variables: tuple) -> tuple:
    """Runs a loop over words, in which the number of rows need not be known in advance."""
    shapes = tf.nest.map_structure(
        lambda part: tf.TensorShape([None, *part.shape[1:]] if part.shape.rank else []), variables
    )
    return tf.while_loop(continues, body, variables, shape_invariants=shapes)
