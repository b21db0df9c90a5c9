"""The signatures by which a character model is asked, whoever serves it."""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from model.decoding.packed_kernels import integer_products_are_exact
from model.language_model import inspection, sampling
from model.language_model.character_model import CharacterModel, CharacterState
from model.language_model.losses import character_losses
from model.text.code_points import PADDING, TextVocabulary
from serving.graph import text_state
from serving.graph.batching import Batching
from serving.graph.checks import (
    Check,
    all_hold,
    choices_are_possible,
    first_of,
    for_rows,
    is_one_of,
    one_or_all,
    require,
)
from serving.graph.turns import INPUTS, Turns
from serving.limits import MAX_INSPECTED, MAX_LENGTH

CLASSES = 10
TEXT_FEATURE = "text"
NO_VNNI = (
    "sums of products of 8-bit integers overflow on this processor, which has no VNNI; serve the"
    " model in bfloat16 or float32, or elsewhere"
)
INSPECTED = [
    tf.TensorSpec([None], tf.string, "text"),
    tf.TensorSpec([None], tf.int32, "layer"),
    tf.TensorSpec([None], tf.int32, "unit"),
]


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
        self,
        model: CharacterModel,
        vocabulary: TextVocabulary,
        assets: list[str],
        batching: Batching,
    ):
        """Takes a model that no strategy mirrors, and files to go among the assets."""
        super().__init__()
        self._untracked = _Untracked(model)
        self.weights = [
            weight.value if isinstance(weight, keras.Variable) else weight
            for weight in model.weights_in_use
        ]
        self.files = [tf.saved_model.Asset(path) for path in assets]
        self._vocabulary = vocabulary
        self._batching = batching
        self._mark = text_state.fingerprint(model, vocabulary.to_text())
        self._turns = Turns(model, vocabulary, self._mark, batching)

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
            "inspect": self._inspect_signature(),
            "classify": self.classify,
            "regress": self.regress,
        }

    def _generate_signature(self):
        # The defaults are tensors, which are not to be made when this module is imported.
        default = _defaults()

        @tf.function(autograph=False, input_signature=list(INPUTS.values()))
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
        rest = {name: default[name] for name in ("stop", "alternatives", "state")}

        @tf.function(
            autograph=False,
            input_signature=[spec for name, spec in INPUTS.items() if name not in rest],
        )
        def serving_default(
            prompt,
            length=default["length"],
            temperature=default["temperature"],
            top_k=default["top_k"],
            top_p=default["top_p"],
            seed=default["seed"],
        ):
            outputs = self.generate(prompt, length, temperature, top_k, top_p, seed, **rest)
            return {name: outputs[name] for name in ("text", "log_probabilities", "state")}

        return serving_default

    def _inspect_signature(self):
        everything = tf.constant([-1])

        @tf.function(autograph=False, input_signature=INSPECTED)
        def inspect(text, layer=everything, unit=everything):
            return self.inspect(text, layer, unit)

        return inspect

    @tf.function(autograph=False, input_signature=list(INPUTS.values()))
    def generate(
        self, prompt, length, temperature, top_k, top_p, seed, stop, alternatives, state
    ) -> dict[str, tf.Tensor]:
        """Continues prompts, or texts of which a state is given; see `sampling.generate`.

        All but the prompts may have one row for all of them.

        Args:
          prompt: string; may be empty; at most `MAX_LENGTH` characters.
          length: int32, characters to add, at most `MAX_LENGTH`.
          temperature: float32, at least 0; 0 takes the likeliest character.
          top_k: int32, only the k likeliest characters; 0 for all.
          top_p: float32 in (0, 1], only the likeliest characters that make up this probability.
          seed: int64, the same seed gives the same text, whatever else is in the batch and however
            the text is cut into pieces.
          stop: string of at most `sampling.MAX_STOP` characters; a text ends after it.
          alternatives: int32, of how many of the likeliest characters at each place to report the
            probabilities, at most `MAX_ALTERNATIVES`.
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
            *self._is_readable("prompt", prompt, MAX_LENGTH),
            *self._is_readable("stop", stop, sampling.MAX_STOP),
            *text_state.continues(state, self._model, self._mark),
        ]
        with tf.control_dependencies([self._require(checks)]):
            begun = text_state.begun(given.pop("state"), rows, self._model, self._mark)
            given = {name: for_rows(values, rows) for name, values in given.items()}
        ids, characters, stopped, scores, likeliest, likeliest_scores, state = self._turns.take(
            {**given, "prompt": tf.identity(prompt), "state": begun}
        )
        longest = tf.reduce_max(tf.concat([characters, [0]], axis=0))
        return {
            "text": self._vocabulary.decode(ids),
            "characters": characters,
            "stopped": stopped,
            "log_probabilities": scores[:, :longest],
            "alternatives": self._vocabulary.decode_each(likeliest[:, :longest]),
            "alternative_log_probabilities": likeliest_scores[:, :longest],
            "state": state,
        }

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def score(self, text):
        """How well texts are predicted; see `sampling.score`.

        Args:
          text: string, of at most `MAX_LENGTH` characters.

        Returns:
          bits_per_character: float32, 0 for an empty text.
          log_probabilities: `[batch, longest text]`, float32, ln p of each character, 0 after the
            end of a row.
        """
        text = self._checked_text(text)
        bits, scores = self._batching.merged(
            "score", lambda text: sampling.score(self._model, self._vocabulary.encode(text)), text
        )
        longest = tf.shape(self._vocabulary.encode(text))[1]
        return {
            "bits_per_character": tf.ensure_shape(bits, [None]),
            "log_probabilities": tf.ensure_shape(scores, [None, None])[:, :longest],
        }

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def embed(self, text):
        """Texts as feature vectors; see `sampling.embed`.

        Args:
          text: string, of at most `MAX_LENGTH` characters.

        Returns:
          embedding: `[batch, layers * units]`, float32.
        """
        text = self._checked_text(text)
        embedding = self._batching.merged(
            "embed", lambda text: sampling.embed(self._model, self._vocabulary.encode(text)), text
        )
        config = self._model.config
        return {"embedding": tf.ensure_shape(embedding, [None, config.layers * config.units])}

    @tf.function(autograph=False, input_signature=INSPECTED)
    def inspect(self, text, layer, unit) -> dict[str, tf.Tensor]:
        """Memories, gates and their saturation; see `inspection.Inspection`.

        Args:
          text: string, of at most `MAX_INSPECTED` characters.
          layer: int32, counted from 0; -1 for all; the same for all texts.
          unit: int32, likewise.

        Returns:
          memories, gates, saturation.
        """
        config = self._model.config
        checks = [
            *self._is_readable("text", text, MAX_INSPECTED),
            *is_one_of("layer", layer, config.layers),
            *is_one_of("unit", unit, config.units),
        ]
        with tf.control_dependencies([self._require(checks)]):
            ids = self._vocabulary.encode(text)
        found = inspection.inspect(self._model, ids, first_of(layer), first_of(unit))
        return found._asdict()

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
        found = self._batching.merged("classify", self._likeliest, text)
        shape = [None, min(CLASSES, self._model.vocabulary_size)]
        classes, scores = (tf.ensure_shape(one, shape) for one in found)
        return {"classes": classes, "scores": scores}

    def _likeliest(self, text):
        """The likeliest next characters, and their probabilities."""
        model = self._model
        ids = self._vocabulary.encode(text)
        state = sampling.read(model, ids, sampling.initial_state(model, tf.shape(ids)[0]))
        logits, _ = model.stepper()(state.characters)
        scores, order = tf.math.top_k(tf.nn.softmax(logits), min(CLASSES, logits.shape[1]))
        return [self._vocabulary.decode_each(order), scores]

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

    def _is_readable(self, name, text, limit):
        """Checks that texts have known characters, and not too many."""
        ids = self._vocabulary.encode(text)
        lengths = tf.reduce_sum(tf.cast(ids != PADDING, tf.int32), axis=1)
        known = tf.reduce_all(ids != self._vocabulary.size)
        problem = f"characters are over the limit of {limit}"
        return [
            Check(known, lambda: self._vocabulary.unknown_character(text)),
            all_hold(lengths, lengths <= limit, f"{name}:", problem),
        ]

    def _checked_text(self, text, limit=MAX_LENGTH):
        checks = self._is_readable("text", text, limit)
        with tf.control_dependencies([self._require(checks)]):
            return tf.identity(text)

    def _require(self, checks):
        """`require`, and that the machine can run the model, which need not be where it is from."""
        if self._model.quantized:
            checks = [Check(integer_products_are_exact(), lambda: tf.constant(NO_VNNI)), *checks]
        return require(checks)


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


def _text_of(examples):
    feature = tf.io.FixedLenFeature([], tf.string)
    return tf.io.parse_example(examples, {TEXT_FEATURE: feature})[TEXT_FEATURE]
