"""Requests that arrive together, merged within the graph, whoever serves it."""

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from model.language_model.character_model import CharacterModel

LARGE = 4_000_000  # weights
AT_ONCE = 2  # merged batches, per signature


class Batching(NamedTuple):
    """How requests that arrive together are merged within the graph.

    Attributes:
      max_batch_size: most rows of a merged batch.
      timeout_micros: how long a row waits for others where a thread is free.
      threads: merged batches that run at once, per signature.
      max_enqueued_batches: batches that wait; more are refused as UNAVAILABLE.
      turn: characters that a row generates before it makes room for others.
    """

    max_batch_size: int = 64
    timeout_micros: int = 0
    threads: int = AT_ONCE
    max_enqueued_batches: int = 1000
    turn: int = 4

    @classmethod
    def usual_for(cls, model: CharacterModel) -> "Batching":
        """What did best under load, of what was tried on two cores.

        Where kernels are large, a batch that reads them for more rows is worth a short wait.
        """
        if model.count_params() < LARGE:
            return cls()
        return cls(timeout_micros=500, turn=8)

    def merged(
        self, name: str, function: Callable[..., list[tf.Tensor]], *tensors: tf.Tensor
    ) -> list[tf.Tensor]:
        """Runs a function on the rows of all requests that arrive at the same time.

        Those under one name wait in one queue, so each function is to have a name of its own. What
        it returns has lost its shape, and other dimensions than the first may be as wide as others'
        rows made them.
        """
        merge = tf.nondifferentiable_batch_function(
            self.threads,
            self.max_batch_size,
            self.timeout_micros,
            max_enqueued_batches=self.max_enqueued_batches,
            autograph=False,
        )
        with tf.name_scope(name):  # by this TensorFlow tells queues apart
            return merge(function)(*tensors)


def threads_per_op() -> int:
    """The share of one merged batch in the cores of this process.

    Products with few rows wait longer for more threads than they compute, and the batches that run
    at once for each other's.
    """
    return max(1, len(os.sched_getaffinity(0)) // AT_ONCE)


def rebatch(directory: str, changes: Mapping[str, int]) -> None:
    """Changes how a SavedModel merges requests.

    Args:
      directory: of the SavedModel.
      changes: attributes of the ops that merge, such as "batch_timeout_micros", with new values.
    """
    path = os.path.join(directory, tf.saved_model.SAVED_MODEL_FILENAME_PB)
    with tf.io.gfile.GFile(path, "rb") as file:
        saved_model = saved_model_pb2.SavedModel.FromString(file.read())
    for graph in saved_model.meta_graphs:
        for function in graph.graph_def.library.function:
            for node in function.node_def:
                if node.op == "BatchFunction":
                    for name, value in changes.items():
                        node.attr[name].i = value
    tf.io.gfile.remove(path)  # not every filesystem cuts a file that is written anew
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(saved_model.SerializeToString(deterministic=True))
