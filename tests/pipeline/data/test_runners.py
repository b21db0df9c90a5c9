"""Pipelines on other runners: in other processes, and on other machines."""

import contextlib
import os
import re
import time

import apache_beam as beam
import pytest
import tensorflow as tf
from apache_beam.internal import pickler
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from commands import run_module
from conftest import PROJECT, text_of, words, write_folder

from model.errors import InputError
from pipeline.corpora import corpus
from pipeline.data import runners
from pipeline.settings import DataConfig
from pipeline.stages import example_gen, statistics_gen, transform
from pipeline.store.artifacts import Store

TRANSFORMED = DataConfig(normalize=True)


class CapturedError(Exception):
    """Stops a stage before its pipeline runs."""


@pytest.fixture
def capture(monkeypatch):
    """A function that returns the pipeline which a stage would have run."""
    original = runners.run

    def pipeline_of(stage, *arguments):
        found = []

        def keep(pipeline, *_):
            found.append(pipeline.to_runner_api(use_fake_coders=True))
            raise CapturedError

        monkeypatch.setattr(runners, "run", keep)
        with pytest.raises(CapturedError):
            stage.run(*arguments)
        monkeypatch.setattr(runners, "run", original)
        return found[0]

    return pipeline_of


def pickled_functions(pipeline):
    """Yields every function of a pipeline, pickled without compression."""
    for transform_proto in pipeline.components.transforms.values():
        if transform_proto.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = beam_runner_api_pb2.ParDoPayload.FromString(transform_proto.spec.payload)
            yield cloudpickle.dumps(pickler.loads(payload.do_fn.payload))


def test_a_pipeline_refers_to_no_file_of_the_submitting_machine(capture):
    with tf.io.gfile.GFile("ram://elsewhere/text.txt", "w") as file:
        file.write(words(1, 20_000))
    store = Store("ram://elsewhere/root")
    with store.writing():
        source = corpus.resolve("ram://elsewhere/text.txt")
        pipelines = [capture(example_gen, store, source)]
        examples = example_gen.run(store, source)
        pipelines.append(capture(transform, store, examples, TRANSFORMED))
        pipelines.append(capture(statistics_gen, store, examples))
    for pipeline in pipelines:
        functions = list(pickled_functions(pipeline))
        assert any(b"ram://elsewhere" in function for function in functions)
        for function in functions:
            assert b"__main__" not in function
            # Functions of Beam name the source file that they are defined in.
            found = {path.decode() for path in re.findall(rb"(?<![\w:/])/[\w./-]{2,}", function)}
            assert not [path for path in found if os.path.exists(path) and path[-3:] != ".py"]


class Slow(beam.DoFn):
    """Counts ten bytes per element, slowly."""

    def __init__(self):
        self.bytes = runners.Counter("Stage", "bytes")

    def process(self, element):
        self.bytes.inc(10)
        time.sleep(0.01)


def test_counters_are_shown_while_a_pipeline_runs_and_count_once(monkeypatch):
    shown = []
    bar = contextlib.nullcontext(lambda done, total, note: shown.append(done))
    monkeypatch.setattr(runners, "progress_bar", lambda *_: bar)
    monkeypatch.setattr(runners, "SECONDS_BETWEEN_LOOKS", 0.005)
    pipeline = runners.pipeline(runners.beam_options([]))
    pipeline | beam.Create(range(50)) | beam.ParDo(Slow())
    runners.run(pipeline, "Stage", "Waiting", "bytes", 500)
    assert shown == sorted(shown) and shown[-1] == 500
    assert len(set(shown)) > 5
    assert runners._of_result(pipeline.run(), "Stage") == {"bytes": 500}


@pytest.mark.slow
def test_worker_processes_write_the_same(tmp_path):
    folder = write_folder(tmp_path / "texts", [300_000, 200_000])
    roots = []
    for name, options in (
        ("one", []),
        ("two", ["--", "--direct_num_workers=2", "--direct_running_mode=multi_processing"]),
    ):
        roots.append(tmp_path / name)
        for stage in (f"example_gen --corpus {folder} --shards 5", "transform --lowercase"):
            finished = run_module("pipeline", *stage.split(), "--root", roots[-1], *options)
            assert finished.returncode == 0, finished.stderr
    one, two = (
        {
            path.relative_to(root): path.read_bytes()
            for path in root.rglob("Split-*/*")
            if path.is_file()
        }
        for root in roots
    )
    assert one == two and len(one) == 2 * (5 + 1 + 2)
    transformed = Store(str(roots[1])).latest(transform.NAME)
    whole = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    train, evaluation = (text_of(transformed, split) for split in ("train", "eval"))
    assert train + evaluation == whole.lower()


def test_local_paths_are_refused_for_dataflow(tmp_path, corpus_file):
    pytest.importorskip("apache_beam.runners.dataflow")
    options = runners.beam_options(["--runner=DataflowRunner"])
    with pytest.raises(InputError, match=r"DataflowRunner.* cannot see .*gs://"):
        runners.require_visible(options, [str(corpus_file)])
    runners.require_visible(options, ["gs://bucket/text.txt"])
    runners.require_visible(runners.beam_options([]), [str(corpus_file)])


def test_the_container_has_the_required_version_of_beam():
    container = (PROJECT / "pipeline" / "worker" / "Dockerfile").read_text()
    (pinned,) = re.findall(r"^apache-beam==(\S+)", (PROJECT / "requirements.txt").read_text(), re.M)
    assert re.search(rf"^FROM apache/beam_python3\.11_sdk:{re.escape(pinned)}$", container, re.M)
    locked = (PROJECT / "pipeline" / "worker" / "requirements.lock").read_text()
    assert re.search(rf"^apache-beam(\[gcp\])?=={re.escape(pinned)} ", locked, re.M)
    for copied in re.findall(r"^COPY (.*) \S+$", container, re.M):
        assert all((PROJECT / name).exists() for name in copied.split())
