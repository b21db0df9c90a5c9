"""The signatures of a served character model, whichever server runs them."""

from collections.abc import Callable

import tensorflow as tf

from model.decoding.packed_kernels import integer_products_are_exact
from model.language_model import inspection, sampling
from model.language_model.forward import CharacterState
from model.language_model.frozen import FrozenCharacterModel
from model.language_model.losses import character_losses
from model.text.code_points import TextVocabulary
from model.text.vocabulary import PADDING
from serving.generate_inputs import DEFAULTS, GENERATE_INPUTS, SMALLER_SIGNATURES
from serving.graph import text_state
from serving.graph.batching import Batching
from serving.graph.checks import (
    Check,
    broadcast_rows,
    check_row_count,
    check_values,
    first_or_zero,
    index_checks,
    require,
)
from serving.graph.chunked_generation import ChunkedGeneration
from serving.graph.input_specs import bound_checks, default_tensor, function_of_inputs
from serving.limits import (
    MAX_INSPECTED,
    MAX_INSPECTED_VALUES,
    MAX_LENGTH,
    MAX_REQUEST_ROWS,
)

CLASSES = 10
"""Number of next characters that `classify` returns, or the size of a smaller vocabulary."""

TEXT_FEATURE = "text"
"""Name of the feature of the tf.Examples that `classify` and `regress` read."""

NO_VNNI = (
    "sums of products of 8-bit integers overflow on this processor, which has no VNNI; serve the"
    " model in bfloat16 or float32, or elsewhere"
)
INSPECT_INPUTS = [
    tf.TensorSpec([None], tf.string, "text"),
    tf.TensorSpec([None], tf.int32, "layer"),
    tf.TensorSpec([None], tf.int32, "unit"),
]


class ServedModel(tf.Module):
    """A character model whose inputs and outputs are text.

    Every tensor has the batch as its first dimension. Requests are checked one by one and then
    merged, within the graph, with those that arrive at the same time. No function is compiled by
    XLA, as a stock TensorFlow Serving refuses such functions, unless that was asked for.

    Attributes:
      generate: Function of all inputs in `generate_inputs.GENERATE_INPUTS`, by position or name,
        which continues prompts, or texts whose state is given. Inputs other than the prompt may
        have one row for all prompts. It returns a dictionary:

        * `text`: String `[batch]`, the added characters, a stop string included.
        * `characters`: int32 `[batch]`, the number of added characters.
        * `stopped`: bool `[batch]`, whether the stop string ended the text.
        * `log_probabilities`: float32 `[batch, longest]`, ln p of each added character under the
          model itself, 0 after the end of a row.
        * `alternatives`: String `[batch, longest, k]`, the likeliest characters at each position,
          the likeliest first.
        * `alternative_log_probabilities`: float32 `[batch, longest, k]`, ln p of these.
        * `state`: float32 `[batch, state_size]`, the state after the text, see `text_state`.
      evaluate_window: Function that evaluates one window of parallel streams, for the Evaluator.
      weights: The variables of the model.
      files: The assets.
    """

    def __init__(
        self,
        model: FrozenCharacterModel,
        vocabulary: TextVocabulary,
        assets: list[str],
        batching: Batching,
        is_compiled: bool = False,
    ):
        """Prepares the functions of a model.

        Args:
          model: The frozen model.
          vocabulary: Its vocabulary.
          assets: Paths of files to store among the assets.
          batching: How requests are merged.
          is_compiled: Whether XLA compiles sampling. Default False.
        """
        super().__init__()
        self._model = model
        self.weights = model.variables
        self.files = [tf.saved_model.Asset(path) for path in assets]
        self._vocabulary = vocabulary
        self._batching = batching
        self._fingerprint = text_state.model_fingerprint(model, vocabulary.to_text())
        self._generation = ChunkedGeneration(
            model, vocabulary, self._fingerprint, batching, is_compiled
        )
        self.generate = function_of_inputs(
            "generate", GENERATE_INPUTS, self._generate, with_defaults=False
        )
        self.evaluate_window = self._evaluate_window_function()

    def signatures(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """Returns the functions to export as signatures, by name."""
        return {
            **{name: self._smaller_signature(name) for name in SMALLER_SIGNATURES},
            "generate": function_of_inputs(
                "generate",
                GENERATE_INPUTS,
                lambda values: self.generate(**values),
                with_defaults=True,
            ),
            "score": self.score,
            "embed": self.embed,
            "inspect": self._inspect_signature(),
            "classify": self.classify,
            "regress": self.regress,
        }

    def _smaller_signature(self, name: str) -> Callable:
        """Returns `generate` with fewer inputs, of which the others have their defaults."""
        smaller = SMALLER_SIGNATURES[name]
        inputs = [row for row in GENERATE_INPUTS if row.name in smaller.inputs]
        fixed = {
            row.name: default_tensor(row)
            for row in GENERATE_INPUTS
            if row.name not in smaller.inputs and row.name in DEFAULTS
        }

        def fewer_outputs(values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            outputs = self.generate(**values, **fixed)
            return {output: outputs[output] for output in smaller.outputs}

        return function_of_inputs(name, inputs, fewer_outputs, with_defaults=True)

    def _inspect_signature(self) -> Callable:
        all_indices = tf.constant([-1])

        @tf.function(autograph=False, input_signature=INSPECT_INPUTS)
        def inspect(
            text: tf.Tensor, layer: tf.Tensor = all_indices, unit: tf.Tensor = all_indices
        ) -> dict[str, tf.Tensor]:
            return self.inspect(text, layer, unit)

        return inspect

    def _generate(self, values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Checks the inputs of a request, generates, and decodes; see the class."""
        prompt = values["prompt"]
        shared = {name: value for name, value in values.items() if name != "prompt"}
        rows = tf.shape(prompt)[0]
        checks = [
            *(check_row_count(name, value, rows) for name, value in shared.items()),
            *bound_checks(values, GENERATE_INPUTS),
        ]
        for row in GENERATE_INPUTS:
            if row.max_characters is not None:
                checks += self._text_checks(row.name, values[row.name], row.max_characters)
        checks += text_state.state_checks(shared["state"], self._model, self._fingerprint)
        with tf.control_dependencies([self._require(checks)]):
            state = text_state.full_states(
                shared.pop("state"), rows, self._model, self._fingerprint
            )
            shared = {name: broadcast_rows(value, rows) for name, value in shared.items()}
        ids, characters, stopped, scores, likeliest, likeliest_scores, state = (
            self._generation.generate({**shared, "prompt": tf.identity(prompt), "state": state})
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
    def score(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes how well texts are predicted; see `sampling.score`.

        Args:
          text: Strings `[batch]` of at most `MAX_LENGTH` characters.

        Returns:
          A dictionary of `bits_per_character`, float32 `[batch]`, 0 for an empty text, and
          `log_probabilities`, float32 `[batch, longest text]`, ln p of each character, 0 after the
          end of a row.
        """
        text = self._checked_text(text)
        bits, scores = self._batching.run_merged(
            "score", lambda text: sampling.score(self._model, self._vocabulary.encode(text)), text
        )
        longest = tf.shape(self._vocabulary.encode(text))[1]
        return {
            "bits_per_character": tf.ensure_shape(bits, [None]),
            "log_probabilities": tf.ensure_shape(scores, [None, None])[:, :longest],
        }

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def embed(self, text: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes feature vectors of texts; see `sampling.embed`.

        Args:
          text: Strings `[batch]` of at most `MAX_LENGTH` characters.

        Returns:
          A dictionary of `embedding`, float32 `[batch, state_layers * units]`.
        """
        text = self._checked_text(text)
        embedding = self._batching.run_merged(
            "embed", lambda text: sampling.embed(self._model, self._vocabulary.encode(text)), text
        )
        width = self._model.state_layers * self._model.config.units
        return {"embedding": tf.ensure_shape(embedding, [None, width])}

    @tf.function(autograph=False, input_signature=INSPECT_INPUTS)
    def inspect(self, text: tf.Tensor, layer: tf.Tensor, unit: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes memories, gates and their saturation; see `inspection.Inspection`.

        Args:
          text: Strings `[batch]` of at most `MAX_INSPECTED` characters.
          layer: Index of the layer, int32 `[batch]`, counted from 0, or -1 for all; the same for
            all texts.
          unit: Index of the unit, likewise.

        Returns:
          A dictionary of `memories`, `gates` and `saturation`.
        """
        config = self._model.config
        checks = [
            *self._text_checks("text", text, MAX_INSPECTED),
            *index_checks("layer", layer, config.layers),
            *index_checks("unit", unit, config.units),
        ]
        checks.append(self._inspection_check(text, first_or_zero(layer), first_or_zero(unit)))
        with tf.control_dependencies([self._require(checks)]):
            ids = self._vocabulary.encode(text)
        inspected = inspection.inspect(self._model, ids, first_or_zero(layer), first_or_zero(unit))
        return inspected._asdict()

    def _inspection_check(self, text: tf.Tensor, layer: tf.Tensor, unit: tf.Tensor) -> Check:
        """Returns the check that the answer to an inspection is not too large."""
        config = self._model.config
        characters = tf.size(self._vocabulary.encode(text), tf.int64)
        layers = tf.where(layer < 0, config.layers, 1)
        units = tf.where(unit < 0, config.units, 1)
        gates = 5 if config.architecture == "highway_lstm" else 4
        per_unit = 1 + gates * (2 if config.architecture == "grid" else 1)
        values = characters * tf.cast(layers * units * per_unit, tf.int64)
        message = (
            f"values are over the limit of {MAX_INSPECTED_VALUES}; give fewer or shorter texts, or "
            "one layer or unit"
        )
        return check_values(values[None], values[None] <= MAX_INSPECTED_VALUES, "text:", message)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the likeliest next characters after texts.

        Args:
          inputs: Serialized tf.Examples `[batch]` with the bytes feature "text".

        Returns:
          A dictionary of `classes`, strings `[batch, CLASSES]`, the likeliest first, and `scores`,
          float32 `[batch, CLASSES]`, their probabilities.
        """
        text = self._checked_text(_parse_text(inputs))
        outputs = self._batching.run_merged("classify", self._next_characters, text)
        shape = [None, min(CLASSES, self._model.vocabulary_size)]
        classes, scores = (tf.ensure_shape(output, shape) for output in outputs)
        return {"classes": classes, "scores": scores}

    def _next_characters(self, text: tf.Tensor) -> list[tf.Tensor]:
        """Returns the likeliest next characters, and their probabilities."""
        model = self._model
        ids = self._vocabulary.encode(text)
        state = sampling.read(model, ids, sampling.initial_state(model, tf.shape(ids)[0]))
        logits, _ = model.decode_step()(state.characters)
        scores, order = tf.math.top_k(tf.nn.softmax(logits), min(CLASSES, logits.shape[1]))
        return [self._vocabulary.decode_each(order), scores]

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the bits per character of texts.

        Args:
          inputs: Serialized tf.Examples `[batch]` with the bytes feature "text".

        Returns:
          A dictionary of `outputs`, float32 `[batch]`.
        """
        return {"outputs": self.score(_parse_text(inputs))["bits_per_character"]}

    def _evaluate_window_function(self) -> Callable:
        """Returns the function that evaluates one window of parallel streams.

        It is for the Evaluator, and no signature. Its arguments are

        * `ids`: Character ids `[streams, window]`, int32; negative ids are not counted.
        * `previous`: Id of the character before the window, int32 `[streams]`.
        * `hidden`: Hidden vectors, float32 `[state_layers, streams, units]`.
        * `memory`: Memory vectors, float32 `[state_layers, streams, memory_width]`.
        * the state of each context, float32 `[streams, state_width]`.

        It returns the sums over the window of nats, correct predictions and counted characters, and
        the tensors of the `CharacterState` after it.
        """
        model = self._model
        layers = model.state_layers
        widths = enumerate(model.context_widths)
        specs = [
            tf.TensorSpec([None, None], tf.int32, "ids"),
            tf.TensorSpec([None], tf.int32, "previous"),
            tf.TensorSpec(None, tf.float32, "hidden"),
            tf.TensorSpec(None, tf.float32, "memory"),
            *(tf.TensorSpec([None, width], tf.float32, f"context{n}") for n, width in widths),
        ]

        @tf.function(autograph=False, input_signature=specs)
        def evaluate_window(
            ids: tf.Tensor,
            previous: tf.Tensor,
            hidden: tf.Tensor,
            memory: tf.Tensor,
            *contexts: tf.Tensor,
        ) -> tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]:
            hidden = tf.ensure_shape(hidden, [layers, None, model.config.units])
            memory = tf.ensure_shape(memory, [layers, None, model.memory_width])
            state = CharacterState(previous, hidden, memory, contexts)
            logits, state = model(tf.maximum(ids, 0), state)
            losses, counted = character_losses(logits, ids)
            hits = tf.cast(tf.argmax(logits, -1, tf.int32) == tf.transpose(ids), losses.dtype)
            sums = tf.reduce_sum(losses), tf.reduce_sum(hits * counted), tf.reduce_sum(counted)
            return sums, tuple(tf.nest.flatten(state))

        return evaluate_window

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.int32, "streams")])
    def initial_state(self, streams: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Returns the state for `evaluate_window` before the first window.

        Args:
          streams: Number of streams, a scalar.
        """
        return tuple(tf.nest.flatten(self._model.initial_state(streams)))

    def _text_checks(self, name: str, text: tf.Tensor, limit: int) -> list[Check]:
        """Returns the checks that texts have only known characters, and at most a limit of them."""
        ids = self._vocabulary.encode(text)
        lengths = tf.reduce_sum(tf.cast(ids != PADDING, tf.int32), axis=1)
        known = tf.reduce_all(ids != self._vocabulary.size)
        message = f"characters are over the limit of {limit}"
        rows = tf.shape(text)[0]
        rows_message = f"rows are over the limit of {MAX_REQUEST_ROWS}"
        return [
            Check(rows > 0, lambda: tf.constant(f"{name} has no rows; give at least one text")),
            check_values(rows[None], rows[None] <= MAX_REQUEST_ROWS, f"{name}:", rows_message),
            Check(known, lambda: self._vocabulary.unknown_character(text)),
            check_values(lengths, lengths <= limit, f"{name}:", message),
        ]

    def _checked_text(self, text: tf.Tensor, limit: int = MAX_LENGTH) -> tf.Tensor:
        checks = self._text_checks("text", text, limit)
        with tf.control_dependencies([self._require(checks)]):
            return tf.identity(text)

    def _require(self, checks: list[Check]) -> tf.Operation:
        """Requires the checks to hold, and of a quantized model that this processor can run it."""
        if self._model.precision == "int8":
            checks = [Check(integer_products_are_exact(), lambda: tf.constant(NO_VNNI)), *checks]
        return require(checks)


def _parse_text(examples: tf.Tensor) -> tf.Tensor:
    """Returns the texts of serialized tf.Examples."""
    feature = tf.io.FixedLenFeature([], tf.string)
    return tf.io.parse_example(examples, {TEXT_FEATURE: feature})[TEXT_FEATURE]
