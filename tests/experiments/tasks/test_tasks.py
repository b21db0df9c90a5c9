"""The tasks of experiments, and the nets that are compared on them."""

import pathlib
import sysconfig

import keras
import numpy as np
import pytest
import tensorflow as tf
from seeds import generator
from sklearn.datasets import load_digits

from experiments.tasks import nets
from experiments.tasks.algorithmic_tasks import Addition, Memorisation, Parity
from experiments.tasks.finite_tasks import CodeAttribution, DigitImages
from experiments.tasks.fitting import FitConfig, compiled_model
from experiments.tasks.nets import Net
from experiments.tasks.task import UNCOUNTED


def drawn(task, size=200):
    """Examples of a task that nobody has seen before, as arrays."""
    seed = tf.constant(generator().integers(0, 2**31 - 2, 2), tf.int32)
    return [part.numpy() for part in task.draw(seed, size)]


def symbols(inputs):
    """The symbols of one-hot rows."""
    assert set(np.unique(inputs)) <= {0, 1} and (inputs.sum(-1) == 1).all()
    return inputs.argmax(-1)


def test_parity_is_that_of_the_ones():
    inputs, labels = drawn(Parity(7))
    assert inputs.shape == (200, 7) and set(np.unique(inputs)) == {-1, 1}
    for bits, label in zip(inputs, labels, strict=True):
        assert label == sum(bit == 1 for bit in bits) % 2


@pytest.mark.parametrize("digits", [1, 3, 15])
def test_sums_follow_their_terms(digits):
    inputs, labels = drawn(Addition(digits))
    lengths = set()
    for row, said in zip(symbols(inputs), labels, strict=True):
        text = "".join("0123456789-"[symbol] for symbol in row)
        blank, first, second, rest = text[0], *text[1:].split("-", 2)
        assert blank == "-" and len(first) == len(second) == digits and set(rest) == {"-"}
        answer = "".join(" " if s == UNCOUNTED else "0123456789-"[s] for s in said)
        expected = str(int(first) + int(second)) + "-"
        before = 2 * digits + 2
        assert answer[:before] == " " * before
        assert answer[before:].rstrip("-") == expected.rstrip("-")
        assert answer[before : before + len(expected)] == expected
        lengths.add(len(expected))
    assert len(lengths) == 2, "sums with and without a carry beyond the first digit"


def test_sequences_are_repeated_after_their_end():
    inputs, labels = drawn(Memorisation(5, symbols=9))
    for row, said in zip(symbols(inputs), labels, strict=True):
        sequence = row[1:6]
        assert row[0] == 9 and (row[6:] == 9).all() and (sequence < 9).all()
        assert (said[:6] == UNCOUNTED).all()
        assert list(said[6:]) == [*sequence, 9]


@pytest.mark.parametrize("task", [Parity(64), Addition(15), Memorisation(20)], ids=str)
def test_held_out_examples_are_new_to_every_training(task):
    def rows(examples):
        return {row.tobytes() for row in examples.inputs.numpy()}

    held_out = rows(task.held_out())
    assert held_out == rows(task.held_out()) and len(held_out) == 1000
    for step in range(20):
        assert not held_out & rows(task.draw(tf.constant([0, step]), 64))


def test_patches_are_squares_of_the_image():
    images, labels = load_digits(return_X_y=True)
    given, said = DigitImages("digits", 2).held_out()
    assert len(given) == 359 and (said.numpy() == labels[4::5]).all()
    number = int(generator().integers(359))
    image = images[4::5][number].reshape(8, 8) / 16
    for row, column in np.ndindex(4, 4):
        square = image[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_array_equal(given[number, row, column], square.ravel())


@pytest.mark.slow
def test_lines_are_of_one_project_and_either_trained_on_or_tested():
    task = CodeAttribution(length=40, lines=300)
    parts = [
        [("".join(map(chr, row)).lstrip(), label) for row, label in zip(*examples, strict=True)]
        for examples in task.arrays()
    ]
    trained, tested = map(set, parts)
    assert not {line for line, _ in trained} & {line for line, _ in tested}
    assert len(tested) > 100 and {label for _, label in tested} == set(range(task.classes))
    for project in range(task.classes):
        assert 0.8 * 300 < sum(label == project for _, label in parts[0] + parts[1]) <= 300
    line, label = parts[1][int(generator().integers(len(parts[1])))]
    folder = pathlib.Path(sysconfig.get_path("purelib"), task.projects[label])
    assert any(line in path.read_text(errors="replace") for path in folder.rglob("*.py"))
    inputs, _ = task.held_out()
    assert inputs.shape[1:] == (40, 95)
    codes = symbols(inputs.numpy()) + 32
    np.testing.assert_array_equal(codes, task.arrays()[1].inputs)


def test_training_examples_repeat_and_test_examples_do_not():
    task = DigitImages("digits", 4)
    tested = {row.tobytes() for row in task.held_out().inputs.numpy()}
    inputs, labels = drawn(task, 3000)
    seen = {row.tobytes() for row in inputs}
    assert not seen & tested and 1000 < len(seen) < 1439
    assert set(labels) == set(range(10))


def highway(inputs, weights, layers):
    """A highway net in float64, by its formula."""
    project, start, kernel, bias, out, end = [np.asarray(w, np.float64) for w in weights]
    hidden = inputs @ project + start
    for layer in range(layers):
        product = hidden @ kernel[layer % len(kernel)] + bias[layer % len(bias)]
        transform, candidate = np.split(product, 2, axis=-1)
        transform = 1 / (1 + np.exp(-transform))
        hidden = transform * np.tanh(candidate) + (1 - transform) * hidden
    return hidden @ out + end


def plain(inputs, weights, layers, activation):
    """A feed-forward net in float64, by its formula."""
    project, start, kernel, bias, out, end = [np.asarray(w, np.float64) for w in weights]
    hidden = inputs @ project + start
    for layer in range(layers):
        hidden = activation(hidden @ kernel[layer % len(kernel)] + bias[layer % len(bias)])
    return hidden @ out + end


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("architecture", ["highway", "tanh", "relu"])
def test_feed_forward_nets_compute_their_formulas(architecture, tied):
    task = Parity(6)
    model = nets.build(Net(architecture, 3, 8, tied, input_signs=0.5), task, 16, compiled=False)
    inputs, _ = drawn(task)
    weights = [weight.numpy() for weight in model.weights]
    assert set(np.abs(weights[0]).ravel()) == {0.5}
    if architecture == "highway":
        expected = highway(inputs, weights, 3)
    else:
        relu = {"relu": lambda x: np.maximum(x, 0)}
        expected = plain(inputs, weights, 3, relu.get(architecture, np.tanh))
    np.testing.assert_allclose(model(inputs), expected, rtol=1e-4, atol=1e-5)
    wider = nets.build(Net(architecture, 6, 8, tied), task, 16, compiled=False).count_params()
    assert (wider == model.count_params()) == tied, "only tied layers cost nothing"


def test_a_stacked_net_is_keras_lstms():
    task = Memorisation(3, symbols=5)
    model = nets.build(Net("stacked", 2, 8), task, 16, compiled=True)
    inputs, _ = drawn(task, 16)
    project, start, kernel, bias, out, end = [weight.numpy() for weight in model.weights]
    hidden = inputs @ project + start
    order = [0, 1, 3, 2]  # ours are i, f, o, g and Keras's i, f, g, o
    for layer in range(2):
        lstm = keras.layers.LSTM(8, return_sequences=True)
        lstm.build(hidden.shape)
        parts = np.split(kernel[layer], 4, axis=1), np.split(bias[layer], 4)
        ours, ours_bias = (np.concatenate([p[i] for i in order], axis=-1) for p in parts)
        lstm.set_weights([ours[:8], ours[8:], ours_bias])
        hidden = lstm(hidden)
    np.testing.assert_allclose(model(inputs), hidden @ out + end, rtol=1e-4, atol=1e-5)


def test_a_grid_of_three_dimensions_reads_its_last_cell():
    task = DigitImages("digits", 4)
    model = nets.build(Net("grid", 2, 8), task, 4, compiled=True)
    inputs = task.held_out().inputs[:4]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(model(inputs, training=True) ** 2)
    gradient = tape.gradient(loss, inputs).numpy()
    assert model(inputs).shape == (4, 10)
    assert (np.abs(gradient).max(axis=-1) > 0).all(), "it has seen every patch"


@pytest.mark.parametrize("architecture,dimensions", [("grid", 2), ("stacked", 1)])
def test_forget_biases_start_at_the_given_value(architecture, dimensions):
    net, task = Net(architecture, 3, 8, forget_bias=4.0), Memorisation(3, symbols=5)
    model = nets.build(net, task, 16, compiled=True)
    found = sum((weight.numpy() == 4).sum() for weight in model.weights)
    assert found == 3 * dimensions * 8


@pytest.mark.parametrize(
    "net,examples,compiled",
    [
        (Net("grid", 2, 8), 16_000, True),
        (Net("stacked", 3, 8), 16_000, True),
        (Net("grid", 3, 8), 16_000, False),
        (Net("grid", 2, 8), 1600, False),
    ],
)
def test_many_steps_of_a_small_net_over_sequences_are_one_program(net, examples, compiled):
    config = FitConfig(examples=examples, test_every=160, batch_size=16)
    assert compiled_model(Memorisation(3, symbols=5), net, config).jit_compile == compiled
