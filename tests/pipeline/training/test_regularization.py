"""Averages and decay of the weights, and DropConnect."""

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from model.errors import InputError
from model.language_model.character_model import CharacterModel
from model.language_model.config import Architecture, ModelConfig
from model.language_model.forward import drop_connections
from pipeline.settings import TrainingConfig
from pipeline.stages.trainer import make_strategy
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.initial_weights import InitialWeights
from pipeline.training.learner import Learner


def learner(config, devices=("cpu:0",)):
    strategy = make_strategy(devices)
    return Learner(strategy, ModelConfig(layers=2, units=8), 10, config, 100, 100)


def weights_of_steps(current, count):
    """Trains for some steps; yields the weights before each and after the last."""
    windows = generator().integers(0, 10, (count, 4, 6), np.int32)
    state = current.initial_state()
    yield current.model.get_weights()
    for step, ids in enumerate(current.distribute(tf.data.Dataset.from_tensor_slices(windows))):
        _, state = current.train(ids, state, tf.constant(step, tf.int64))
        yield current.model.get_weights()


@pytest.mark.parametrize(
    "devices", [["cpu:0"], pytest.param(["cpu:0", "cpu:1"], marks=pytest.mark.slow)], ids=len
)
def test_averages_follow_the_weights(devices):
    config = TrainingConfig(batch_size=4, window=6, average_decay=0.4, dtype="float32")
    current = learner(config, devices)
    averages, *weights = weights_of_steps(current, 5)
    for step, trained in enumerate(weights, start=1):
        decay = min(0.4, (1 + step) / (10 + step))
        averages = [
            decay * average + (1 - decay) * weight
            for average, weight in zip(averages, trained, strict=True)
        ]
    with current.evaluated():
        found = current.model.get_weights()
    assert any(np.any(one != other) for one, other in zip(found, weights[-1], strict=True))
    for average, expected in zip(found, averages, strict=True):
        np.testing.assert_allclose(average, expected, rtol=1e-5, atol=1e-6)
    for weight, expected in zip(current.model.get_weights(), weights[-1], strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("is_best_damaged", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_best_checkpoint_has_the_averages(tmp_path, is_best_damaged):
    config = TrainingConfig(batch_size=4, window=6, average_decay=0.9)
    current = learner(config)
    *_, trained = weights_of_steps(current, 3)
    with current.evaluated():
        averages = current.model.get_weights()
    checkpoints = Checkpoints(str(tmp_path), current)
    checkpoints.save(current.initial_state(), 3, 2.5)
    if is_best_damaged:
        (index,) = (tmp_path / "checkpoints" / "best").glob("*.index")
        index.write_bytes(b"damaged")

    again = learner(config)
    Checkpoints(str(tmp_path), again).restore()
    for weight, expected in zip(again.model.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(weight, expected)
    Checkpoints(str(tmp_path), again).restore_best()
    for weight, expected in zip(again.model.get_weights(), averages, strict=True):
        np.testing.assert_array_equal(weight, expected)


def test_kernels_decay_apart_from_the_gradient():
    config = TrainingConfig(
        batch_size=4, window=6, learning_rate=0.1, schedule="constant", dtype="float32"
    )
    plain, decaying = (
        learner(TrainingConfig(**{**vars(config), "weight_decay": decay})) for decay in (0, 0.5)
    )
    decaying.model.set_weights(plain.model.get_weights())
    ids = generator().integers(0, 10, (1, 4, 6), np.int32)
    before, after = [], []
    for current in (plain, decaying):
        before.append(current.model.get_weights())
        for window in current.distribute(tf.data.Dataset.from_tensor_slices(ids)):
            current.train(window, current.initial_state(), tf.constant(0, tf.int64))
        after.append(current.model.get_weights())
    names = [variable.name for variable in plain.model.trainable_variables]
    assert {"output_kernel", "embedding", "output_bias"} <= set(names)
    for name, start, one, other in zip(names, before[0], *after, strict=True):
        decay = 0.1 * 0.5 * start if name.endswith("kernel") else 0.0
        np.testing.assert_allclose(other, one - decay, rtol=1e-4, atol=1e-6, err_msg=name)


def test_every_matrix_of_a_mogrifier_is_a_kernel_that_decays():
    core = CharacterModel(ModelConfig(units=8, mogrifier_rounds=3), 10).core
    gates = [one.name for one in core.trainable_variables if "mogrifier" in one.name]
    assert len(gates) == 6 and all(name.endswith("kernel") for name in gates)


@pytest.mark.parametrize("architecture", Architecture.__args__)
def test_connections_are_dropped_while_training(architecture):
    config = ModelConfig(architecture, layers=2, units=8, weight_dropout=0.5)
    model = CharacterModel(config, 10)
    ids = tf.constant(generator().integers(0, 10, (3, 5), np.int32))
    seed, other_seed = tf.constant([1, 2]), tf.constant([3, 4])

    def logits(**arguments):
        return model(ids, model.initial_state(3), **arguments)[0].numpy()

    dropped = logits(training=True, seed=seed)
    np.testing.assert_array_equal(dropped, logits(training=True, seed=seed))
    assert np.max(np.abs(dropped - logits(training=True, seed=other_seed))) > 1e-3
    assert np.max(np.abs(dropped - logits())) > 1e-3

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(ids, model.initial_state(3), training=True, seed=seed)[0] ** 2)
    variables = model.core.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        if variable.name == "recurrent_kernel" or len(variable.shape) == 3:
            share = np.mean(gradient.numpy() == 0)
            assert 0.3 < share < 0.7, (variable.path, share)


def test_half_of_the_connections_are_left_and_their_mean_stays():
    kernel = tf.ones([2, 100, 100])
    dropped, bias = drop_connections((kernel, tf.ones([2, 100])), 0.25, tf.constant([1, 2]))
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.75)}
    assert np.mean(dropped) == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(bias, np.ones([2, 100]))


@pytest.mark.parametrize(
    "config,name,value",
    [
        (TrainingConfig, "average_decay", 1.0),
        (TrainingConfig, "average_decay", -0.1),
        (TrainingConfig, "weight_decay", -0.1),
        (ModelConfig, "weight_dropout", 1.0),
    ],
)
def test_values_out_of_range_are_refused(config, name, value):
    with pytest.raises(InputError, match=f"{name} is {value}"):
        config(**{name: value})


@pytest.mark.slow
def test_another_training_begins_with_the_averages(tmp_path):
    config = TrainingConfig(batch_size=4, window=6, average_decay=0.9)
    current = learner(config)
    list(weights_of_steps(current, 3))
    Checkpoints(str(tmp_path), current).save(current.initial_state(), 3, 2.5)
    (tmp_path / "architecture.json").write_text(
        '{"model": {"layers": 2, "units": 8}, "vocabulary": {"unit": "bytes", "code_points": '
        f"{list(range(10))}}}}}"
    )
    initial = InitialWeights(str(tmp_path))
    new = CharacterModel(current.model.config, 10)
    initial.load(new, initial.vocabulary)
    with current.evaluated():
        expected = current.model.get_weights()
    for weight, average in zip(new.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, average)
