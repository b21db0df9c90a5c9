"""The state of a text as one vector, which `generate` returns and accepts; opaque to clients.

    numbers         content
    2               fingerprint of the model, 24 bits each
    1               characters drawn so far, modulo 2^24
    1               id of the last character
    MAX_STOP        ids of the characters generated last
    layers * units  hidden vectors, bottom first; a recurrent highway network has 1 layer of them
    layers * width  memory vectors, bottom first; their width is `units`, unless the cell has more
    state_width     of each context in turn; see `model.contexts.context`

All are float32, which holds integers up to 2^24 exactly. A vector without numbers stands for a text
of which nothing has been read.
"""

import numpy as np
import tensorflow as tf

from model.language_model.forward import CharacterState
from model.language_model.frozen import FrozenCharacterModel
from model.language_model.sampling import MAX_STOP, TextState, initial_state
from model.text.vocabulary import PADDING
from serving.graph.checks import Check
from serving.graph.state_vectors import (
    EXACT,
    fingerprint_of,
    flatten_layers,
    full_vectors,
    unflatten_layers,
    vector_checks,
)

_HEADER = 4 + MAX_STOP


def state_size(model: FrozenCharacterModel) -> int:
    """Returns the number of numbers in a state, `20 + 2 * layers * units` for an LSTM."""
    of_core = model.state_layers * (model.config.units + model.memory_width)
    return _HEADER + of_core + sum(model.context_widths)


def model_fingerprint(model: FrozenCharacterModel, vocabulary: str) -> np.ndarray:
    """Computes the fingerprint of a model, by which it recognises its own states.

    Args:
      model: The model, with the weights that it is served with.
      vocabulary: The vocabulary as text.

    Returns:
      `[2]`, float32; different for models of different architecture, weights or vocabulary.
    """
    weights = (weight.numpy() for weight in model.variables)
    # A model without contexts has the fingerprint that it had before there were any.
    config = str(model.config).replace(", contexts=()", "")
    return fingerprint_of(f"{config}\n{vocabulary}", weights)


def pack(state: TextState, fingerprint: np.ndarray) -> tf.Tensor:
    """Packs the states of texts into vectors `[batch, state_size]`.

    Args:
      state: States of the texts.
      fingerprint: Fingerprint of the model, `[2]`.
    """
    characters = state.characters
    batch = tf.shape(state.drawn)[0]
    numbers = [
        tf.broadcast_to(fingerprint, [batch, 2]),
        tf.cast(state.drawn[:, None] % EXACT, tf.float32),
        tf.cast(characters.previous, tf.float32)[:, None],
        tf.cast(state.recent, tf.float32),
        *flatten_layers((characters.hidden, characters.memory), batch),
        *characters.contexts,
    ]
    return tf.concat(numbers, axis=1)


def unpack(vectors: tf.Tensor, model: FrozenCharacterModel) -> TextState:
    """Unpacks vectors `[batch, state_size]` into the states that `pack` was given."""
    shapes = [(model.state_layers, width) for width in (model.config.units, model.memory_width)]
    sizes = [_HEADER, *(layers * width for layers, width in shapes), *model.context_widths]
    header, *parts = tf.split(vectors, sizes, axis=1)
    vectors_of_layers, contexts = parts[: len(shapes)], tuple(parts[len(shapes) :])
    # A state that a client made up must not fail the other rows of its batch.
    whole = tf.cast(tf.clip_by_value(header, PADDING, EXACT), tf.int32)
    hidden, memory = unflatten_layers(vectors_of_layers, shapes)
    previous = tf.clip_by_value(whole[:, 3], 0, model.vocabulary_size)
    drawn = tf.maximum(whole[:, 2], 0)
    characters = CharacterState(previous, hidden, memory, contexts)
    return TextState(characters=characters, drawn=drawn, recent=whole[:, 4:])


def state_checks(
    vectors: tf.Tensor, model: FrozenCharacterModel, fingerprint: np.ndarray
) -> list[Check]:
    """Returns the checks that vectors of a request are states of this model, or without numbers.

    Args:
      vectors: Vectors `[batch, any]`.
      model: The model.
      fingerprint: Its fingerprint, `[2]`.
    """
    return vector_checks(vectors, state_size(model), fingerprint, "text")


def full_states(
    vectors: tf.Tensor, rows: tf.Tensor, model: FrozenCharacterModel, fingerprint: np.ndarray
) -> tf.Tensor:
    """Returns states `[rows, state_size]` for vectors that pass `state_checks`.

    Args:
      vectors: Vectors `[1 or rows, state_size]`, or `[any, 0]` for initial states.
      rows: Number of texts, a scalar.
      model: The model.
      fingerprint: Its fingerprint, `[2]`.
    """
    return full_vectors(
        vectors,
        rows,
        state_size(model),
        lambda: pack(initial_state(model, rows), fingerprint),
    )
