"""Highway networks: equal sizes, the search of settings, and the analysis of a trained net."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from experiments.framework.experiment import Inputs
from experiments.highway import highway, highway_report
from experiments.highway.highway_analysis import analyse, lesion_errors, relative_changes
from experiments.tasks import fitting, nets, random_search
from experiments.tasks.finite_tasks import DigitVectors
from experiments.tasks.fitting import FitConfig, compiled_model
from experiments.tasks.nets import Net
from experiments.tasks.random_search import Search
from model.layers.stacked_dense import StackedDense
from pipeline.store.artifacts import Store

TASK = DigitVectors("digits")
SEARCH = Search(
    trials=3,
    trial=FitConfig(640, 640, batch_size=32, until_learned=False),
    fit=FitConfig(3200, 640, batch_size=32, until_learned=False, keep_weights=True),
)


@pytest.mark.parametrize("architecture", highway.MODELS.values())
def test_nets_have_the_parameters_of_a_highway_net_per_layer(architecture):
    def per_layer(architecture, units):
        one, two = (
            nets.build(Net(architecture, layers, units), TASK, 8, compiled=False).count_params()
            for layers in (1, 2)
        )
        return two - one

    width = highway.equal_width(architecture, 50)
    assert per_layer(architecture, width) == highway.parameters(architecture, width)
    assert abs(per_layer(architecture, width) / per_layer("highway", 50) - 1) < 0.02


def test_every_net_tries_the_same_settings_and_a_seed_others():
    drawn = [random_search.draw(3, trial) for trial in range(200)]
    assert drawn == [random_search.draw(3, trial) for trial in range(200)]
    assert len(set(drawn)) == 200 and random_search.draw(4, 0) != drawn[0]
    assert {one.activation for one in drawn} == {"relu", "tanh"}
    for name, least, most in (
        ("learning_rate", 0.005, 0.5), ("momentum", 0.5, 0.98), ("decay", 0.01, 1),
        ("transform_bias", -10, -1),
    ):  # fmt: skip
        values = [getattr(one, name) for one in drawn]
        assert least <= min(values) < max(values) <= most
    rates = np.log([one.learning_rate for one in drawn])
    assert abs(rates.mean() - (math.log(0.005) + math.log(0.5)) / 2) < 0.4, "log-uniform"


def test_settings_reach_the_net_and_its_optimizer():
    settings = random_search.draw(0, 1)._replace(activation="relu", transform_bias=-3.5)
    config = dataclasses.replace(SEARCH.fit, examples=6400)
    net, config = random_search.apply(settings, Net("highway", 3, 8), config)
    model = compiled_model(TASK, net, config)
    projection, stack = model.layers[1:3]
    assert projection.activation is stack.activation is keras.activations.relu
    assert float(stack.bias[1, 0]) == -3.5
    assert model.optimizer.momentum == settings.momentum
    schedule = model.optimizer._learning_rate
    rates = [float(schedule(step)) for step in (0, config.steps)]
    expected = [settings.learning_rate, settings.learning_rate * settings.decay]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    grid, _ = random_search.apply(settings, Net("grid", 3, 8), config)
    assert grid.input_activation == "linear" and grid.forget_bias == 3.5


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The highway net of a search on small images."""
    store = Store(str(tmp_path_factory.mktemp("search")))
    with store.writing():
        return random_search.run(store, TASK, Net("highway", 4, 12), SEARCH, seed=2)


@pytest.mark.slow
def test_the_settings_with_the_lowest_loss_are_fitted_in_full(found):
    tables = found.measurement.tables
    (net,) = tables["nets"]
    best = min(tables["trials"], key=lambda row: row["training_loss"])
    for name in random_search.Settings._fields:
        assert net[name] == best[name]
    assert [row["examples"] for row in tables["tests"]] == [640, 1280, 1920, 2560, 3200]
    assert net["training_loss"] == tables["tests"][-1]["training_loss"]
    assert found.config.examples == 3200 and found.config.learning_rate == best["learning_rate"]
    assert random_search.training_loss({"training_loss": math.nan}) == math.inf


def test_the_analysis_is_that_of_the_trained_net(found):
    tables = analyse(found, TASK, highway_report.CLASSES)
    model = fitting.trained_model(found.artifact, TASK, found.net, found.config)
    inputs, labels = (part.numpy() for part in TASK.held_out())
    wrong = np.argmax(model(inputs), axis=-1) != labels
    assert 1 - found.measurement.tables["nets"][0]["exact"] == pytest.approx(wrong.mean(), abs=1e-6)

    project, start, kernel, bias, out, end = (w.numpy().astype(np.float64) for w in model.weights)
    activation = {"relu": lambda z: np.maximum(z, 0), "tanh": np.tanh}[found.net.activation]

    def forward(lesioned):
        hidden, gates = activation(inputs @ project + start), []
        for layer in range(4):
            transform, candidate = np.split(hidden @ kernel[layer] + bias[layer], 2, axis=-1)
            gate = (layer != lesioned) / (1 + np.exp(-transform))
            gates.append(gate)
            hidden = gate * activation(candidate) + (1 - gate) * hidden
        return np.array(gates), (np.argmax(hidden @ out + end, axis=-1) != labels).mean()

    gates, _ = forward(None)
    assert len(tables["units"]) == 4 * 12
    deviation = gates[:, labels == 7].mean(axis=1) - gates.mean(axis=1)
    for row in tables["units"]:
        layer, unit = row["layer"] - 1, row["unit"] - 1
        assert row["bias"] == pytest.approx(bias[layer, unit], rel=1e-3)
        assert row["mean_gate"] == pytest.approx(gates[layer, :, unit].mean(), rel=1e-3)
        assert row["gate"] == pytest.approx(gates[layer, 0, unit], rel=1e-3)
        assert row["class_7"] == pytest.approx(deviation[layer, unit], rel=0.01, abs=1e-6)
    errors = [row["error"] for row in tables["layers"]]
    np.testing.assert_allclose(errors, [forward(layer)[1] for layer in range(4)], atol=1e-3)


def test_a_lesion_of_the_only_layer_that_matters_is_found():
    """Layer 1 flips the sign of its input, and the others pass it on."""
    stack = StackedDense(2, 3, activation="linear", transform_bias=-30.0)
    stack.build((None, 2))
    stack.kernel.assign(tf.zeros_like(stack.kernel))
    kernel, bias = stack.kernel.numpy(), stack.bias.numpy()
    kernel[1, :, 2:], bias[1, :2] = -np.eye(2), 30.0
    stack.kernel.assign(kernel)
    stack.bias.assign(bias)
    x = generator().normal(size=(50, 2)).astype(np.float32)
    errors = lesion_errors(stack, lambda y: y, tf.constant(x), tf.constant(x.argmin(axis=1)))
    np.testing.assert_array_equal(errors, [0, 1, 0])
    outputs = stack.trace(tf.constant(x)).outputs.numpy()
    changes = relative_changes(np.concatenate([x[None], outputs]))
    np.testing.assert_allclose(changes, [0, 2, 0], atol=1e-6)


def test_only_one_net_is_analysed_and_small_needs_mnist():
    points = highway.points("small", Inputs(text=None, data="here"))
    analysed = [point.labels for point in points if point.measure.keywords["is_analysed"]]
    assert [(labels["model"], labels["depth"]) for labels in analysed] == [("highway", 50)]
    assert {point.measure.keywords["task"].folder for point in points} == {"here"}
    assert highway.EXPERIMENT.data_sets.get("small") == ("mnist",)
    assert "tiny" not in highway.EXPERIMENT.data_sets


def test_the_summary_compares_with_the_goals():
    def net(model, depth, loss, exact=0.97):
        settings = random_search.draw(0, 0)._asdict()
        outcome = {"training_loss": loss, "exact": exact, "parameters": 1000, "seconds": 1.0}
        return {"model": model, "depth": depth, "seed": 0, **outcome, **settings}

    nets = [
        net("highway", 10, 0.02),
        net("highway", 50, 0.03),
        net("highway, wide", 10, 0.01, 0.98),
    ]
    nets += [net("plain", 10, 0.03), net("plain", 50, 0.6), net("grid", 50, math.nan)]
    layers = [
        {
            "model": "highway", "depth": 50, "seed": 0, "layer": layer, "deviation": 1.0,
            "error": 0.2 if layer == 3 else 0.04 if layer <= 15 else 0.03,
            "change": 1.0 if layer <= 15 else 0.1,
        }
        for layer in range(1, 50)
    ]  # fmt: skip
    found = highway_report.summarize({"nets": nets, "layers": layers})
    text = " ".join(found.sentences)
    assert "With 10 and 50 layers, plain nets end at 1.5 and 20 times the training loss" in text
    assert "highway net of 50 layers ends at 1.5 times the training loss of that of 10" in text
    assert "of the lowest training loss has a test error of 2.00%, with 10 layers" in text
    assert "closing layer 3 alone raises the test error most, from 3.00% to 20.00%" in text
    assert "first 15 blocks gives 4.00% in the median, one of the others 3.00%" in text
    assert "have 82% of the relative change and 31% of the deviation" in text
    assert len(found.rows) == len(nets) and {len(row) for row in found.rows} == {7}
    settings = {row[0]: row[5] for row in found.rows}
    assert "forget bias 2.7" in settings["grid"] and "b_T" not in settings["plain"]
    assert "b_T -2.7" in settings["highway"] and "relu" not in settings["grid"]
