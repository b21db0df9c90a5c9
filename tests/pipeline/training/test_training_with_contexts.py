"""Training of models with contexts: replicas, checkpoints, export, evaluation."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from model.errors import InputError
from model.execution.plan import Compilation, Plan
from model.language_model.config import ModelConfig
from model.text.code_points import TextVocabulary
from pipeline.settings import DataConfig, Settings, TrainingConfig
from pipeline.stages import evaluator, trainer
from pipeline.stages.trainer import make_strategy
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.dynamic_evaluation import DynamicModel, Rates, dynamic_model
from pipeline.training.exports import saved_models
from pipeline.training.initial_weights import InitialWeights
from pipeline.training.learner import Learner

MODEL = ModelConfig(layers=2, units=16, contexts=("output:8", "word:8"))
VOCABULARY = TextVocabulary.of("bytes", b"abcdefgh \n")
TRAINING = TrainingConfig(
    batch_size=8, window=20, steps=20, learning_rate=0.02, dtype="float32", sample_length=20
)


def learner(devices, plan=None):
    config = TrainingConfig(
        batch_size=4, window=7, clip_norm=0.01, optimizer="sgd", dtype="float32"
    )
    model = dataclasses.replace(MODEL, units=8)
    made = Learner(make_strategy(devices), model, VOCABULARY.size, config, 100, 100, plan)
    with made.strategy.scope():
        made.model.adapt(VOCABULARY, [np.arange(40, dtype=np.int32).reshape(4, 10) % 10])
    return made


SHARDS = Plan("wavefront", Compilation(jit="step", batch_shards=2), "float32")


@pytest.mark.slow
@pytest.mark.parametrize(
    "devices,plan", [(["cpu:0", "cpu:1"], None), (["cpu:0"], SHARDS)], ids=["replicas", "shards"]
)
def test_replicas_and_shards_take_the_steps_of_one(devices, plan):
    windows = generator().integers(0, 10, (2, 4, 7), np.int32)
    learners = [learner(["cpu:0"]), learner(devices, plan)]
    learners[1].model.set_weights(learners[0].model.get_weights())
    losses = []
    for current in learners:
        state = current.initial_state()
        for step, ids in enumerate(current.distribute(tf.data.Dataset.from_tensor_slices(windows))):
            result, state = current.train(ids, state, tf.constant(step, tf.int64))
        losses.append(float(result.loss))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    for one, two in zip(*(current.model.get_weights() for current in learners), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)


def test_a_checkpoint_has_the_weights_and_states_of_the_contexts(tmp_path):
    current, other = learner(["cpu:0", "cpu:1"]), learner(["cpu:0", "cpu:1"])
    state = current.initial_state()
    spread = current.strategy.experimental_distribute_values_from_function
    state = state._replace(
        contexts=tuple(
            spread(lambda context, width=width: generator().normal(size=(2, width)).astype("f"))
            for width in (one.state_width for one in current.model.contexts)
        )
    )
    Checkpoints(str(tmp_path), current).save(state, 1, 2.5)
    other.model.contexts[0].keys.assign(np.zeros(8, np.int32))
    restored = Checkpoints(str(tmp_path), other).restore()
    local = current.strategy.experimental_local_results
    for before, after in zip(*map(tf.nest.flatten, (state, restored)), strict=True):
        for left, right in zip(local(before), local(after), strict=True):
            np.testing.assert_array_equal(left, right)
    for one, two in zip(current.model.weights, other.model.weights, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)


def run_trainer(store, examples, schema, model=MODEL, **arguments):
    settings = Settings(DataConfig(), model, TRAINING)
    with store.writing():
        return trainer.run(store, examples, schema, settings, devices=["cpu:0"], **arguments)


@pytest.fixture(scope="module")
def trained(store, examples, schema):
    return run_trainer(store, examples, schema)


@pytest.mark.slow
def test_a_checkpoint_and_the_export_have_the_contexts(trained, examples, schema):
    weights = InitialWeights(trained.path)
    assert weights.architecture == MODEL
    dynamic, vocabulary = dynamic_model(trained.path)
    of_output, of_words = dynamic._model.contexts
    assert len(set(of_output.keys.numpy().tolist()) - {-1}) == 8
    separators = np.flatnonzero(of_words.separators.numpy()[:-1])
    assert {vocabulary.code_points[one] for one in separators} <= set(b" \n\t\r")
    assert len(separators)

    # The export predicts as the checkpoint does.
    metrics = evaluator.evaluate(saved_models(trained)["float32"], examples.path, 1)
    found = trainer.Properties.read(trained).validation_nats
    assert metrics.nats_per_character == pytest.approx(found, abs=0.1)
    assert metrics.nats_per_character < np.log(vocabulary.size)


@pytest.mark.slow
def test_weights_follow_a_text(trained):
    dynamic, vocabulary = dynamic_model(trained.path)
    windows = generator().integers(0, vocabulary.size, (4, 1, 10)).astype(np.int32)
    dynamic.measure_gradients(windows)
    before = dynamic.score(windows[0], Rates(1e-3, 1e-3))
    saved = dynamic.saved()
    expected = dynamic.score(windows[1], Rates(1e-3, 1e-3))
    dynamic.reset()
    dynamic.restore(saved)
    assert dynamic.score(windows[1], Rates(1e-3, 1e-3)).nats == pytest.approx(expected.nats)
    assert before.characters == 10 and isinstance(dynamic, DynamicModel)


@pytest.mark.slow
def test_weights_with_other_contexts_or_characters_are_refused(store, examples, schema, trained):
    with pytest.raises(InputError, match=r"its contexts is output:8, word:8, here it is none"):
        run_trainer(
            store,
            examples,
            schema,
            dataclasses.replace(MODEL, contexts=()),
            init_from=trained.path,
        )
    weights = InitialWeights(trained.path)
    with pytest.raises(InputError, match="contexts, whose weights belong to its own characters"):
        weights.require_unit(TextVocabulary.of("bytes", weights.vocabulary.code_points[1:]))
    weights._config["contexts"] = []
    with pytest.raises(InputError, match="leave out --contexts"):
        weights.require_architecture(MODEL)
    assert json.dumps(weights._config)
