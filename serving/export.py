"""The SavedModel: the signatures by which a character model is asked, whoever serves it."""

import dataclasses
import os

import tensorflow as tf

from model import sampling
from model.alphabet import Alphabet
from model.character_model import CharacterModel, CharacterState, character_losses

VOCABULARY = os.path.join("assets", "vocabulary.txt")


@dataclasses.dataclass
class _Untracked:
    """Keeps a Keras model out of what a SavedModel tracks.

    Keras 3's variables wrap TensorFlow's. Tracked through a model they are saved under one name and
    used under another, which only TensorFlow 2's own loader puts together again.
    """

    model: CharacterModel


class ServedModel(tf.Module):
    """A character model whose inputs and outputs are text.

    Every tensor has the batch as its first dimension, so that servers can merge requests. No
    function is compiled by XLA, which a stock TensorFlow Serving refuses.
    """

    def __init__(self, model: CharacterModel, alphabet: Alphabet, vocabulary: str):
        super().__init__()
        self._untracked = _Untracked(model)
        self.weights = [variable.value for variable in model.weights]
        self.vocabulary = tf.saved_model.Asset(vocabulary)
        self._alphabet = alphabet

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.string, "prompt"),
            tf.TensorSpec([None], tf.int32, "length"),
            tf.TensorSpec([None], tf.float32, "temperature"),
            tf.TensorSpec([None], tf.int32, "top_k"),
            tf.TensorSpec([None], tf.float32, "top_p"),
            tf.TensorSpec([None], tf.int64, "seed"),
        ],
    )
    def generate(self, prompt, length, temperature, top_k, top_p, seed):
        """Continues prompts; see `sampling.generate`.

        Args:
          prompt: string; may be empty.
          length: int32, characters to add, at most `sampling.MAX_LENGTH`.
          temperature: float32, at least 0; 0 takes the likeliest character.
          top_k: int32, only the k likeliest characters; 0 for all.
          top_p: float32 in (0, 1], only the likeliest characters that make up this probability.
          seed: int64, the same seed gives the same text, whatever else is in the batch.

        Returns:
          text: string, what was added.
          log_probabilities: `[batch, longest length]`, float32, ln p of each added character under
            the model itself, 0 after the end of a row.
          state: `[batch, 2 * layers * units + 1]`, float32, what the text has left behind.
        """
        limit = sampling.MAX_LENGTH
        checks = [
            _check(length, length >= 0, "length", "must not be negative"),
            _check(length, length <= limit, "length", f"is over the limit of {limit} characters"),
            _check(temperature, temperature >= 0, "temperature", "must not be negative"),
            _check(top_k, top_k >= 0, "top_k", "must not be negative"),
            _check(top_p, (top_p > 0) & (top_p <= 1), "top_p", "must be above 0 and at most 1"),
        ]
        with tf.control_dependencies(checks):
            ids = self._alphabet.assert_known(prompt)
        choice = sampling.Choice(temperature, top_k, top_p, seed)
        generated = sampling.generate(self._untracked.model, ids, length, choice)
        return {
            "text": self._alphabet.decode(generated.ids),
            "log_probabilities": generated.log_probabilities,
            "state": sampling.flatten_state(generated.state),
        }

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def score(self, text):
        """How well texts are predicted; see `sampling.score`.

        Args:
          text: string.

        Returns:
          bits_per_character: float32, 0 for an empty text.
          log_probabilities: `[batch, longest text]`, float32, ln p of each character, 0 after the
            end of a row.
        """
        bits, log_probabilities = sampling.score(
            self._untracked.model, self._alphabet.assert_known(text)
        )
        return {"bits_per_character": bits, "log_probabilities": log_probabilities}

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None, None], tf.int32, "ids"),
            tf.TensorSpec([None], tf.int32, "previous"),
            tf.TensorSpec(None, tf.float32, "hidden"),
            tf.TensorSpec(None, tf.float32, "memory"),
        ],
    )
    def evaluate_window(self, ids, previous, hidden, memory):
        """One window of parallel streams, for the Evaluator; not a signature.

        Args:
          ids: `[streams, window]`, int32; what is no character of the vocabulary does not count.
          previous: see `CharacterState`; likewise hidden and memory.

        Returns:
          nats, hits and characters, each summed over the window, and the state.
        """
        model = self._untracked.model
        config = model.config
        shape = [config.layers, None, config.units]
        hidden, memory = tf.ensure_shape(hidden, shape), tf.ensure_shape(memory, shape)
        state = CharacterState(previous, hidden, memory)
        logits, state = model(tf.maximum(ids, 0), state)
        losses, counted = character_losses(logits, ids)
        hits = tf.cast(tf.argmax(logits, -1, tf.int32) == tf.transpose(ids), losses.dtype)
        sums = tf.reduce_sum(losses), tf.reduce_sum(hits * counted), tf.reduce_sum(counted)
        return sums, tuple(state)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int32, "streams")])
    def initial_state(self, streams):
        """The state for `evaluate_window` before the first window."""
        return tuple(self._untracked.model.initial_state(streams))


def _check(values, valid, name, problem):
    """An assertion that names the first value that is not valid."""
    invalid = tf.boolean_mask(values, tf.logical_not(valid))
    first = tf.concat([invalid, tf.zeros([1], values.dtype)], axis=0)[0]
    shown = tf.strings.as_string(first, shortest=first.dtype.is_floating)
    message = tf.strings.join([name, " ", shown, " ", problem])
    return tf.debugging.Assert(tf.size(invalid) == 0, [message])


def export(model: CharacterModel, alphabet: Alphabet, directory: str) -> None:
    """Writes a SavedModel with the signatures `generate`, `score` and `serving_default`.

    `serving_default` is `generate`. The vocabulary is in `assets/vocabulary.txt`.
    """
    # A model trained by a strategy has mirrored variables; the export is to have plain ones.
    plain = CharacterModel(model.config, model.vocabulary_size)
    plain.set_weights(model.get_weights())
    scratch = directory + ".vocabulary"
    tf.io.gfile.makedirs(scratch)
    vocabulary = os.path.join(scratch, "vocabulary.txt")
    with tf.io.gfile.GFile(vocabulary, "w") as file:
        file.write(alphabet.to_text())
    served = ServedModel(plain, alphabet, vocabulary)
    generate = served.generate.get_concrete_function()
    signatures = {
        "serving_default": generate,
        "generate": generate,
        "score": served.score.get_concrete_function(),
    }
    # Nobody trains a served model, and the hand-written gradients hold on to loops of theirs.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(served, directory, signatures=signatures, options=options)
    tf.io.gfile.rmtree(scratch)


def read_alphabet(directory: str) -> Alphabet:
    """The alphabet of a SavedModel."""
    path = os.path.join(directory, VOCABULARY)
    with tf.io.gfile.GFile(path) as file:
        return Alphabet.from_text(file.read(), path)
