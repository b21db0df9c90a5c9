"""A character model: an embedding, a recurrent net, and a projection to the vocabulary."""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import keras
import tensorflow as tf

from ..config import ModelConfig
from ..core import State
from ..decoding.decode_step import Packed, Step, stored_kernel
from ..execution.plan import PLAIN, Plan
from ..grid.dropout import dropout_mask
from ..layers.grid_lstm import GridLSTM
from ..layers.stacked_lstm import StackedLSTM

T = TypeVar("T")


class CharacterState(NamedTuple):
    """Everything a text has left behind.

    The character read last has not entered the net yet: it does so with the next step. So the
    first character of a text is predicted like any other, from the zero state.

    Attributes:
      previous: `[batch]`, int32, id of the last character; `vocabulary_size` where there is none.
      hidden: `[layers, batch, units]`.
      memory: `[layers, batch, units]`.
    """

    previous: tf.Tensor
    hidden: tf.Tensor
    memory: tf.Tensor


class CharacterModel(keras.Model):
    """p(c_1, ..., c_n) = prod_t p(c_t | c_1, ..., c_{t-1}).

        x_t = E[c_{t-1}];  y_t = net(x_t);  p(c_t | ...) = softmax(y_t W + b)

    Ids below `vocabulary_size` are characters. The id `vocabulary_size` stands for "no known
    character": the one before the first, or one that the vocabulary lacks.

    Attributes:
      config: the architecture.
      vocabulary_size: number of distinct characters.
      packed: the net's kernels as `stepper` wants them; None while it is trained.
      quantized: whether the net has no other kernels than those, of 8-bit integers.
      plan: how the net is executed; weights and what a step returns are float32 in any case.
      embedding: E, `[vocabulary_size + 1, input_width]`; its last row starts at zero.
      net: the recurrent layer.
      output_kernel: W, `[units, vocabulary_size]`.
      output_bias: b, `[vocabulary_size]`.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int, plan: Plan = PLAIN, **kwargs):
        policy = "mixed_bfloat16" if plan.dtype == "bfloat16" else plan.dtype
        super().__init__(dtype=policy, autocast=False, **kwargs)
        self.config = config
        self.vocabulary_size = vocabulary_size
        self.plan = plan
        self.net = make_net(config, policy)
        self.net.plan = plan
        self.packed: Packed | None = None
        self.quantized = False
        self.build()

    def build(self, _=None):
        self.net.build((None, None, self.net.input_width))
        self.embedding = self.add_weight(
            autocast=False,
            name="embedding",
            shape=(self.vocabulary_size + 1, self.net.input_width),
            initializer=self._initial_embedding,
        )
        scale = self.config.init_scale or self.config.units**-0.5
        self.output_kernel = self.add_weight(
            autocast=False,
            name="output_kernel",
            shape=(self.config.units, self.vocabulary_size),
            initializer=keras.initializers.RandomUniform(-scale, scale),
        )
        self.output_bias = self.add_weight(
            autocast=False, name="output_bias", shape=(self.vocabulary_size,), initializer="zeros"
        )
        self.built = True

    def _initial_embedding(self, shape, dtype):
        """Uniform for characters; zero for "no known character", which training hardly sees."""
        scale = self.config.init_scale or 1.0
        characters = keras.initializers.RandomUniform(-scale, scale)(
            (shape[0] - 1, shape[1]), dtype
        )
        return tf.concat([characters, tf.zeros([1, shape[1]], dtype)], axis=0)

    def initial_state(self, batch: int | tf.Tensor) -> CharacterState:
        """The state of `batch` texts of which nothing has been read."""
        previous = tf.fill([batch], tf.constant(self.vocabulary_size))
        zeros = tf.zeros([self.config.layers, batch, self.config.units], self.variable_dtype)
        return CharacterState(previous, zeros, zeros)

    def call(
        self,
        ids: tf.Tensor,
        state: CharacterState,
        training: bool = False,
        seed: tf.Tensor | None = None,
        keep: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, CharacterState]:
        """The predictions for given characters.

        Args:
          ids: `[batch, steps]`, int32, the characters to predict, at least one step.
          state: what came before them.
          training: whether a gradient will be asked for.
          seed: `[2]`, int32, the seed of the dropout masks; None for no dropout.
          keep: `[batch, steps]`, boolean, False after the end of a text, where its state stays as
            it is; None for texts of the same length. Not for training.

        Returns:
          Logits `[steps, batch, vocabulary_size]`, time-major, where row t has seen the characters
          before t and not t itself; and the state after the last character.
        """
        if self.quantized:
            return self._by_steps(ids, state, keep)
        time_major = tf.transpose(ids)
        previous = tf.concat([state.previous[None], time_major[:-1]], axis=0)
        outputs, net_state = self.net.over_time(
            *self.net.enter(self._embed(previous)),
            State(state.hidden, state.memory),
            training=training,
            seed=seed,
            keep=None if keep is None else tf.transpose(keep),
        )
        if seed is not None and self.config.dropout:
            top_seed = tf.random.experimental.stateless_fold_in(seed, 1)
            outputs *= dropout_mask(outputs.shape, self.config.dropout, top_seed, outputs.dtype)
        hidden, memory = (tf.cast(part, self.variable_dtype) for part in net_state)
        last = time_major[-1]
        if keep is not None:
            lengths = tf.reduce_sum(tf.cast(keep, tf.int32), axis=1)
            with_previous = tf.concat([state.previous[:, None], ids], axis=1)
            last = tf.gather(with_previous, lengths, batch_dims=1)
        return self._logits(outputs), CharacterState(last, hidden, memory)

    def _by_steps(self, ids, state, keep):
        """`call` by the only products that a quantized net has, those of one step."""
        stepper = self.stepper()

        def step(at, state, logits):
            scores, after = stepper(state)
            new = CharacterState(ids[:, at], *after.state)
            if keep is not None:
                new = choose_rows(keep[:, at], new, state)
            return at + 1, new, logits.write(at, scores)

        steps = tf.shape(ids)[1]
        logits = tf.TensorArray(tf.float32, steps, element_shape=[None, self.vocabulary_size])
        _, state, logits = tf.while_loop(
            lambda at, *_: at < steps, step, (0, CharacterState(*state), logits)
        )
        return logits.stack(), state

    def stepper(self) -> Callable[..., tuple[tf.Tensor, Step]]:
        """A function to be called in a loop, which feeds the previous character.

        It takes a state, and whether the gates are wanted, and returns the logits of the next
        character, `[batch, vocabulary_size]`, and what the net made of it. Kernels that are not
        packed yet are packed here, outside of the loop.
        """
        packed = self.packed or self.net.pack(self.compute_dtype)
        column = self.net.column(tf.nest.map_structure(tf.convert_to_tensor, packed))
        embedding = tf.convert_to_tensor(self.embedding)

        def step(state, gates=False):
            hidden, *memory = self._entering(tf.gather(embedding, state.previous))
            if packed.table:
                hidden = state.previous
            after = column(hidden, *memory, State(state.hidden, state.memory), gates)
            return self._logits(after.hidden), after

        return step

    def freeze(self, quantize: bool = False) -> None:
        """Ends the training: kernels are stored in the compute dtype, and packed for `stepper`.

        Args:
          quantize: whether to keep the net's kernels as 8-bit integers alone, see
            `packed_kernels.QuantizedKernel`; then a text is read step by step, too.
        """
        hidden, *_ = self._entering(self.embedding)
        packed = self.net.pack("int8" if quantize else self.compute_dtype, hidden)
        self.packed = tf.nest.map_structure(
            lambda part: tf.Variable(part, trainable=False, name="packed"), packed
        )
        self.quantized = quantize
        if quantize:
            self.net.store_kernels(None)
        elif self.compute_dtype != self.variable_dtype:
            self.net.store_kernels(self.compute_dtype)
            self.output_kernel = stored_kernel(self.output_kernel, self.compute_dtype)

    @property
    def weights_in_use(self) -> list:
        """All variables that the model reads."""
        own = [self.embedding, self.output_kernel, self.output_bias]
        return [*self.net.weights_in_use, *own, *tf.nest.flatten(self.packed or ())]

    def _entering(self, embedded):
        """What enters the bottom of the net, in the dtype of its memories."""
        return [tf.cast(part, self.variable_dtype) for part in self.net.enter(embedded)]

    def _embed(self, ids):
        return tf.gather(tf.convert_to_tensor(self.embedding), ids)

    def _logits(self, outputs):
        flat = outputs if len(outputs.shape) == 2 else tf.reshape(outputs, [-1, outputs.shape[-1]])
        flat = tf.cast(flat, self.compute_dtype)
        product = tf.matmul(flat, tf.cast(self.output_kernel, flat.dtype))
        logits = tf.cast(product, self.variable_dtype) + tf.convert_to_tensor(self.output_bias)
        if len(outputs.shape) == 2:
            return logits
        return tf.reshape(logits, tf.concat([tf.shape(outputs)[:-1], [self.vocabulary_size]], 0))


def make_net(config: ModelConfig, policy: str) -> GridLSTM | StackedLSTM:
    """The recurrent layer that a configuration describes."""
    scale = config.init_scale or config.units**-0.5
    initializer = keras.initializers.RandomUniform(-scale, scale)
    if config.architecture == "stacked":
        return StackedLSTM(
            config.units,
            config.layers,
            kernel_initializer=initializer,
            forget_bias=config.forget_bias,
            dropout=config.dropout,
            dtype=policy,
            name=config.architecture,
        )
    return GridLSTM(
        config.units,
        config.layers,
        priority=config.equations.priority,
        tied=config.tied,
        output_equation=config.output_equation,
        input_memory=config.input_memory,
        project_inputs=False,
        recurrent_initializer=initializer,
        forget_bias=config.forget_bias,
        dropout=config.dropout,
        dtype=policy,
        name=config.architecture,
    )


def choose_rows(chosen: tf.Tensor, new: T, old: T) -> T:
    """Row by row, `[batch]`, the new or the old one of two states of the same structure.

    Those parts that have a dimension of layers begin with it.
    """

    def part(new, old):
        rows = [1] * len(new.shape)
        rows[1 if len(new.shape) == 3 else 0] = -1
        return tf.where(tf.reshape(chosen, rows), new, old)

    return tf.nest.map_structure(part, new, old)
