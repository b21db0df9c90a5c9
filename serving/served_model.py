"""The signatures by which a character model is asked, whoever serves it."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from model import inspection, sampling
from model.alphabet import PADDING, Alphabet
from model.character_model import CharacterModel, CharacterState, character_losses
from model.transforms import shape_of
from serving import text_state
from serving.checks import (
    Check,
    all_hold,
    choices_are_possible,
    for_rows,
    one_or_all,
    require,
)

MAX_INSPECTED = 1000
CLASSES = 10
LARGE = 4_000_000  # weights
TEXT_FEATURE = "text"


class Batching(NamedTuple):
    """How requests that arrive together are merged within the graph.

    Attributes:
      max_batch_size: most rows of a merged batch.
      timeout_micros: how long a row waits for others where a thread is free.
      threads: merged batches that run at once, per signature.
      max_enqueued_batches: batches that wait; more are refused as UNAVAILABLE.
      turn: characters that a row generates before it makes room for others.
    """

    max_batch_size: int = 64
    timeout_micros: int = 0
    threads: int = 2
    max_enqueued_batches: int = 1000
    turn: int = 4

    @classmethod
    def usual_for(cls, model: CharacterModel) -> "Batching":
        """What did best under load, of what was tried on two cores.

        Products with large kernels fill all cores, and a batch that is full is worth a short wait;
        with small ones a second batch fills the gaps of the first.
        """
        if model.count_params() < LARGE:
            return cls()
        return cls(timeout_micros=2000, threads=1, turn=8)


@dataclasses.dataclass
class _Untracked:
    """Keeps a Keras model out of what a SavedModel tracks.

    Keras 3's variables wrap TensorFlow's. Tracked through a model they are saved under one name and
    used under another, which only TensorFlow 2's own loader puts together again.
    """

    model: CharacterModel


class ServedModel(tf.Module):
    """A character model whose inputs and outputs are text.

    Every tensor has the batch as its first dimension. Requests are checked one by one and then
    merged, within the graph, with those that arrive at the same time. No function is compiled by
    XLA, which a stock TensorFlow Serving refuses.
    """

    def __init__(
        self, model: CharacterModel, alphabet: Alphabet, assets: list[str], batching: Batching
    ):
        """Takes a model that no strategy mirrors, and files to go among the assets."""
        super().__init__()
        self._untracked = _Untracked(model)
        self.weights = [
            weight.value if isinstance(weight, keras.Variable) else weight
            for weight in model.weights_in_use
        ]
        self.files = [tf.saved_model.Asset(path) for path in assets]
        self._alphabet = alphabet
        self._batching = batching
        self._mark = text_state.fingerprint(model, alphabet.to_text())

    @property
    def _model(self):
        return self._untracked.model

    def signatures(self) -> dict[str, Callable]:
        """The signatures, by name."""
        return {
            "serving_default": self._default_signature(),
            "generate": self._generate_signature(),
            "score": self.score,
            "embed": self.embed,
            "inspect": self.inspect,
            "classify": self.classify,
            "regress": self.regress,
        }

    def _generate_signature(self):
        # The defaults are tensors, which are not to be made when this module is imported.
        default = _defaults()

        @tf.function(
            autograph=False,
            input_signature=[
                tf.TensorSpec([None], tf.string, "prompt"),
                tf.TensorSpec([None], tf.int32, "length"),
                tf.TensorSpec([None], tf.float32, "temperature"),
                tf.TensorSpec([None], tf.int32, "top_k"),
                tf.TensorSpec([None], tf.float32, "top_p"),
                tf.TensorSpec([None], tf.int64, "seed"),
                tf.TensorSpec([None], tf.string, "stop"),
                tf.TensorSpec([None], tf.int32, "alternatives"),
                tf.TensorSpec([None, None], tf.float32, "state"),
            ],
        )
        def generate(
            prompt,
            length=default["length"],
            temperature=default["temperature"],
            top_k=default["top_k"],
            top_p=default["top_p"],
            seed=default["seed"],
            stop=default["stop"],
            alternatives=default["alternatives"],
            state=default["state"],
        ):
            return self.generate(
                prompt, length, temperature, top_k, top_p, seed, stop, alternatives, state
            )

        return generate

    def _default_signature(self):
        default = _defaults()

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
        def serving_default(
            prompt,
            length=default["length"],
            temperature=default["temperature"],
            top_k=default["top_k"],
            top_p=default["top_p"],
            seed=default["seed"],
        ):
            rest = (default[name] for name in ("stop", "alternatives", "state"))
            outputs = self.generate(prompt, length, temperature, top_k, top_p, seed, *rest)
            return {name: outputs[name] for name in ("text", "log_probabilities", "state")}

        return serving_default

    @tf.function(autograph=False)
    def generate(
        self, prompt, length, temperature, top_k, top_p, seed, stop, alternatives, state
    ) -> dict[str, tf.Tensor]:
        """Continues prompts, or texts of which a state is given; see `sampling.generate`.

        All but the prompts may have one row for all of them.

        Args:
          prompt: string; may be empty; at most `sampling.MAX_LENGTH` characters.
          length: int32, characters to add, at most `sampling.MAX_LENGTH`.
          temperature: float32, at least 0; 0 takes the likeliest character.
          top_k: int32, only the k likeliest characters; 0 for all.
          top_p: float32 in (0, 1], only the likeliest characters that make up this probability.
          seed: int64, the same seed gives the same text, whatever else is in the batch and however
            the text is cut into pieces.
          stop: string of at most `sampling.MAX_STOP` characters; a text ends after it.
          alternatives: int32, of how many of the likeliest characters at each place to report the
            probabilities, at most `checks.MAX_ALTERNATIVES`.
          state: `[batch, state_size]`, float32, what an earlier piece returned, see `text_state`;
            or `[batch, 0]` for a text that begins.

        Returns:
          text: string, what was added, a stop string included.
          characters: int32, how many.
          stopped: bool, whether the stop string ended the text.
          log_probabilities: `[batch, longest]`, float32, ln p of each added character under the
            model itself, 0 after the end of a row.
          alternatives: `[batch, longest, k]`, string, the likeliest first.
          alternative_log_probabilities: `[batch, longest, k]`, float32, theirs.
          state: `[batch, state_size]`, float32, what the text has left behind.
        """
        rows = tf.shape(prompt)[0]
        given = {
            "length": length,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "seed": seed,
            "stop": stop,
            "alternatives": alternatives,
            "state": state,
        }
        checks = [
            *(one_or_all(name, values, rows) for name, values in given.items()),
            *choices_are_possible(given),
            *self._is_readable("prompt", prompt, sampling.MAX_LENGTH),
            *self._is_readable("stop", stop, sampling.MAX_STOP),
            *text_state.continues(state, self._model, self._mark),
        ]
        with tf.control_dependencies([require(checks)]):
            begun = text_state.begun(given.pop("state"), rows, self._model, self._mark)
            given = {name: for_rows(values, rows) for name, values in given.items()}
        ids, characters, stopped, scores, likeliest, likeliest_scores, state = self._in_turns(
            {**given, "prompt": tf.identity(prompt), "state": begun}
        )
        longest = tf.reduce_max(tf.concat([characters, [0]], axis=0))
        return {
            "text": self._alphabet.decode(ids),
            "characters": characters,
            "stopped": stopped,
            "log_probabilities": scores[:, :longest],
            "alternatives": self._alphabet.characters(likeliest[:, :longest]),
            "alternative_log_probabilities": likeliest_scores[:, :longest],
            "state": state,
        }

    def _in_turns(self, row_inputs):
        """Generates a few characters at a time, so that nobody waits for long texts of others.

        Returns:
          As `_generate_rows`, for the whole length; at least `Batching.turn` columns.
        """
        turn = self._batching.turn
        rows = tf.shape(row_inputs["prompt"])[0]
        most = tf.minimum(len(self._alphabet.symbols), row_inputs["alternatives"])
        k = tf.reduce_max(tf.concat([most, [0]], axis=0))
        size = text_state.state_size(self._model)

        def take_turn(number, prompt, left, characters, stopped, state, columns):
            del stopped
            now = {**row_inputs, "prompt": prompt, "length": tf.minimum(left, turn), "state": state}
            made = self._generate_merged(*(now[name] for name in _ROW_INPUTS))
            ids, added, stopped, scores, likeliest, likeliest_scores, state = made
            # What leaves a merged batch has lost its shape, and is as wide as others made it.
            padded = (
                _columns(tf.ensure_shape(ids, [None] * 2), turn, PADDING),
                _columns(tf.ensure_shape(scores, [None] * 2), turn, 0.0),
                _columns(tf.ensure_shape(likeliest, [None] * 3)[:, :, :k], turn, PADDING),
                _columns(tf.ensure_shape(likeliest_scores, [None] * 3)[:, :, :k], turn, 0.0),
            )
            columns = [one.write(number, part) for one, part in zip(columns, padded, strict=True)]
            stopped = tf.ensure_shape(stopped, [None])
            left = tf.where(stopped, 0, tf.maximum(left - turn, 0))
            characters += tf.ensure_shape(added, [None])
            state = tf.ensure_shape(state, [None, size])
            return number + 1, tf.fill([rows], ""), left, characters, stopped, state, columns

        columns = [
            tf.TensorArray(dtype, size=0, dynamic_size=True, element_shape=[None] * rank)
            for dtype, rank in ((tf.int32, 2), (tf.float32, 2), (tf.int32, 3), (tf.float32, 3))
        ]
        _, _, _, characters, stopped, state, columns = tf.while_loop(
            lambda number, _, left, *__: (number == 0) | tf.reduce_any(left > 0),
            take_turn,
            (
                tf.constant(0),
                row_inputs["prompt"],
                row_inputs["length"],
                tf.zeros([rows], tf.int32),
                tf.fill([rows], False),
                row_inputs["state"],
                columns,
            ),
            parallel_iterations=1,
        )
        ids, scores, likeliest, likeliest_scores = (_side_by_side(one.stack()) for one in columns)
        return ids, characters, stopped, scores, likeliest, likeliest_scores, state

    @tf.function(autograph=False)
    def _generate_merged(self, *inputs):
        # One function for both signatures, so that their requests merge with each other.
        return self._merged(self._generate_rows, *inputs)

    def _generate_rows(
        self, prompt, length, temperature, top_k, top_p, seed, stop, alternatives, state
    ):
        """`sampling.generate` for the rows of all requests, which are known to be valid."""
        stop_ids = self._alphabet.encode(stop)
        missing = sampling.MAX_STOP - tf.shape(stop_ids)[1]
        stop_ids = tf.pad(stop_ids, [[0, 0], [0, tf.maximum(missing, 0)]], constant_values=PADDING)
        stop_lengths = tf.reduce_sum(tf.cast(stop_ids != PADDING, tf.int32), axis=1)
        generated = sampling.generate(
            self._model,
            self._alphabet.encode(prompt),
            length,
            sampling.Choice(temperature, top_k, top_p, seed),
            _at_the_end(stop_ids, stop_lengths),
            tf.minimum(tf.reduce_max(alternatives), len(self._alphabet.symbols)),
            text_state.unpack(state, self._model),
        )
        return [
            generated.ids,
            generated.lengths,
            generated.stopped,
            generated.log_probabilities,
            generated.alternatives,
            generated.alternative_log_probabilities,
            text_state.pack(generated.state, self._mark),
        ]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def score(self, text):
        """How well texts are predicted; see `sampling.score`.

        Args:
          text: string, of at most `sampling.MAX_LENGTH` characters.

        Returns:
          bits_per_character: float32, 0 for an empty text.
          log_probabilities: `[batch, longest text]`, float32, ln p of each character, 0 after the
            end of a row.
        """
        text = self._checked_text(text)
        bits, scores = self._merged(
            lambda text: sampling.score(self._model, self._alphabet.encode(text)), text
        )
        longest = tf.shape(self._alphabet.encode(text))[1]
        return {
            "bits_per_character": tf.ensure_shape(bits, [None]),
            "log_probabilities": tf.ensure_shape(scores, [None, None])[:, :longest],
        }

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def embed(self, text):
        """Texts as feature vectors; see `sampling.embed`.

        Args:
          text: string, of at most `sampling.MAX_LENGTH` characters.

        Returns:
          embedding: `[batch, layers * units]`, float32.
        """
        text = self._checked_text(text)
        embedding = self._merged(
            lambda text: sampling.embed(self._model, self._alphabet.encode(text)), text
        )
        config = self._model.config
        return {"embedding": tf.ensure_shape(embedding, [None, config.layers * config.units])}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def inspect(self, text):
        """Memories, gates and their saturation; see `inspection.Inspection`.

        Args:
          text: string, of at most `MAX_INSPECTED` characters.

        Returns:
          memories, gates, saturation.
        """
        text = self._checked_text(text, MAX_INSPECTED)
        return inspection.inspect(self._model, self._alphabet.encode(text))._asdict()

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs):
        """The likeliest next characters.

        Args:
          inputs: serialized tf.Examples with the bytes feature "text".

        Returns:
          classes: `[batch, CLASSES]`, string, the likeliest first.
          scores: `[batch, CLASSES]`, float32, their probabilities.
        """
        text = self._checked_text(_text_of(inputs))
        ids = self._alphabet.encode(text)
        model = self._model
        state = sampling.read(model, ids, sampling.initial_state(model, tf.shape(ids)[0]))
        logits, _ = model.stepper()(state.characters)
        scores, order = tf.math.top_k(tf.nn.softmax(logits), min(CLASSES, logits.shape[1]))
        return {"classes": self._alphabet.characters(order), "scores": scores}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs):
        """Bits per character.

        Args:
          inputs: as for `classify`.

        Returns:
          outputs: `[batch]`, float32.
        """
        return {"outputs": self.score(_text_of(inputs))["bits_per_character"]}

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
        model = self._model
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
        return tuple(self._model.initial_state(streams))

    def _merged(self, function, *tensors):
        """Runs a function on the rows of all requests that arrive at the same time."""
        batching = self._batching
        merge = tf.nondifferentiable_batch_function(
            batching.threads,
            batching.max_batch_size,
            batching.timeout_micros,
            max_enqueued_batches=batching.max_enqueued_batches,
            autograph=False,
        )
        return merge(function)(*tensors)

    def _is_readable(self, name, text, limit):
        """Checks that texts have known characters, and not too many."""
        ids = self._alphabet.encode(text)
        lengths = tf.reduce_sum(tf.cast(ids != PADDING, tf.int32), axis=1)
        known = tf.reduce_all(ids != self._alphabet.size)
        problem = f"characters are over the limit of {limit}"
        return [
            Check(known, lambda: self._alphabet.unknown(text)),
            all_hold(lengths, lengths <= limit, f"{name}:", problem),
        ]

    def _checked_text(self, text, limit=sampling.MAX_LENGTH):
        with tf.control_dependencies([require(self._is_readable("text", text, limit))]):
            return tf.identity(text)


def _defaults():
    """What the inputs of `generate` but for the prompt are where a request says nothing."""
    return {
        "length": tf.constant([100]),
        "temperature": tf.constant([1.0]),
        "top_k": tf.constant([0]),
        "top_p": tf.constant([1.0]),
        "seed": tf.constant([0], tf.int64),
        "stop": tf.constant([""]),
        "alternatives": tf.constant([0]),
        "state": tf.zeros([1, 0]),
    }


_ROW_INPUTS = (
    "prompt",
    "length",
    "temperature",
    "top_k",
    "top_p",
    "seed",
    "stop",
    "alternatives",
    "state",
)


def _columns(values, count, padding):
    """`[batch, columns, ...]` with as many columns as told, padded or cut."""
    missing = [[0, 0], [0, count], *[[0, 0]] * (len(values.shape) - 2)]
    return tf.pad(values, missing, constant_values=padding)[:, :count]


def _side_by_side(parts):
    """`[parts, batch, columns, ...]` as `[batch, parts * columns, ...]`."""
    count, batch, columns, *rest = shape_of(parts)
    turned = tf.transpose(parts, [1, 0, *range(2, len(parts.shape))])
    return tf.reshape(turned, [batch, count * columns, *rest])


def _text_of(examples):
    feature = tf.io.FixedLenFeature([], tf.string)
    return tf.io.parse_example(examples, {TEXT_FEATURE: feature})[TEXT_FEATURE]


def _at_the_end(ids, lengths):
    """Rows `[batch, MAX_STOP]` with their ids moved to the end."""
    before = sampling.MAX_STOP - lengths
    positions = tf.range(sampling.MAX_STOP) - before[:, None]
    moved = tf.gather(ids, tf.maximum(positions, 0), batch_dims=1)
    return tf.where(positions < 0, PADDING, moved)
