"""The networks as users of TensorFlow and Keras would write them."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from benchmarks.problem import CLIP_VALUE, LEARNING_RATE, RHO, Problem, Size


def make_cells(size: Size, problem: Problem, dtype: str) -> Callable[[], float]:
    """Returns a training step with loops over time and layers, compiled by XLA.

    Args:
      size: Size of the network.
      problem: Weights and text.
      dtype: Ignored; products are in float32, which is faster in XLA on a CPU.
    """
    del dtype
    units, layers = size.units, size.layers
    variables = [tf.Variable(value) for value in (*problem.kernels, *problem.biases)]
    variables += [tf.Variable(value) for value in problem[2:5]]

    def lstm(
        hidden: tf.Tensor, memory: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        gates, candidate = tf.split(tf.matmul(hidden, kernel) + bias, [3 * units, units], axis=1)
        i, f, o = tf.split(tf.sigmoid(gates), 3, axis=1)
        memory = f * memory + i * tf.tanh(candidate)
        return o * tf.tanh(memory), memory

    def loss_of(ids: tf.Tensor) -> tf.Tensor:
        # Reading a variable within the loop would store it for the gradient at every step.
        weights = [tf.convert_to_tensor(variable) for variable in variables]
        time_kernel, depth_kernel, time_bias, depth_bias, *rest = weights
        embedding, output_kernel, output_bias = rest
        read = tf.gather(embedding, tf.transpose(ids[:, :-1]))
        zeros = [tf.zeros([size.batch, units])] * layers
        outputs = tf.TensorArray(tf.float32, size.window, element_shape=[size.batch, units])

        def decode_step(
            step: tf.Tensor,
            hiddens: list[tf.Tensor],
            memories: list[tf.Tensor],
            outputs: tf.TensorArray,
        ) -> tuple:
            hidden, memory = tf.split(read[step], 2, axis=1)
            new = []
            for old_hidden, old_memory in zip(hiddens, memories, strict=True):
                h_concat = tf.concat([old_hidden, hidden], axis=1)
                new.append(lstm(h_concat, old_memory, time_kernel, time_bias))
                h_concat = tf.concat([new[-1][0], hidden], axis=1)
                hidden, memory = lstm(h_concat, memory, depth_kernel, depth_bias)
            hiddens, memories = map(list, zip(*new, strict=True))
            return step + 1, hiddens, memories, outputs.write(step, hidden)

        *_, outputs = tf.while_loop(
            lambda step, *_: step < size.window,
            decode_step,
            (0, zeros, zeros, outputs),
            maximum_iterations=size.window,
        )
        logits = tf.matmul(tf.reshape(outputs.stack(), [-1, units]), output_kernel) + output_bias
        labels = tf.reshape(tf.transpose(ids[:, 1:]), [-1])
        return tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )

    optimizer = keras.optimizers.RMSprop(LEARNING_RATE, rho=RHO, clipvalue=CLIP_VALUE)
    optimizer.build(variables)
    ids = tf.constant(problem.ids)

    @tf.function(autograph=False, jit_compile=True)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(ids)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return lambda: float(step())


def make_keras_lstm(size: Size, problem: Problem, dtype: str) -> Callable[[], float]:
    """Returns a training step of stacked `keras.layers.LSTM`s, by `train_on_batch`.

    Args:
      size: Size of the network.
      problem: Weights and text.
      dtype: Dtype of the products.
    """
    policy = "mixed_bfloat16" if dtype == "bfloat16" else dtype
    layers = [keras.layers.Embedding(*problem.embedding.shape, dtype=policy)]
    for _ in range(size.layers):
        layers.append(keras.layers.LSTM(size.units, return_sequences=True, dtype=policy))
    layers.append(keras.layers.Dense(problem.output_kernel.shape[1], dtype=policy))
    layers.append(keras.layers.Activation("linear", dtype="float32"))
    model = keras.Sequential(layers)
    model.build((size.batch, size.window))
    units = size.units
    model.layers[0].set_weights([problem.embedding])
    for layer, kernel, bias in zip(
        model.layers[1:-2], problem.kernels, problem.biases, strict=True
    ):

        def order(values: np.ndarray) -> tf.Tensor:  # i, f, o, g to i, f, g, o
            i, f, o, g = (values[..., at * units : (at + 1) * units] for at in range(4))
            return tf.concat([i, f, g, o], axis=-1)

        layer.set_weights([order(kernel[:units]), order(kernel[units:]), order(bias)])
    model.layers[-2].set_weights([problem.output_kernel, problem.output_bias])
    model.compile(
        keras.optimizers.RMSprop(LEARNING_RATE, rho=RHO, clipvalue=CLIP_VALUE),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    read, predicted = tf.constant(problem.ids[:, :-1]), tf.constant(problem.ids[:, 1:])
    return lambda: float(model.train_on_batch(read, predicted))


def make_ceiling(size: Size, problem: Problem, dtype: str) -> Callable[[], float]:
    """Returns one large matrix product of 2 * 4096^3 operations, in place of a training step.

    Args:
      size: Ignored.
      problem: Ignored.
      dtype: Dtype of the product.
    """
    del size, problem
    left, right = (tf.cast(tf.random.normal([CEILING, CEILING]), dtype) for _ in range(2))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(left, right)[:1, :1]), autograph=False)

    # Variables, as products of constants are folded.
    left, right = tf.Variable(left), tf.Variable(right)
    return lambda: 0.0 * float(product())


CEILING = 4096
