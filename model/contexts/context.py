"""The interface of contexts: what a character model is told besides the last character.

A context computes something from the text so far, is updated at a time of its own, and enters the
model in one or more of three places:

* the state of the core before the first character (`core_state`),
* the input of the core at every step, where it is added to the embedding (`ContextReading.inputs`),
* the softmax (`change_logits`).

All that it remembers is a matrix of one row per text, which is part of the text's `CharacterState`.
So texts can be read and written in pieces, in batches of any rows, by a trained model, a frozen one
and a served one, without anything else having to know of the context.

A context may also be given from outside (`initial_state` takes what is `given`), follow the core
(`observe` takes its hidden vectors into the state), or compute from ids alone: `read` could build a
word from its characters (Kim et al., arXiv 1508.06615), of which the state would hold those so far.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ..core import State
from ..execution.plan import PLAIN, Plan
from ..layers.stored import stored_variable
from ..shapes import shape_of
from ..text.vocabulary import Vocabulary


class NetShape(NamedTuple):
    """The sizes of the model that a context belongs to.

    Attributes:
      vocabulary_size: The number of distinct characters; the id after them stands for "no known
        character".
      units: The width of the hidden vectors at the top of the core.
      input_width: The width of the embedding.
      state_layers: The number of layers of the core's state.
      memory_width: The width of the memory vectors of the core's state.
      kernel_scale: The bound of the uniform initial kernels.
    """

    vocabulary_size: int
    units: int
    input_width: int
    state_layers: int
    memory_width: int
    kernel_scale: float


class ContextReading(NamedTuple):
    """What a context makes of characters as they enter the core.

    Attributes:
      state: The state after the last step, `[batch, state_width]`, float32.
      inputs: What is added to the embedding at each step, `[steps, batch, input_width]`, float32;
        None for a context that does not enter there.
      outputs: What `change_logits` needs at each step, `[steps, batch, ...]`; None for a context
        that does not enter the softmax.
    """

    state: tf.Tensor
    inputs: tf.Tensor | None = None
    outputs: tf.Tensor | None = None


class Context(keras.layers.Layer):
    """A context: a Keras layer with the methods that follow, of which `read` alone is required.

    Weights are created in `build`, by `add_weight`, which makes them part of the model, of its
    checkpoints and its exports. The methods get them as tensors by name, as a frozen model holds
    its own; those whose names end with "kernel" may be of a lower precision there, and decay with
    `weight_decay` in training.
    States may be made up by clients of a server: whatever numbers they hold, no method may fail
    because of them, so indices are to be taken by `whole_numbers`.

    Args:
      net: The sizes of the model.
      size: The size of the context, with a meaning of its own; 0 for `default_size`.
      **kwargs: Arguments of `keras.layers.Layer`.

    Attributes:
      default_size: The size by default; 0 for the units of the model.
      enters_input: Whether the context adds to the embedding.
      is_given: Whether it is given from outside, by `initial_state`, and no text alone has it.
      observes_core: Whether `observe` is to be called. Such a model is run step by step.
      state_width: The number of numbers of the state of one text.
      plan: The execution plan.
    """

    default_size = 0
    enters_input = False
    is_given = False
    observes_core = False
    state_width = 0

    def __init__(self, net: NetShape, size: int = 0, **kwargs: Any):
        super().__init__(autocast=False, **kwargs)
        self.net = net
        self.size = size or self.default_size or net.units
        self.plan: Plan = PLAIN

    @classmethod
    def check_vocabulary(cls, vocabulary: Vocabulary) -> None:
        """Checks that a vocabulary has the characters that the context needs.

        Args:
          vocabulary: The vocabulary.

        Raises:
          InputError: If it lacks some.
        """

    def adapt(self, vocabulary: Vocabulary, sample: Sequence[np.ndarray]) -> None:
        """Takes from the training text what has to be known before training, by default nothing.

        Args:
          vocabulary: The vocabulary.
          sample: Ids of the beginning of the training text, `[streams, window]` each; those outside
            the vocabulary are no characters.
        """

    def initial_state(self, batch: int | tf.Tensor, given: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the state of texts of which nothing has been read, `[batch, state_width]`.

        Args:
          batch: The number of texts.
          given: What a context that is given from outside is, `[batch, ...]`; None for others.
        """
        del given
        return tf.zeros([batch, self.state_width], tf.float32)

    def core_state(self, weights: Any, state: tf.Tensor) -> State | None:
        """Returns what is added to the state of the core before the first character.

        Args:
          weights: The weights, as `weight_tensors` returns them.
          state: The state of the context, `[batch, state_width]`.

        Returns:
          Hidden vectors `[state_layers, batch, units]` and memory vectors
          `[state_layers, batch, memory_width]`; None for nothing, the default.
        """
        del weights, state
        return None

    def read(
        self,
        weights: Any,
        ids: tf.Tensor,
        state: tf.Tensor,
        keep: tf.Tensor | None = None,
        training: bool = False,
    ) -> ContextReading:
        """Reads characters as they enter the core; a decode step reads one.

        Args:
          weights: The weights, as `weight_tensors` returns them.
          ids: The characters, `[steps, batch]`, int32, time-major: at each step the one before the
            one that is predicted; `vocabulary_size` for no known character.
          state: The state before them, `[batch, state_width]`.
          keep: The mask, `[steps, batch]`, boolean, False after the end of a text, where the state
            stays as it is; None for texts of the same length.
          training: Whether a gradient will be taken; then a context may call `add_loss` with a sum
            over the batch in nats, which counts as much as that of -ln p of the characters.
        """
        raise NotImplementedError

    def change_logits(
        self, weights: Any, outputs: tf.Tensor, hidden: tf.Tensor, logits: tf.Tensor, dtype: Any
    ) -> tf.Tensor:
        """Returns the logits `[rows, vocabulary_size]`, float32, that a context makes of others.

        It is called for a reading with outputs.

        Args:
          weights: The weights, as `weight_tensors` returns them.
          outputs: The outputs of the reading, with steps and texts as rows, `[rows, ...]`.
          hidden: The hidden vectors at the top of the core, `[rows, units]`.
          logits: The logits without this context, `[rows, vocabulary_size]`, float32.
          dtype: The dtype of products.
        """
        raise NotImplementedError

    def restarts_core(self, weights: Any, ids: tf.Tensor, state: tf.Tensor) -> tf.Tensor | None:
        """Returns which texts' core begins anew, where `observes_core` is set.

        Its state is then that before the first character when this one enters.

        Args:
          weights: The weights, as `weight_tensors` returns them.
          ids: The character that is about to enter the core, `[batch]`, int32.
          state: The state before `read`, `[batch, state_width]`.

        Returns:
          Whether it does for each text, `[batch]`, boolean; None for none, the default.
        """
        del weights, ids, state
        return None

    def observe(
        self, weights: Any, ids: tf.Tensor, state: tf.Tensor, hidden: tf.Tensor
    ) -> tf.Tensor:
        """Returns the state after the core has read a character, where `observes_core` is set.

        Args:
          weights: The weights, as `weight_tensors` returns them.
          ids: The character that entered the core, `[batch]`, int32.
          state: The state after `read`, `[batch, state_width]`.
          hidden: The hidden vectors at the top of the core after it, `[batch, units]`, float32.
        """
        raise NotImplementedError

    def no_characters(self, batch: int | tf.Tensor) -> tf.Tensor:
        """Returns a state of characters, none of which is known, `[batch, state_width]`.

        Args:
          batch: The number of texts.
        """
        unknown = tf.constant(self.net.vocabulary_size, tf.float32)
        return tf.fill([batch, self.state_width], unknown)

    def add_kernel(
        self, name: str, rows: int, columns: int, bound: float | None = None
    ) -> keras.Variable:
        """Creates a kernel with uniform initial values.

        Args:
          name: The name of the variable.
          rows: The width of the vectors that it multiplies.
          columns: The width of the products.
          bound: The bound of the values. Default: that of the model's kernels.
        """
        bound = bound or self.net.kernel_scale
        uniform = keras.initializers.RandomUniform(-bound, bound)
        return self.add_weight(name=name, shape=(rows, columns), initializer=uniform)

    def product(self, vectors: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Returns products with a kernel, computed in the compute dtype, `[..., columns]`, float32.

        Args:
          vectors: The vectors, `[..., rows]`.
          kernel: The kernel, `[rows, columns]`.
        """
        dtype = self.compute_dtype
        flat = vectors
        if len(vectors.shape) > 2:
            flat = tf.reshape(vectors, [-1, kernel.shape[0]])
        found = tf.cast(tf.matmul(tf.cast(flat, dtype), tf.cast(kernel, dtype)), tf.float32)
        if flat is vectors:
            return found
        return tf.reshape(found, [*shape_of(vectors)[:-1], kernel.shape[1]])

    def weight_tensors(self) -> Any:
        """Returns the weights as tensors, by default those of the layer by name."""
        return {one.name: tf.convert_to_tensor(one) for one in self.weights}

    def stored_weights(self, dtype: str) -> Any:
        """Returns copies of the weights as variables that are not trained.

        Args:
          dtype: The dtype of products, in which kernels are stored.
        """
        return store(self.weight_tensors(), dtype)


def store(weights: Mapping[str, tf.Tensor], dtype: str) -> dict[str, tf.Variable]:
    """Returns copies of weights as variables that are not trained.

    Args:
      weights: The weights by name.
      dtype: The dtype of those whose names end with "kernel".
    """
    return {
        name: stored_variable(weight, dtype if name.endswith("kernel") else None)
        for name, weight in weights.items()
    }


def last_characters(characters: tf.Tensor, keep: tf.Tensor | None, count: int) -> tf.Tensor:
    """Returns the last characters that were read, as a state, `[batch, count]`, float32.

    Args:
      characters: The last characters before the window, and those of the window,
        `[count + steps, batch]`, int32.
      keep: The mask of the window, `[steps, batch]`, boolean; None for none.
      count: The number of characters.
    """
    if keep is None:
        last = tf.transpose(characters[-count:])
    else:
        lengths = tf.reduce_sum(tf.cast(keep, tf.int32), axis=0)
        places = lengths[:, None] + tf.range(count)
        last = tf.gather(tf.transpose(characters), places, batch_dims=1)
    return tf.cast(last, tf.float32)


def whole_numbers(column: tf.Tensor, below: int) -> tf.Tensor:
    """Returns integers in [0, below) from a column of a state, whatever it holds.

    Args:
      column: The column, `[batch]`, float32.
      below: The bound, at most 2^24, as float32 holds only integers up to it exactly.
    """
    return tf.cast(tf.clip_by_value(column, 0.0, below - 1.0), tf.int32)
