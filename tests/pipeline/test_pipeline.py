"""All stages by the command line: killed in each, run again, cached, and inspected."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest
import tensorflow as tf
from commands import run_module
from conftest import PROJECT, words
from servers import AVAILABLE, PATIENCE, running, states, wait_until
from tensorflow.core.protobuf import saved_model_pb2

from model.decoding.packed_kernels import has_integer_products
from pipeline.preset_files import load_preset
from pipeline.stages import evaluator, graph
from pipeline.store.artifacts import Store
from serving.client.client import Address, Client
from serving.server.config_files import read_models

OPTIONS = (
    "--train_fraction 0.9 --layers 1 --units 16 --batch_size 8 --window 20 --steps 60 "
    "--warmup_steps 0 --validate_every 20 --validation_characters 1000 --eval_batch_size 4 "
    "--sample_characters 40"
)

STAGES = [stage.name for stage in graph.stages_of(load_preset("demo"))]

# Kills the process when the artifact of one stage is written, but not yet published.
KILLER = """
import os, runpy, signal, sys
from pipeline.store import artifacts
original = artifacts.publish
def publish(source, destination, last):
    if f"/{stage}/" in destination:
        os.kill(os.getpid(), signal.SIGKILL)
    original(source, destination, last)
stage = sys.argv.pop(1)
artifacts.publish = publish
runpy.run_module("pipeline", run_name="__main__")
"""


def command_of(corpus, root):
    return ["run", "--corpus", str(corpus), "--root", str(root), *OPTIONS.split()]


@pytest.fixture(scope="module")
def finished_run(corpus_file, tmp_path_factory):
    root = tmp_path_factory.mktemp("pipeline") / "root"
    command = command_of(corpus_file, root)
    return root, run_module("pipeline", *command), command


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_killed_in_every_stage_finishes(corpus_file, tmp_path):
    root = tmp_path / "root"
    command = command_of(corpus_file, root)
    for stage in STAGES:
        killed = subprocess.run(
            [sys.executable, "-c", KILLER, stage, *command],
            cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert Store(str(root)).all(stage) == []
        assert list((root / ".partial").glob(f"{stage}-*"))
    finished = run_module("pipeline", *command)
    require_complete(root, finished)
    require_payloads(root)
    require_cached(command, finished)


def test_a_run_finishes(finished_run):
    root, finished, _ = finished_run
    require_complete(root, finished)


def require_complete(root, finished):
    assert finished.returncode == 0, finished.stderr
    for stage in STAGES:
        assert len(Store(str(root)).all(stage)) == 1
        assert not list((root / ".partial").glob(f"{stage}-*"))
    assert os.listdir(root / "serving" / "words") == ["1"]
    *_, text = finished.stdout.split("words, version 1, over gRPC:\n\n")
    assert len(text.removesuffix("\n")) == 40


def test_payloads_have_the_paths_of_tfx(finished_run):
    root, *_ = finished_run
    require_payloads(root)


def require_payloads(root):
    for pattern in (
        "ExampleGen/*/Split-train/data_tfrecord-00000-of-00001",
        "ExampleGen/*/Split-eval/data_tfrecord-00000-of-00001",
        "StatisticsGen/*/Split-eval/FeatureStats.pb",
        "SchemaGen/*/schema.pbtxt",
        "SchemaGen/*/vocabulary.txt",
        "ExampleValidator/*/Split-eval/SchemaDiff.pb",
        "ExampleValidator/*/report.txt",
        "Trainer/*/Format-Serving/saved_model.pb",
        "Trainer/*/checkpoints/best/checkpoint",
        "Evaluator/*/metrics.json",
        "Evaluator/*/BLESSED",
        "InfraValidator/*/INFRA_BLESSED",
        "serving/words/1/saved_model.pb",
        "serving/words/1/assets/LICENSE.md",
    ):
        assert len(list(root.glob(pattern))) == 1, pattern
    (metrics,) = root.glob("Evaluator/*/metrics.json")
    measured = json.loads(metrics.read_text())
    assert measured["characters"] == 4000 and measured["unknown_characters"] == 0
    assert 0 < measured["bits_per_character"] < measured["entropy_order_0_bits"]
    card = (root / "serving/words/1/assets/model_card.md").read_text()
    (manifest,) = root.glob("Trainer/*/manifest.json")
    properties = json.loads(manifest.read_text())["properties"]
    assert f"{properties['validation_nats']:.4f} nats" in card
    assert "# A character model of words" in card


@pytest.mark.parametrize(
    "option,problem",
    [
        ("--sample_characters=20000", "sample_characters asks for 20,000 characters"),
        ("--prompt=" + "a" * 10_001, "prompt asks for 10,001 characters"),
        ("--model_name=a/b", "must be the name of a directory"),
        ("--devices=gpu:7", "there is no device gpu:7"),
        ("--devices=cpu:0,CPU:0", "--devices names cpu:0 twice; name each device once"),
        ("--init_from=nowhere", "there is no checkpoint in nowhere"),
        ("--max_bytes=0", "must be at least 1"),
    ],
)
def test_mistakes_are_found_before_the_first_stage(corpus_file, tmp_path, option, problem):
    root = tmp_path / "root"
    finished = run_module("pipeline", *command_of(corpus_file, root), option)
    assert finished.returncode == 2
    (line,) = finished.stderr.splitlines()
    assert line.startswith("error: ") and problem in line
    assert {path.name for path in root.glob("*")} <= {".partial"}


def test_a_prompt_that_cannot_be_continued_is_found_before_the_training(corpus_file, tmp_path):
    root = tmp_path / "root"
    finished = run_module("pipeline", *command_of(corpus_file, root), "--prompt", "Zürich")
    assert finished.returncode == 2
    assert "the vocabulary lacks the character 0x5A" in finished.stderr
    assert (root / "SchemaGen").exists() and not (root / "Trainer").exists()


@pytest.mark.slow
def test_a_second_run_is_cached(finished_run):
    _, first, command = finished_run
    require_cached(command, first)


def require_cached(command, first):
    second = run_module("pipeline", *command)
    lines = second.stdout.splitlines()[: len(STAGES)]
    assert [line.split()[:2] for line in lines] == [[s, "cached"] for s in STAGES]
    assert second.stdout.split("over gRPC:")[1] == first.stdout.split("over gRPC:")[1]


def test_status_and_lineage(finished_run):
    root, *_ = finished_run
    status = run_module("pipeline", "status", *finished_run[2][1:]).stdout
    for stage in STAGES:
        assert any(line.split()[:2] == [stage, "complete"] for line in status.splitlines())
    lineage = run_module("pipeline", "lineage", "--root", root).stdout
    for fact in ("version 1", "40,000 bytes of words", "checkpoints/best/ckpt-", "per character"):
        assert fact in lineage


@pytest.mark.slow
def test_a_worse_model_is_not_pushed(finished_run):
    root, _, command = finished_run
    worse = run_module("pipeline", *command, "--steps", "21", "--sample_characters", "0")
    assert worse.returncode == 0, worse.stderr
    assert "not pushed: " in worse.stdout and "of version 1, pushed last" in worse.stdout
    (objection,) = root.glob("Evaluator/*/NOT_BLESSED")
    assert "worse than" in objection.read_text()
    assert os.listdir(root / "serving" / "words") == ["1"]


@pytest.mark.slow
def test_stages_run_by_themselves(finished_run, tmp_path):
    root, *_ = finished_run
    for stage in ("statistics_gen", "schema_gen", "infra_validator"):
        alone = run_module("pipeline", stage, "--root", root)
        assert alone.returncode == 0, alone.stderr
        assert alone.stdout.count("\n") == 1
    other = tmp_path / "other.txt"
    other.write_text("0123456789\n" * 1000)
    refused = run_module("pipeline", "example_validator", "--root", root, "--corpus", other)
    assert refused.returncode == 2 and "unseen characters" in refused.stderr


@pytest.mark.slow
def test_quantized_and_compiled_models_are_versions_with_labels(finished_run, tmp_path):
    root, _, command = finished_run
    quantized = ["bfloat16", "int8"] if has_integer_products() else ["bfloat16"]
    labels = {label: number for number, label in enumerate([*quantized, "xla", "float32"], 1)}
    push = "--serving_dir", tmp_path, "--max_batch_size", "8", "--batch_timeout_micros", "100"
    finished = run_module("pipeline", *command, "--quantize", "--xla", *push)
    assert finished.returncode == 0, finished.stderr
    assert "over gRPC" in finished.stdout and f"words, version {len(labels)}" in finished.stdout
    evaluation = Store(str(root)).latest(graph.EVALUATOR)
    measured = json.loads(pathlib.Path(evaluation.file(evaluator.METRICS)).read_text())
    for precision in quantized:
        loss = measured["quantized"][precision]["loss_in_bits"]
        assert 0 < abs(loss) < 0.02
        assert f"{precision} {loss:+.5f} bits" in finished.stdout
    (config,) = read_models(str(tmp_path / "words.config")).model_config_list.config
    assert dict(config.version_labels) == labels
    assert list(config.model_version_policy.specific.versions) == list(labels.values())
    for version in labels.values():
        content = (tmp_path / "words" / str(version) / "saved_model.pb").read_bytes()
        nodes = [
            node
            for graph in saved_model_pb2.SavedModel.FromString(content).meta_graphs
            for function in graph.graph_def.library.function
            for node in function.node_def
            if node.op == "BatchFunction"
        ]
        sizes = {(n.attr["max_batch_size"].i, n.attr["batch_timeout_micros"].i) for n in nodes}
        assert sizes == {(8, 100)}
        padded = {tuple(node.attr["allowed_batch_sizes"].list.i) for node in nodes}
        assert padded == ({(), (1, 4, 8)} if version == labels["xla"] else {()})
    flags = (
        f"--model_config_file={tmp_path}/words.config",
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models",
    )
    with running(*flags, name="words") as server:
        all_available = dict.fromkeys(labels.values(), AVAILABLE)
        wait_until(lambda: states(server.channel, "words") == all_available)
        bits, texts = {}, {}
        for label in labels:
            with Client(Address(server.address, "words", version=label)) as client:
                bits[label] = client.score(["the grid reads one letter"])[0].bits_per_character
                texts[label] = [text.text for text in client.generate(["the ", "grid"], 40)]
    assert bits.pop("xla") == bits["float32"] and texts["xla"] == texts["float32"]
    assert len(set(bits.values())) == len(bits)
    assert max(bits.values()) - min(bits.values()) < 0.02 * bits["float32"]


@pytest.mark.slow
def test_text_is_transformed_in_training_and_serving(tmp_path):
    corpus, root = tmp_path / "words.txt", tmp_path / "root"
    corpus.write_text(words(3, 30_000).upper())
    options = (*OPTIONS.split(), "--lowercase", "--normalize", "--prompt", "THE GRID")
    finished = run_module("pipeline", "run", "--corpus", corpus, "--root", root, *options)
    assert finished.returncode == 0, finished.stderr
    assert "\nTransform " in finished.stdout
    *_, text = finished.stdout.split("over gRPC:\n\nTHE GRID")
    assert len(text) > 40 and text == text.lower()
    lowered = tmp_path / "other.txt"
    lowered.write_text(words(4, 30_000))
    valid = run_module("pipeline", "example_validator", "--root", root, "--corpus", lowered)
    assert (valid.returncode, valid.stdout.splitlines()[-1]) == (0, "no anomalies")
    for stage in ("transform --lowercase", "statistics_gen --lowercase", "evaluator"):
        alone = run_module("pipeline", *stage.split(), "--root", root)
        assert alone.returncode == 0, alone.stderr
    command = ("status", "--corpus", corpus, "--root", root, *options)
    assert "Transform         complete" in run_module("pipeline", *command).stdout


@pytest.mark.slow
def test_damage_is_found_named_and_repaired(finished_run, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(finished_run[0], root)
    assert run_module("pipeline", "verify", "--root", root).stdout.endswith("0 damaged\n")
    (shard,) = root.glob("ExampleGen/*/Split-train/data_tfrecord-*")
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(content)
    (report,) = list(root.glob("ExampleValidator/*/report.txt"))[:1]
    report.unlink()
    (manifest,) = root.glob("SchemaGen/*/manifest.json")
    manifest.write_text(manifest.read_text()[:-50])
    found = run_module("pipeline", "verify", "--root", root)
    assert found.returncode == 2 and found.stderr.startswith("error: 3 of ")
    (whole,) = finished_run[0].glob("ExampleGen/*/Split-train/data_tfrecord-*")
    records = sum(1 for _ in tf.data.TFRecordDataset(str(whole)))
    told = f"{shard} is not what was written: record {records - 1} (counted from 0) is damaged"
    for line in (told, f"{report} is missing", f"{manifest} is damaged"):
        assert line in found.stdout
    refused = run_module("pipeline", "status", *finished_run[2][1:], "--root", root)
    assert refused.returncode == 2 and f"{manifest} is damaged" in refused.stderr

    removed = run_module("pipeline", "verify", "--remove", "--root", root)
    assert removed.returncode == 0 and "3 removed" in removed.stdout
    corpus = "--corpus", finished_run[2][2], "--train_fraction", "0.9"
    for stage in ("example_gen", "statistics_gen", "schema_gen", "example_validator"):
        options = corpus if stage == "example_gen" else ()
        again = run_module("pipeline", stage, "--root", root, *options)
        assert again.returncode == 0, again.stderr
    assert run_module("pipeline", "verify", "--root", root).stdout.endswith("0 damaged\n")


def flip(path):
    """Changes a byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.slow
def test_a_served_version_is_verified_and_pushed_again(finished_run, tmp_path):
    root = tmp_path / "root[1]"
    shutil.copytree(finished_run[0], root)
    command = (*command_of(finished_run[2][2], root), "--sample_characters", "0")
    versions = root / "serving" / "words"
    verify = ("verify", "--root", root)
    assert (
        "1 served versions and 0 checkpoints of interrupted trainings, 0 damaged"
        in run_module("pipeline", *verify).stdout
    )
    (variables,) = versions.glob("1/variables/*data*")
    flip(variables)
    found = run_module("pipeline", *verify)
    assert found.returncode == 2 and f"{variables} is not what was written" in found.stdout
    for damage, version in (
        (lambda: None, 2),
        (lambda: shutil.rmtree(versions / "2"), 3),
        (lambda: (versions / "3" / "lineage.json").write_text("{"), 4),
    ):
        damage()
        run = run_module("pipeline", *command)
        assert run.returncode == 0 and f"version {version} in" in run.stdout, run.stderr
        assert os.listdir(versions) == [str(version)]
    assert run_module("pipeline", *verify).returncode == 0
    exports = list(root.glob("Trainer/*/Format-Serving/variables/*data*"))
    for export in exports:
        flip(export)
    shutil.rmtree(versions)
    refused = run_module("pipeline", "pusher", "--root", root, "--model_name", "words")
    assert refused.returncode == 2
    told = [f"{export} is not what was written; `verify --remove`" for export in exports]
    assert any(one in refused.stderr for one in told)
    assert not list(versions.glob("[0-9]*"))


def test_a_manifest_of_a_later_version_is_refused(finished_run, tmp_path):
    root = tmp_path / "root"
    shutil.copytree(finished_run[0] / "SchemaGen", root / "SchemaGen")
    (manifest,) = root.glob("SchemaGen/*/manifest.json")
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "format": content["format"] + 1, "new": 1}))
    refused = run_module("pipeline", "status", *finished_run[2][1:], "--root", root)
    assert refused.returncode == 2 and "is of a later version" in refused.stderr
