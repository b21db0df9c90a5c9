"""The workers of a training, and the replicas of the model that they hold.

TensorFlow's own variable, `TF_CONFIG`, describes the cluster. For the second of two workers it is

    {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 1}}
"""

import dataclasses
import json
import os
from collections.abc import Sequence

from common import files
from model.errors import InputError

GPUS = "/proc/driver/nvidia/gpus/*"
"""A directory per GPU, as NVIDIA's driver has them on Linux."""


@dataclasses.dataclass(frozen=True)
class Worker:
    """One of the processes that train a model together.

    Attributes:
      index: Index of the process, counted from 0.
      count: Number of processes.
    """

    index: int
    count: int

    @property
    def is_chief(self) -> bool:
        """Whether it is the worker that writes the artifact."""
        return self.index == 0


def this_worker() -> Worker:
    """Returns the worker that this process is; the only one if `TF_CONFIG` is not set.

    Raises:
      InputError: If `TF_CONFIG` is invalid.
    """
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        workers = config.get("cluster", {}).get("worker", [])
        index = int(config.get("task", {}).get("index", 0))
        if 0 <= index < max(len(workers), 1):
            return Worker(index, max(len(workers), 1))
    except (ValueError, TypeError, AttributeError):
        pass
    raise InputError(
        "TF_CONFIG is no description of a cluster of workers; see "
        "tf.distribute.cluster_resolver.TFConfigClusterResolver, or unset it"
    )


def expected_replicas(devices: Sequence[str]) -> int:
    """Returns the number of replicas that a training will have, without importing TensorFlow.

    Args:
      devices: Names of the devices to train on; empty for all GPUs, or the CPU.

    Returns:
      The number of devices over all workers. GPUs are counted by what NVIDIA's driver and
      `CUDA_VISIBLE_DEVICES` say, and every worker is taken to have as many as this one.
    """
    if devices:
        return len(devices)
    gpus = len(files.glob(GPUS))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        gpus = min(
            gpus, len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
        )
    return max(gpus, 1) * this_worker().count
