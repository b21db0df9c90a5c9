"""Merges requests that arrive together, within the graph, whichever server runs it."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.core.framework import node_def_pb2
from tensorflow.core.protobuf import saved_model_pb2

from model.language_model.character_model import CharacterModel

LARGE_MODEL = 4_000_000
"""Number of weights from which on a batch is worth waiting for."""

CONCURRENT_BATCHES = 2
"""Merged batches of one signature that run at the same time."""


class Batching(NamedTuple):
    """Parameters by which requests that arrive together are merged within the graph.

    Attributes:
      max_batch_size: Largest number of rows of a merged batch. Default 64.
      timeout_micros: Microseconds that a row waits for others while a thread is free. Default 0.
      threads: Merged batches of one signature that run at the same time. Default 2.
      max_enqueued_batches: Batches that may wait; more are refused as UNAVAILABLE. Default 1000.
      chunk_length: Characters that a row generates in one batch before others take its place.
        Default 4.
    """

    max_batch_size: int = 64
    timeout_micros: int = 0
    threads: int = CONCURRENT_BATCHES
    max_enqueued_batches: int = 1000
    chunk_length: int = 4

    @classmethod
    def default_for(cls, model: CharacterModel) -> "Batching":
        """Returns the parameters that served most characters under load on two cores.

        A large model reads its kernels once for all rows of a batch, which is worth a short wait.

        Args:
          model: The model to serve.
        """
        if model.count_params() < LARGE_MODEL:
            return cls()
        return cls(timeout_micros=500, chunk_length=8)

    def run_merged(self, name: str, function: Callable[..., Any], *tensors: tf.Tensor) -> Any:
        """Runs a function on the rows of all requests that arrive at the same time.

        Args:
          name: Name of the queue; each function needs one of its own.
          function: Function of tensors whose first dimension is the batch, to a list or tuple of
            such, or to one.
          *tensors: Tensors of this request, one per parameter of the function.

        Returns:
          The rows of this request. Static shapes are lost, and other dimensions than the first may
          be as wide as the rows of other requests made them.
        """
        merge = tf.nondifferentiable_batch_function(
            self.threads,
            self.max_batch_size,
            self.timeout_micros,
            max_enqueued_batches=self.max_enqueued_batches,
            autograph=False,
        )
        with tf.name_scope(name):  # TensorFlow tells queues apart by this
            return merge(function)(*tensors)


def threads_per_op() -> int:
    """Returns the number of threads of one op: the cores, divided by the concurrent batches.

    With more threads, products of few rows wait longer than they compute, and concurrent batches
    wait for each other.
    """
    return max(1, len(os.sched_getaffinity(0)) // CONCURRENT_BATCHES)


def set_batching(directory: str, attributes: Mapping[str, int]) -> None:
    """Changes how a SavedModel merges requests, in place.

    Args:
      directory: Directory of the SavedModel.
      attributes: New values for attributes of its `BatchFunction` ops, by name, such as
        `{"batch_timeout_micros": 500}`.
    """
    path = os.path.join(directory, tf.saved_model.SAVED_MODEL_FILENAME_PB)
    with tf.io.gfile.GFile(path, "rb") as file:
        saved_model = saved_model_pb2.SavedModel.FromString(file.read())
    for node in _batch_functions(saved_model):
        for name, value in attributes.items():
            node.attr[name].i = value
    tf.io.gfile.remove(path)  # some filesystems do not truncate on overwrite
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(saved_model.SerializeToString(deterministic=True))


def _batch_functions(saved_model: saved_model_pb2.SavedModel) -> Iterator[node_def_pb2.NodeDef]:
    """Yields the nodes that merge requests."""
    for graph in saved_model.meta_graphs:
        for function in graph.graph_def.library.function:
            yield from (node for node in function.node_def if node.op == "BatchFunction")
