"""Training: resumed after kills, on two replicas, from given weights, and stopped early."""

import pathlib
import signal
import subprocess
import sys
import time
from typing import get_args

import numpy as np
import pytest
import tensorflow as tf
from conftest import PROJECT, words
from seeds import generator
from servers import PATIENCE
from tensorboard import context as request_context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from model.errors import InputError
from model.execution.compilation import Compilation
from model.execution.plan import Plan
from model.language_model.character_model import CharacterModel
from model.language_model.config import Architecture, ModelConfig
from model.text.code_points import TextVocabulary
from pipeline.data.windows import TAKEN_AT_ONCE
from pipeline.settings import DataConfig, Settings, TrainingConfig
from pipeline.stages import trainer
from pipeline.stages.trainer import make_strategy
from pipeline.store import verification
from pipeline.store.artifacts import Store
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.initial_weights import InitialWeights
from pipeline.training.learner import Learner
from pipeline.training.weight_updates import EpochDecay

MODEL = ModelConfig(layers=2, units=16, tied="depth", dropout=0.1)
TRAINING = TrainingConfig(
    batch_size=8,
    window=20,
    epochs=1,
    validate_every=30,
    validation_characters=2000,
    sample_length=5,
)
OPTIONS = (
    "--layers 2 --units 16 --tied depth --dropout 0.1 --batch_size 8 --window 20 --epochs 1 "
    "--validate_every 30 --validation_characters 2000 --sample_length 5 --steps 0"
)


def weights_of(artifact):
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(f"{artifact}/checkpoints/latest"))
    names = sorted(reader.get_variable_to_shape_map())
    return {
        name: reader.get_tensor(name)
        for name in names
        if "VARIABLE_VALUE" in name and "save_counter" not in name
    }


def start_training(root):
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", "trainer", "--root", root, *OPTIONS.split()],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def copy_root(store, destination):
    """Returns the path of a root with the same examples and schema."""
    subprocess.run(["cp", "-r", store.root, destination], check=True)
    return str(destination)


@pytest.mark.slow
def test_killed_training_ends_with_the_same_weights(store, schema, tmp_path):
    straight, killed = (copy_root(store, tmp_path / name) for name in ("straight", "killed"))
    process = start_training(straight)
    assert process.wait(PATIENCE) == 0, process.stdout.read()

    kills = 0
    for checkpoint in (1, 2):  # far from the end, as this process may wait for a processor
        process = start_training(killed)
        pattern = f"{killed}/.partial/Trainer-*/checkpoints/latest/ckpt-{30 * checkpoint}.index"
        deadline = time.monotonic() + PATIENCE
        while not tf.io.gfile.glob(pattern) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(generator().uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 2
    assert not tf.io.gfile.glob(f"{killed}/Trainer/*/manifest.json")
    process = start_training(killed)
    assert process.wait(PATIENCE) == 0, process.stdout.read()

    expected, actual = (weights_of(Store(r).latest("Trainer").path) for r in (straight, killed))
    assert expected.keys() == actual.keys() and len(expected) > 20
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)


def learner(devices, config, plan=None):
    strategy = make_strategy(devices)
    return Learner(strategy, ModelConfig(layers=2, units=8), 10, config, 100, 100, plan)


def test_windows_are_split_among_replicas_in_order():
    two = learner(["cpu:0", "cpu:1"], TrainingConfig(batch_size=6, window=7))
    for count in (1, TAKEN_AT_ONCE // 42 + 2):  # of which the last are taken apart
        windows = generator().integers(0, 10, (count, 6, 7), np.int32)
        values = [
            np.concatenate(two.strategy.experimental_local_results(ids))
            for ids in two.distribute(tf.data.Dataset.from_tensor_slices(windows))
        ]
        np.testing.assert_array_equal(values, windows)


PROGRAMS = Plan("wavefront", Compilation(jit="step", batch_shards=4), "float32")


@pytest.mark.slow
@pytest.mark.parametrize(
    "devices,plan", [(["cpu:0", "cpu:1"], None), (["cpu:0"], PROGRAMS)], ids=["replicas", "parts"]
)
def test_replicas_and_batch_shards_take_the_steps_of_a_single_replica(devices, plan):
    config = TrainingConfig(
        batch_size=6, window=7, clip_norm=0.01, optimizer="sgd", dtype="float32"
    )
    windows = generator().integers(0, 10, (4, 6, 7), np.int32)
    learners = [learner(["cpu:0"], config), learner(devices, config, plan)]
    learners[1].model.set_weights(learners[0].model.get_weights())
    losses = []
    for current in learners:
        dataset = tf.data.Dataset.from_tensor_slices(windows)
        state = current.initial_state()
        for step, ids in enumerate(current.distribute(dataset)):
            result, state = current.train(ids, state, tf.constant(step, tf.int64))
        losses.append((float(result.loss), current.validate(dataset)))
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    for one, two in zip(*(current.model.get_weights() for current in learners), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [MODEL, *(ModelConfig(kind, layers=3, units=8) for kind in ("stacked", "rhn"))],
    ids=str,
)
def test_gradient_norms_of_layers(model):
    config = TrainingConfig(batch_size=4, window=6, optimizer="sgd", learning_rate=1.0)
    learner = Learner(make_strategy(["cpu:0"]), model, 10, config, 100, 100)
    before = [weight.numpy() for weight in learner.model.core.trainable_variables]
    windows = generator().integers(0, 10, (1, 4, 6), np.int32)
    (ids,) = learner.distribute(tf.data.Dataset.from_tensor_slices(windows))
    result, _ = learner.train(ids, learner.initial_state(), tf.constant(0, tf.int64))
    after = [weight.numpy() for weight in learner.model.core.trainable_variables]
    steps = [
        (new - old).reshape(model.layers, -1)
        for old, new in zip(before, after, strict=True)
        if len(old) == model.layers
    ]
    expected = np.linalg.norm(np.concatenate(steps, axis=1), axis=1)
    np.testing.assert_allclose(result.layer_gradient_norms, expected, rtol=0.01)
    assert np.linalg.norm(expected) < float(result.gradient_norm)


def curve(steps, kind="grid", dropout=0.0, **options):
    """Returns the losses of a training on random words."""
    text = words(3, 40_000)
    ids = np.unique(list(text), return_inverse=True)[1].astype(np.int32)
    config = TrainingConfig(
        batch_size=8, window=16, steps=steps, learning_rate=0.005, clip_norm=1.0, **options
    )
    learner = Learner(
        make_strategy(["cpu:0"]),
        ModelConfig(kind, layers=2, units=32, dropout=dropout),
        int(ids.max()) + 1,
        config,
        steps,
        steps,
    )
    streams = ids[: len(ids) // 8 * 8].reshape(8, -1)
    state, losses = learner.initial_state(), []
    for step in range(steps):
        at = step * 16 % (streams.shape[1] - 16)
        window = tf.constant(streams[:, at : at + 16])
        result, state = learner.train(window, state, tf.constant(step, tf.int64))
        losses.append(float(result.loss))
    return np.array(losses)


@pytest.mark.slow
def test_all_executions_learn_the_same():
    reference = curve(30, execution="reference", dtype="float32")
    for dtype, tolerance in (("float32", 1e-3), ("bfloat16", 2e-2)):
        wavefront = curve(30, execution="wavefront", dtype=dtype)
        assert np.abs(wavefront / reference - 1).max() < tolerance


@pytest.mark.slow
def test_bfloat16_learns_as_much_as_float32():
    wide, narrow = (curve(500, dtype=dtype)[-50:].mean() for dtype in ("float32", "bfloat16"))
    assert wide < 1.5
    assert narrow == pytest.approx(wide, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("kind", get_args(Architecture))
def test_gradient_checkpointing_changes_no_step(kind):
    stored, rematerialised = (
        curve(5, kind=kind, dtype="float32", remat_steps=piece, dropout=0.2) for piece in (0, 4)
    )
    np.testing.assert_allclose(rematerialised, stored, rtol=1e-4)


@pytest.mark.slow
def test_carried_state_survives_a_checkpoint_on_two_replicas(tmp_path):
    config = TrainingConfig(batch_size=4, window=5)
    current = learner(["cpu:0", "cpu:1"], config)
    dataset = tf.data.Dataset.from_tensors(generator().integers(0, 10, (4, 5), np.int32))
    for ids in current.distribute(dataset):
        _, state = current.train(ids, current.initial_state(), tf.constant(0, tf.int64))
    checkpoints = Checkpoints(str(tmp_path), current)
    checkpoints.save(state, 1, 2.5)
    restored = Checkpoints(str(tmp_path), current).restore()
    local = current.strategy.experimental_local_results
    for before, after in zip(state, restored, strict=True):
        for left, right in zip(local(before), local(after), strict=True):
            np.testing.assert_array_equal(left, right)


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    config = TrainingConfig(batch_size=4, window=5)
    current = learner(["cpu:0"], config)
    state = current.initial_state()
    checkpoints = Checkpoints(str(tmp_path), current)
    for step in (1, 2):
        checkpoints.save(state, step, 3.0 - step)
    (tmp_path / "checkpoints" / "latest" / "checkpoint").write_text("no list")
    for step, told in ((2, 0), (1, 1), (0, 2)):
        warnings = []
        again = Checkpoints(str(tmp_path), current)
        found = again.restore(warnings.append)
        assert (int(again.step), len(warnings), found is None) == (step, told, step == 0)
        for path in (tmp_path / "checkpoints" / "latest").glob(f"ckpt-{step}.data*"):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    assert "ckpt-2.data" in warnings[0] and "is not what was written" in warnings[0]
    best = Checkpoints(str(tmp_path), current)
    best.restore_best()
    assert int(best.step) == 2
    for path in (tmp_path / "checkpoints" / "best").glob("ckpt-2.index"):
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"ckpt-2\.index is not what was written; remove"):
        best.restore_best()


def test_verification_covers_interrupted_trainings(tmp_path, capsys):
    current = learner(["cpu:0"], TrainingConfig(batch_size=4, window=5))
    store, serving = Store(str(tmp_path)), str(tmp_path / "serving")
    folder = tmp_path / ".partial" / "Trainer-1234"
    checkpoints = Checkpoints(str(folder), current)
    for step in (1, 2):
        checkpoints.save(current.initial_state(), step, 3.0 - step)
    verification.verify(store, serving)
    assert "3 checkpoints of interrupted trainings, 0 damaged" in capsys.readouterr().out
    index = folder / "checkpoints" / "latest" / "ckpt-2.index"
    index.write_bytes(index.read_bytes()[:-9])
    with pytest.raises(InputError, match="1 of 3 "):
        verification.verify(store, serving)
    assert f"{index} is not what was written" in capsys.readouterr().out
    verification.verify(store, serving, remove=True)
    verification.verify(store, serving)
    again, warnings = Checkpoints(str(folder), current), []
    again.restore(warnings.append)
    assert int(again.step) == 1 and not warnings


def test_the_learning_rate_falls_after_ten_epochs():
    schedule = EpochDecay(0.001, 0.97, 10, steps_per_epoch=5)
    rates = [float(schedule(tf.constant(step))) for step in (0, 49, 54, 55, 60)]
    np.testing.assert_allclose(
        rates, [0.001, 0.001, 0.001, 0.001 * 0.97, 0.001 * 0.97**2], rtol=1e-6
    )


def run_trainer(store, examples, schema, **arguments):
    settings = Settings(DataConfig(), arguments.pop("model", MODEL), TRAINING)
    with store.writing():
        return trainer.run(store, examples, schema, settings, devices=["cpu:0"], **arguments)


@pytest.fixture(scope="module")
def trained(store, examples, schema):
    return run_trainer(store, examples, schema)


def test_training_learns_and_writes_events_for_tensorboard(trained):
    uniform = np.log(17)
    assert trainer.Properties.read(trained).validation_nats < 0.8 * uniform
    tags = {}
    for kind in ("train", "validation"):
        for path in tf.io.gfile.glob(trained.file("logs", kind, "*")):
            for event in tf.compat.v1.train.summary_iterator(path):
                tags.setdefault(kind, set()).update(value.tag for value in event.summary.value)
                tags[kind].update({"graph"} if event.graph_def else ())
    assert tags["train"] >= {
        "loss/nats", "loss/bits", "rate/learning_rate", "norm/gradient", "norm/weights",
        "speed/characters_per_second", "graph",
    }  # fmt: skip
    assert tags["validation"] >= {"loss/nats", "loss/bits", "sample"}


def test_tensorboard_compares_trainings_by_validation_loss(trained, corpus_file):
    runs = plugin_event_multiplexer.EventMultiplexer()
    runs.AddRunsFromDirectory(str(pathlib.Path(trained.path).parent)).Reload()
    provider = data_provider.MultiplexerDataProvider(runs, "")
    backend = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    request = api_pb2.ListSessionGroupsRequest(slice_size=99, start_index=0)
    request.allowed_statuses.extend(api_pb2.Status.values())
    handler = list_session_groups.Handler(request_context.RequestContext(), backend, "", request)
    groups = {group.name: group for group in handler.run().session_groups}
    group = groups[trained.fingerprint]
    assert group.hparams["corpus"].string_value == corpus_file.stem
    assert group.hparams["units"].number_value == 16
    losses = {(one.name.group, one.name.tag): one.value for one in group.metric_values}
    best = trainer.Properties.read(trained).validation_nats
    assert losses["validation", "loss/nats"] >= best - 1e-5
    assert ("train", "loss/nats") in losses


@pytest.mark.slow
def test_training_starts_from_given_weights(store, examples, schema, trained):
    again = run_trainer(store, examples, schema, init_from=trained.path)
    assert again.fingerprint != trained.fingerprint
    losses = [trainer.Properties.read(artifact).validation_nats for artifact in (trained, again)]
    assert losses[1] < losses[0]


def test_weights_of_another_vocabulary_are_matched_by_character(trained, schema):
    known = trainer.read_text_vocabulary(schema)
    wanted = TextVocabulary.of("bytes", [*known.code_points[3:], 0xFE, 0xFF])
    pointer = pathlib.Path(trained.path).parent / "latest"
    initial = InitialWeights(str(pointer))
    theirs = CharacterModel(MODEL, known.size)
    initial.load(theirs, known)
    model = CharacterModel(MODEL, wanted.size)
    fresh = model.embedding.numpy()
    initial.load(model, wanted)
    for ours, source in zip(model.core.get_weights(), theirs.core.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, source)
    embedding, bias = theirs.embedding.numpy(), theirs.output_bias.numpy()
    np.testing.assert_array_equal(model.embedding[:-3], embedding[3:-1])
    np.testing.assert_array_equal(model.embedding[-3:-1], fresh[-3:-1])
    np.testing.assert_array_equal(model.embedding[-1], embedding[-1])
    np.testing.assert_array_equal(model.output_bias, [*bias[3:], 0, 0])
    kernel = theirs.output_kernel.numpy()
    np.testing.assert_array_equal(model.output_kernel[:, :-2], kernel[:, 3:])
    with pytest.raises(InputError, match="--character_unit bytes"):
        initial.require_unit(TextVocabulary.of("unicode", known.code_points))
    with pytest.raises(InputError, match="knows no character"):
        initial.require_unit(TextVocabulary.of("bytes", [0xFE]))


def test_weights_of_another_architecture_are_refused(store, examples, schema, trained):
    other = ModelConfig(layers=2, units=24, tied="depth")
    with pytest.raises(InputError, match="its units is 16, here it is 24"):
        run_trainer(store, examples, schema, model=other, init_from=trained.path)


def test_an_exploding_loss_stops_with_advice(store, examples, schema):
    settings = Settings(
        DataConfig(), MODEL, TrainingConfig(batch_size=8, window=20, steps=30, optimizer="sgd",
        schedule="constant", learning_rate=1e6)
    )  # fmt: skip
    with store.writing(), pytest.raises(InputError, match="lower --learning_rate"):
        trainer.run(store, examples, schema, settings, devices=["cpu:0"])


@pytest.mark.slow
def test_early_stop(store, examples, schema):
    config = TrainingConfig(
        batch_size=8, window=20, steps=200, learning_rate=1e-12, schedule="constant",
        validate_every=10, validation_characters=500, patience=2, sample_length=1,
    )  # fmt: skip
    with store.writing():
        artifact = trainer.run(
            store, examples, schema, Settings(DataConfig(), MODEL, config), devices=["cpu:0"]
        )
        # As if killed after the last step and before the end: no further step is taken.
        partial = f"{store.root}/.partial/Trainer-{artifact.fingerprint}"
        tf.io.gfile.rename(artifact.path, partial)
        tf.io.gfile.remove(f"{partial}/manifest.json")
        again = trainer.run(
            store, examples, schema, Settings(DataConfig(), MODEL, config), devices=["cpu:0"]
        )
    assert trainer.Properties.read(artifact).steps < 200
    assert again.manifest.properties == artifact.manifest.properties
