"""The networks in JAX: a jitted `lax.scan` over time with a loop over layers."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.problem import CLIP_VALUE, LEARNING_RATE, RHO, Problem, Size

Vectors = tuple[jax.Array, jax.Array]
"""Hidden and memory vectors."""
Weights = list[Any]
"""The first five entries of a `Problem`, as arrays of JAX."""


def make_scan(size: Size, problem: Problem, dtype: str) -> Callable[[], float]:
    """Returns a training step.

    Args:
      size: Size of the network.
      problem: Weights and text.
      dtype: Dtype of the products; all else is float32.
    """
    compute = jnp.dtype(dtype)
    units, layers = size.units, size.layers
    ids = jnp.asarray(problem.ids)

    def lstm(inputs: jax.Array, memory: jax.Array, kernel: jax.Array, bias: jax.Array) -> Vectors:
        product = inputs.astype(compute) @ kernel.astype(compute)
        gates = product.astype(jnp.float32) + bias
        i, f, o = jnp.split(jax.nn.sigmoid(gates[:, : 3 * units]), 3, axis=1)
        memory = f * memory + i * jnp.tanh(gates[:, 3 * units :])
        return o * jnp.tanh(memory), memory

    def grid_step(
        weights: Weights, state: list[Vectors], read: jax.Array
    ) -> tuple[list[Vectors], jax.Array]:
        (time_kernel, depth_kernel), (time_bias, depth_bias) = weights[:2]
        hidden, memory = jnp.split(read, 2, axis=1)
        new = []
        for old_hidden, old_memory in state:
            h_concat = jnp.concatenate([old_hidden, hidden], axis=1)
            new.append(lstm(h_concat, old_memory, time_kernel, time_bias))
            h_concat = jnp.concatenate([new[-1][0], hidden], axis=1)
            hidden, memory = lstm(h_concat, memory, depth_kernel, depth_bias)
        return new, hidden

    def stacked_step(
        weights: Weights, state: list[Vectors], read: jax.Array
    ) -> tuple[list[Vectors], jax.Array]:
        new = []
        for (hidden, memory), kernel, bias in zip(state, *weights[:2], strict=True):
            h_concat = jnp.concatenate([read, hidden], axis=1)
            new.append(lstm(h_concat, memory, kernel, bias))
            read = new[-1][0]
        return new, read

    decode_step = grid_step if size.model == "grid" else stacked_step

    def loss_of(weights: Weights) -> jax.Array:
        _, _, embedding, output_kernel, output_bias = weights
        zeros = [(jnp.zeros((size.batch, units)),) * 2] * layers
        read = embedding[ids[:, :-1].T]
        _, outputs = jax.lax.scan(functools.partial(decode_step, weights), zeros, read)
        logits = (outputs.astype(compute) @ output_kernel.astype(compute)).astype(jnp.float32)
        likelihood = jax.nn.log_softmax(logits + output_bias)
        return -jnp.take_along_axis(likelihood, ids[:, 1:].T[..., None], axis=2).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(weights: Weights, squares: Weights) -> tuple[Weights, Weights, jax.Array]:
        loss, gradients = jax.value_and_grad(loss_of)(weights)
        gradients = jax.tree.map(lambda g: jnp.clip(g, -CLIP_VALUE, CLIP_VALUE), gradients)
        squares = jax.tree.map(lambda s, g: RHO * s + (1 - RHO) * g * g, squares, gradients)
        weights = jax.tree.map(
            lambda w, g, s: w - LEARNING_RATE * g / (jnp.sqrt(s) + 1e-7),
            weights,
            gradients,
            squares,
        )
        return weights, squares, loss

    current = jax.tree.map(jnp.asarray, list(problem[:5]))
    current = [current, jax.tree.map(jnp.zeros_like, current)]

    def run() -> float:
        *current[:], loss = step(*current)
        return float(loss)

    return run
