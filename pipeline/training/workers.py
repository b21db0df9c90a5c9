"""Which part of a training on several machines this process is.

TensorFlow's own variable, `TF_CONFIG`, says so. For the second of two it is

    {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 1}}
"""

import json
import os
from typing import NamedTuple

from model.errors import InputError


class Worker(NamedTuple):
    """One of the processes that train a model together.

    Attributes:
      index: which one, counted from 0.
      count: how many there are.
    """

    index: int
    count: int

    @property
    def is_chief(self) -> bool:
        """Whether it is the one that writes what all have made."""
        return self.index == 0


def this_worker() -> Worker:
    """The part of this process; the only one where `TF_CONFIG` says nothing.

    Raises:
      InputError: if that cannot be read.
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
