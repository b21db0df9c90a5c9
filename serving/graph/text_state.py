"""The state of a text as one vector: what `generate` returns and takes, opaque to its clients.

    numbers         what
    2               fingerprint of the model, 24 bits each
    1               characters drawn so far, modulo 2^24
    1               id of the last character
    MAX_STOP        ids of the characters generated last
    layers * units  hidden vectors, bottom first
    layers * units  memory vectors, bottom first

All are float32, which holds integers up to 2^24 exactly. A vector of no numbers stands for a text
of which nothing has been read.
"""

import hashlib

import numpy as np
import tensorflow as tf

from model.language_model.character_model import CharacterModel, CharacterState
from model.language_model.sampling import MAX_STOP, TextState, initial_state
from model.text.code_points import PADDING
from serving.graph.checks import Check, for_rows

_EXACT = 2**24
_HEADER = 4 + MAX_STOP


def state_size(model: CharacterModel) -> int:
    """How many numbers a state has."""
    return _HEADER + 2 * model.config.layers * model.config.units


def fingerprint(model: CharacterModel, vocabulary: str) -> np.ndarray:
    """`[2]`, float32; differs between models that differ in architecture, weights or vocabulary."""
    digest = hashlib.sha256(f"{model.config}\n{vocabulary}".encode())
    for weight in model.weights_in_use:
        digest.update(weight.numpy().tobytes())
    bits = int.from_bytes(digest.digest()[:6], "big")
    return np.array(divmod(bits, _EXACT), np.float32)


def pack(state: TextState, mark: np.ndarray) -> tf.Tensor:
    """States as vectors `[batch, state_size]`.

    Args:
      state: of each text.
      mark: the model's fingerprint.
    """
    characters = state.characters
    batch = tf.shape(state.drawn)[0]
    numbers = [
        tf.broadcast_to(mark, [batch, 2]),
        tf.cast(state.drawn[:, None] % _EXACT, tf.float32),
        tf.cast(characters.previous, tf.float32)[:, None],
        tf.cast(state.recent, tf.float32),
    ]
    for part in (characters.hidden, characters.memory):
        width = part.shape[0] * part.shape[2]
        numbers.append(tf.reshape(tf.transpose(part, [1, 0, 2]), [batch, width]))
    return tf.concat(numbers, axis=1)


def unpack(vectors: tf.Tensor, model: CharacterModel) -> TextState:
    """The states that vectors `[batch, state_size]` hold; see `pack`."""
    layers, units = model.config.layers, model.config.units
    header, hidden, memory = tf.split(vectors, [_HEADER, layers * units, layers * units], axis=1)
    # Whatever a client makes up must not fail for those that share its batch.
    whole = tf.cast(tf.clip_by_value(header, PADDING, _EXACT), tf.int32)
    hidden, memory = (
        tf.transpose(tf.reshape(part, [-1, layers, units]), [1, 0, 2]) for part in (hidden, memory)
    )
    previous = tf.clip_by_value(whole[:, 3], 0, model.vocabulary_size)
    drawn = tf.maximum(whole[:, 2], 0)
    return TextState(CharacterState(previous, hidden, memory), drawn, whole[:, 4:])


def continues(vectors: tf.Tensor, model: CharacterModel, mark: np.ndarray) -> list[Check]:
    """What vectors that a client gives are to be: states of this model, or of no numbers."""
    size = state_size(model)
    width = tf.shape(vectors)[1]

    def wrong_size():
        return tf.strings.join(
            ["state has ", tf.strings.as_string(width), f" numbers; it is to have the {size} of a "
             "state that this model returned, or none for a text that begins"]
        )  # fmt: skip

    marks = tf.pad(vectors, [[0, 0], [0, 2]])[:, :2]
    return [
        Check((width == 0) | (width == size), wrong_size),
        Check(
            (width == 0) | tf.reduce_all(marks == mark),
            lambda: tf.constant(
                "state is of another model version; begin anew, with a state of no numbers"
            ),
        ),
    ]


def begun(
    vectors: tf.Tensor, rows: tf.Tensor, model: CharacterModel, mark: np.ndarray
) -> tf.Tensor:
    """Vectors `[rows, state_size]` of those that `continues` holds for."""
    return tf.cond(
        tf.shape(vectors)[1] == 0,
        lambda: pack(initial_state(model, rows), mark),
        lambda: tf.reshape(for_rows(vectors, rows), [-1, state_size(model)]),
    )
