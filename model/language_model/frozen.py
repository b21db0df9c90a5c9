"""A frozen character model: weights stored for serving, in the precision of the products."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ..config import Precision
from ..core import RecurrentCore
from ..execution.plan import PLAIN
from ..layers.stored import stored_variable
from .character_model import CharacterModel
from .conditioning import Conditioning
from .config import ModelConfig
from .forward import (
    CharacterState,
    DecodeCharacter,
    OuterWeights,
    decode_characters,
    decode_inputs,
    initial_state,
    predict_by_steps,
    predict_sequence,
)


class FrozenCharacterModel:
    """A character model that is no longer trained; `freeze` makes one.

    It predicts as the `CharacterModel` that it was made of does in the given precision. The kernels
    of the core are stored in the precision of the products and packed for `decode_step`. With
    "int8" there are no other kernels than the packed ones, so texts are read step by step.

    Attributes:
      config: The architecture.
      vocabulary_size: The number of distinct characters.
      precision: The precision of the kernels of the core, and of what enters products with them.
      packed: The packed kernels, as variables.
    """

    def __init__(self, model: CharacterModel, precision: Precision):
        self.config: ModelConfig = model.config
        self.vocabulary_size: int = model.vocabulary_size
        self.precision = precision
        self._compute_dtype = dtype = "float32" if precision == "int8" else precision
        # Variables of a model trained by a strategy are mirrored; a plain model's are not.
        plain = CharacterModel(model.config, model.vocabulary_size, PLAIN._replace(dtype=dtype))
        plain.set_weights(model.get_weights())
        self._core: RecurrentCore = plain.core
        self._contexts = plain.contexts
        outer = plain.outer_weights()
        entering = None  # where more than the embedding enters, no table can hold it
        if not any(context.enters_input for context in plain.contexts):
            entering = decode_inputs(plain.core, outer.embedding).hidden
        self.packed = tf.nest.map_structure(stored_variable, plain.core.pack(precision, entering))
        self._core_weights = plain.core.stored_weights(None if precision == "int8" else dtype)
        self._outer_weights = OuterWeights(
            embedding=stored_variable(outer.embedding),
            output_kernel=stored_variable(outer.output_kernel, dtype),
            output_bias=stored_variable(outer.output_bias),
        )
        self._context_weights = [context.stored_weights(dtype) for context in plain.contexts]

    @property
    def variables(self) -> list[tf.Variable]:
        """All variables of the model."""
        stored = tf.nest.flatten(
            (self._core_weights, self._outer_weights, self.packed, self._context_weights)
        )
        return [variable for variable in stored if variable is not None]

    @property
    def state_layers(self) -> int:
        """The number of layers of a state: all, but for a recurrent highway network 1."""
        return self._core.state_layers

    @property
    def memory_width(self) -> int:
        """The width of the memory vectors of a state: `units`, unless the cell has more."""
        return self._core.memory_width

    @property
    def context_widths(self) -> list[int]:
        """The number of numbers of the state of each context."""
        return [context.state_width for context in self._contexts]

    def initial_state(
        self, batch: int | tf.Tensor, given: Mapping[str, tf.Tensor] | None = None
    ) -> CharacterState:
        """Returns the state of texts of which nothing has been read; see `CharacterModel`."""
        return initial_state(self._core, self.vocabulary_size, batch, self._conditioning(), given)

    def _conditioning(self) -> Conditioning:
        return Conditioning(self._contexts, _tensors(self._context_weights))

    def __call__(
        self, ids: tf.Tensor, state: CharacterState, *, keep: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, CharacterState]:
        """Computes the predictions of given characters; see `CharacterModel.call`."""
        if self.precision == "int8":
            return self._predict_by_steps(ids, state, keep)
        return predict_sequence(
            self._core,
            _tensors(self._core_weights),
            _tensors(self._outer_weights),
            ids,
            state,
            keep=keep,
            conditioning=self._conditioning(),
        )

    def _predict_by_steps(
        self, ids: tf.Tensor, state: CharacterState, keep: tf.Tensor | None
    ) -> tuple[tf.Tensor, CharacterState]:
        """Computes the predictions by decode steps, the only products with 8-bit kernels."""
        decode = self.decode_step()

        def predict(
            _: tf.Tensor, ids: tf.Tensor, state: CharacterState
        ) -> tuple[tf.Tensor, CharacterState]:
            logits, output = decode(state)
            return logits, CharacterState.after(ids, output)

        return predict_by_steps(predict, ids, state, keep, self.vocabulary_size)

    def decode_step(self) -> DecodeCharacter:
        """Returns the function that predicts the next character, to be called in a loop."""
        return decode_characters(
            self._core,
            _tensors(self._core_weights),
            _tensors(self.packed),
            _tensors(self._outer_weights),
            self._compute_dtype,
            self._conditioning(),
        )


def freeze(model: CharacterModel, precision: Precision = "float32") -> FrozenCharacterModel:
    """Returns a frozen copy of a trained model.

    >>> model = CharacterModel(ModelConfig(layers=1, units=8), vocabulary_size=5)
    >>> freeze(model, "bfloat16").precision
    'bfloat16'

    Args:
      model: The trained model.
      precision: The precision of the kernels of the core, and of what enters products with them.
        With "int8" all else is float32, and texts are read step by step. Default "float32".

    Raises:
      InputError: For "int8", if a cell's hidden vectors are not bounded by 1.
    """
    return FrozenCharacterModel(model, precision)


def _tensors(structure: Any) -> Any:
    """Converts the variables of a structure to tensors; None stays None."""
    return tf.nest.map_structure(
        lambda one: None if one is None else tf.convert_to_tensor(one), structure
    )
