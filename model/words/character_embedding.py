"""The vector of a word from its characters: convolutions, the maximum over time, highway layers."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from ..config import require_integer
from ..layers.initialization import VariableInitializers
from ..layers.stacked_dense import StackedDense
from ..shapes import shape_of
from .config import require_convolutions
from .spelling import PADDING


@keras.saving.register_keras_serializable(package="grid_lstm")
class CharacterWordEmbedding(keras.layers.Layer):
    """The vector of a word from its characters.

    Kim, Jernite, Sontag, Rush, "Character-Aware Neural Language Models" (arXiv 1508.06615). Of a
    word of the characters c_1, ..., c_n, with E the embedding of characters, each convolution of
    width w and its maps K_w and biases b_w computes

        x_t = E[c_t] for t <= n, and 0 after the word
        f_w = max_{1 <= t <= n} tanh([x_t, ..., x_{t+w-1}] K_w + b_w)

    and the vector of the word is y = highway([f_1, ..., f_6]), with the layers of
    `layers.StackedDense`: T = sigmoid(y W_T + b_T), y' = T * relu(y W + b) + (1 - T) * y.

    The windows of a convolution begin at each character of the word, and see zeros after its end,
    so that a word may be shorter than a window, and no vector depends on how long the padding is.
    (The authors' code also lets the windows begin within the padding, which shorter words have more
    of.) Id 0 is padding, and comes after the word only. A row of padding alone has f = 0.

    >>> layer = CharacterWordEmbedding(30, widths=(1, 2, 3), maps_per_width=4)
    >>> words = np.array([[1, 9, 7, 2], [1, 8, 2, 0]])  # two words with the ids of `Spelling`
    >>> layer(words).shape
    TensorShape([2, 24])

    Args:
      vocabulary_size: The number of distinct ids of characters, padding included.
      character_width: The width of the embedding of a character. Default 15.
      widths: The numbers of characters w that the convolutions see. Default 1 to 6.
      maps_per_width: The number of maps of a convolution per character that it sees. Default 25.
      max_maps: The largest number of maps of a convolution, which has min(`max_maps`,
        `maps_per_width` * w). Default 200.
      highway_layers: The number of highway layers. Default 1.
      transform_bias: The initial b_T. Default -2, as in the paper.
      kernel_initializer: The initializer of E and of all kernels. Default "uniform", within +-0.05.
      **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
      InputError: If an argument is invalid; the message names it, its value and what is expected.

    Attributes:
      maps: The number of maps of each convolution.
      units: The width of the vector of a word, the number of all maps.
      embeddings: The embedding E, `[vocabulary_size, character_width]`; its row 0 is not used.
      kernels: The kernel K_w of each convolution, `[w * character_width, maps]`.
      bias: The biases b_w of all convolutions side by side, `[units]`.
      highway: The highway layers, a `StackedDense`; None for none.
    """

    def __init__(
        self,
        vocabulary_size: int,
        character_width: int = 15,
        widths: Sequence[int] = (1, 2, 3, 4, 5, 6),
        maps_per_width: int = 25,
        max_maps: int = 200,
        highway_layers: int = 1,
        transform_bias: float = -2.0,
        kernel_initializer: Any = "uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.vocabulary_size = require_integer("vocabulary_size", vocabulary_size, 2)
        require_convolutions(character_width, tuple(widths), maps_per_width, max_maps)
        self.character_width = int(character_width)
        self.widths = tuple(map(int, widths))
        self.maps_per_width = int(maps_per_width)
        self.max_maps = int(max_maps)
        self.maps = tuple(min(max_maps, maps_per_width * width) for width in self.widths)
        self.units = sum(self.maps)
        self.highway_layers = require_integer("highway_layers", highway_layers, 0)
        self.transform_bias = float(transform_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self._initializers = VariableInitializers(self.kernel_initializer)
        self.highway: Any = None
        if highway_layers:
            self.highway = StackedDense(
                self.units,
                highway_layers,
                transform_bias=transform_bias,
                kernel_initializer=self._initializers.of_variable(),
                dtype=self.dtype_policy,
                name="highway",
            )

    def build(self, _: Any = None) -> None:
        """Creates the variables."""
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.vocabulary_size, self.character_width),
            initializer=self._initializers.of_variable(),
        )
        self.kernels = [
            self.add_weight(
                name=f"kernel{width}",
                shape=(width * self.character_width, maps),
                initializer=self._initializers.of_variable(),
            )
            for width, maps in zip(self.widths, self.maps, strict=True)
        ]
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        if self.highway is not None:
            self.highway.build((None, self.units))
        self.built = True

    def call(self, characters: tf.Tensor) -> tf.Tensor:
        """Computes the vectors of words.

        Args:
          characters: The ids of the characters of each word, `[..., longest]`, int32, 0 for padding
            after the word.

        Returns:
          The vectors, `[..., units]`.
        """
        return self._of_each(characters, self._flat_vectors)

    def features(self, characters: tf.Tensor) -> tf.Tensor:
        """Computes the vectors f that enter the highway layers.

        Args:
          characters: The ids of the characters of each word, `[..., longest]`.

        Returns:
          The vectors, `[..., units]`.
        """
        if not self.built:
            self.build()
        return self._of_each(characters, self._flat_features)

    def _of_each(
        self, characters: tf.Tensor, compute: Callable[[tf.Tensor], tf.Tensor]
    ) -> tf.Tensor:
        """Applies a function of words `[words, longest]` to words in any shape."""
        characters = tf.convert_to_tensor(characters)
        *leading, longest = shape_of(characters)
        vectors = compute(tf.reshape(characters, [-1, longest]))
        return tf.reshape(vectors, [*leading, self.units])

    def _flat_vectors(self, characters: tf.Tensor) -> tf.Tensor:
        """Returns the vectors of words, `[words, units]`."""
        features = self._flat_features(characters)
        return features if self.highway is None else self.highway(features)

    def _flat_features(self, characters: tf.Tensor) -> tf.Tensor:
        """Returns the vectors that enter the highway layers, `[words, units]`."""
        is_character = characters != PADDING
        dtype = self.compute_dtype
        embedded = tf.gather(tf.cast(self.embeddings, dtype), characters)
        embedded *= tf.cast(is_character, dtype)[..., None]
        # The maximum comes before tanh, which does not change it, and is then taken once per word.
        products = self._convolve(embedded)
        largest = tf.reduce_max(
            tf.where(is_character[..., None], products, products.dtype.min), axis=1
        )
        features = tf.tanh(largest + tf.cast(self.bias, dtype))
        is_word = tf.reduce_any(is_character, axis=1)
        return tf.where(is_word[:, None], features, tf.zeros_like(features))

    def _convolve(self, embedded: tf.Tensor) -> tf.Tensor:
        """Returns the products of all convolutions at each character, `[words, longest, units]`.

        All convolutions are one product with the kernels side by side, each with zeros for the
        characters beyond its width: a CPU multiplies that faster than it convolves channels as few
        as those of a character.
        """
        widest = max(self.widths)
        longest = tf.shape(embedded)[1]
        padded = tf.pad(embedded, [[0, 0], [0, widest - 1], [0, 0]])
        windows = tf.concat(
            [padded[:, first : first + longest] for first in range(widest)], axis=-1
        )
        rows = widest * self.character_width
        kernel = tf.concat(
            [
                tf.pad(tf.cast(one, embedded.dtype), [[0, rows - one.shape[0]], [0, 0]])
                for one in self.kernels
            ],
            axis=1,
        )
        products = tf.matmul(tf.reshape(windows, [-1, rows]), kernel)
        return tf.reshape(products, [-1, longest, self.units])

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple:
        """Returns the shape of what `call` returns."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict:
        """Returns the arguments that create an equal layer."""
        names = ["vocabulary_size", "character_width", "widths", "maps_per_width", "max_maps"]
        names += ["highway_layers", "transform_bias"]
        config = super().get_config()
        config.update({name: getattr(self, name) for name in names})
        config["kernel_initializer"] = keras.saving.serialize_keras_object(self.kernel_initializer)
        return config
