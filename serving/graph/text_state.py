"""The state of a text as one vector, which `generate` returns and accepts; opaque to clients.

    numbers         content
    2               fingerprint of the model, 24 bits each
    1               characters drawn so far, modulo 2^24
    1               id of the last character
    MAX_STOP        ids of the characters generated last
    layers * units  hidden vectors, bottom first
    layers * units  memory vectors, bottom first

All are float32, which holds integers up to 2^24 exactly. A vector without numbers stands for a text
of which nothing has been read.
"""

import hashlib

import numpy as np
import tensorflow as tf

from model.language_model.forward import CharacterState
from model.language_model.frozen import FrozenCharacterModel
from model.language_model.sampling import MAX_STOP, TextState, initial_state
from model.text.vocabulary import PADDING
from serving.graph.checks import Check, broadcast_rows

_EXACT = 2**24
_HEADER = 4 + MAX_STOP


def state_size(model: FrozenCharacterModel) -> int:
    """Returns the number of numbers in a state, `20 + 2 * layers * units`."""
    return _HEADER + 2 * model.config.layers * model.config.units


def model_fingerprint(model: FrozenCharacterModel, vocabulary: str) -> np.ndarray:
    """Computes the fingerprint of a model, by which it recognises its own states.

    Args:
      model: The model, with the weights that it is served with.
      vocabulary: The vocabulary as text.

    Returns:
      `[2]`, float32; different for models of different architecture, weights or vocabulary.
    """
    digest = hashlib.sha256(f"{model.config}\n{vocabulary}".encode())
    for weight in model.variables:
        digest.update(weight.numpy().tobytes())
    bits = int.from_bytes(digest.digest()[:6], "big")
    return np.array(divmod(bits, _EXACT), np.float32)


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
        tf.cast(state.drawn[:, None] % _EXACT, tf.float32),
        tf.cast(characters.previous, tf.float32)[:, None],
        tf.cast(state.recent, tf.float32),
    ]
    for part in (characters.hidden, characters.memory):
        width = part.shape[0] * part.shape[2]
        numbers.append(tf.reshape(tf.transpose(part, [1, 0, 2]), [batch, width]))
    return tf.concat(numbers, axis=1)


def unpack(vectors: tf.Tensor, model: FrozenCharacterModel) -> TextState:
    """Unpacks vectors `[batch, state_size]` into the states that `pack` was given."""
    layers, units = model.config.layers, model.config.units
    header, hidden, memory = tf.split(vectors, [_HEADER, layers * units, layers * units], axis=1)
    # A state that a client made up must not fail the other rows of its batch.
    whole = tf.cast(tf.clip_by_value(header, PADDING, _EXACT), tf.int32)
    hidden, memory = (
        tf.transpose(tf.reshape(part, [-1, layers, units]), [1, 0, 2]) for part in (hidden, memory)
    )
    previous = tf.clip_by_value(whole[:, 3], 0, model.vocabulary_size)
    drawn = tf.maximum(whole[:, 2], 0)
    characters = CharacterState(previous=previous, hidden=hidden, memory=memory)
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
    size = state_size(model)
    width = tf.shape(vectors)[1]

    def wrong_size() -> tf.Tensor:
        return tf.strings.join(
            ["state has ", tf.strings.as_string(width), f" numbers; it is to have the {size} of a "
             "state that this model returned, or none for a text that begins"]
        )  # fmt: skip

    fingerprints = tf.pad(vectors, [[0, 0], [0, 2]])[:, :2]
    return [
        Check((width == 0) | (width == size), wrong_size),
        Check(
            (width == 0) | tf.reduce_all(fingerprints == fingerprint),
            lambda: tf.constant(
                "state is of another model version; begin anew, with a state of no numbers"
            ),
        ),
    ]


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
    return tf.cond(
        tf.shape(vectors)[1] == 0,
        lambda: pack(initial_state(model, rows), fingerprint),
        lambda: tf.reshape(broadcast_rows(vectors, rows), [-1, state_size(model)]),
    )
