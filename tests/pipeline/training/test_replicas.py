"""The number of replicas, predicted without TensorFlow."""

import json

import pytest

from pipeline.stages.trainer import make_strategy
from pipeline.training import workers


@pytest.mark.parametrize("devices", [("cpu:0",), ("cpu:0", "cpu:1")])
def test_the_number_of_replicas_is_that_of_the_strategy(devices):
    assert workers.expected_replicas(devices) == make_strategy(devices).num_replicas_in_sync


@pytest.mark.parametrize("visible,count", [(None, 3), ("0,2", 2), ("", 1), ("-1", 1)])
def test_gpus_and_workers_are_counted(tmp_path, monkeypatch, visible, count):
    for number in range(3):
        (tmp_path / f"0000:0{number}:00.0").mkdir()
    monkeypatch.setattr(workers, "GPUS", str(tmp_path / "*"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert workers.expected_replicas(()) == count
    task = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    assert workers.expected_replicas(()) == 2 * count


def test_strategies_of_one_process_share_no_keys_of_collective_operations():
    first, second = (make_strategy(["cpu:0", "cpu:1"]) for _ in range(2))
    keys = [strategy.extended._collective_key_base for strategy in (first, second)]
    assert abs(keys[0] - keys[1]) >= 100_000
