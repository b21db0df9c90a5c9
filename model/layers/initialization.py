"""Initial values: each variable of a layer, and each of its layers, draws numbers of its own."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

Initializer = Callable[..., tf.Tensor]


class VariableInitializers:
    """Initializers of the variables of a layer, made from the one that the user gives.

    A Keras initializer draws the same numbers at each call, so that all variables of one shape
    would begin alike. The first variable has the user's initializer itself, those after it have
    others of the same distribution, with the next seeds if there is a seed.
    """

    def __init__(self, initializer: Initializer):
        """Begins with the first variable.

        Args:
          initializer: The user's initializer.
        """
        self._initializer = initializer
        self._used = 0

    def of_variable(self) -> Initializer:
        """Returns the initializer of the next variable."""
        self._used += 1
        return _another(self._initializer, self._used - 1)

    def of_layers(self, layers: int) -> Initializer:
        """Returns the initializer of the next variable `[layers, ...]`, of a number of layers.

        Glorot's bounds depend on the shape of a kernel, and an orthogonal kernel is orthogonal in
        itself: neither would hold for a layer if the kernels of all were drawn as one tensor. So
        each layer's are drawn by themselves, unless the shape does not matter.

        Args:
          layers: The number of layers.
        """
        initializers = [self.of_variable() for _ in range(layers)]
        if isinstance(self._initializer, _SHAPELESS):
            return initializers[0]

        def initialize(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
            # A vector is drawn as a matrix of one row, as some initializers take no vectors.
            own = shape[1:] if len(shape) > 2 else (1, *shape[1:])
            drawn = tf.stack([draw(own, dtype=dtype) for draw in initializers])
            return tf.reshape(drawn, shape)

        return initialize


_SHAPELESS = (
    keras.initializers.Constant,
    keras.initializers.Ones,
    keras.initializers.RandomNormal,
    keras.initializers.RandomUniform,
    keras.initializers.TruncatedNormal,
    keras.initializers.Zeros,
)
"""Initializers whose every number has the same distribution, whatever the shape."""


def _another(initializer: Initializer, number: int) -> Initializer:
    """Returns an initializer of the same distribution, whose number is added to the seed."""
    if number == 0 or not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    if isinstance(getattr(initializer, "seed", None), keras.random.SeedGenerator):
        return initializer  # which draws other numbers at each call
    config = initializer.get_config()
    if isinstance(config.get("seed"), int):
        config["seed"] += number
    try:
        return type(initializer).from_config(config)
    except TypeError:  # a class of the user without a configuration
        return initializer
