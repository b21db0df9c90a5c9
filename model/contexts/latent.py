"""A latent vector of a text, which is given from outside."""

from typing import Any

import tensorflow as tf

from ..core import State
from ..shapes import shape_of
from .context import Context, ContextReading


class LatentContext(Context):
    """A vector z that is given for each text, from which it begins and which it sees at each step.

        h_0 = m_0 = tanh(z U) in each layer;  x_t = E[c_{t-1}] + z V

    Bowman et al., "Generating Sentences from a Continuous Space" (arXiv 1511.06349), where z is
    drawn from the posterior of an encoder, or from the prior; `sentences.sentence_model` has that
    model. A memory wider than the hidden vector begins as copies of it.

    The size is the number of components of z, 32 by default. The state is z itself, zeros for a
    text for which none is given.

    Attributes:
      hidden_kernel: The kernel U, `[size, state_layers * units]`.
      input_kernel: The kernel V, `[size, input_width]`.
    """

    default_size = 32
    enters_input = True
    is_given = True

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        self.state_width = self.size
        scale = self.size**-0.5
        width = self.net.state_layers * self.net.units
        self.hidden_kernel = self.add_kernel("hidden_kernel", self.size, width, scale)
        self.input_kernel = self.add_kernel("input_kernel", self.size, self.net.input_width, scale)
        self.built = True

    def initial_state(self, batch: int | tf.Tensor, given: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the vectors that are given, `[batch, size]`; see `Context`."""
        return super().initial_state(batch) if given is None else tf.cast(given, tf.float32)

    def core_state(self, weights: Any, state: tf.Tensor) -> State:
        """Returns the state of the core before the first character; see `Context.core_state`."""
        layers, units = self.net.state_layers, self.net.units
        product = tf.tanh(self.product(state, weights["hidden_kernel"]))
        rows = tf.reshape(product, [shape_of(state)[0], layers, units])
        hidden = tf.transpose(rows, [1, 0, 2])
        memory = tf.tile(hidden, [1, 1, self.net.memory_width // units])
        return State(hidden=hidden, memory=memory)

    def read(
        self,
        weights: Any,
        ids: tf.Tensor,
        state: tf.Tensor,
        keep: tf.Tensor | None = None,
        training: bool = False,
    ) -> ContextReading:
        """Returns z V as the input of each step; see `Context.read`."""
        del keep, training
        inputs = self.product(state, weights["input_kernel"])
        shape = [*shape_of(ids), self.net.input_width]
        return ContextReading(state=state, inputs=tf.broadcast_to(inputs, shape))
