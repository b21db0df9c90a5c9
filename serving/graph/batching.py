"""Merges requests that arrive together, within the graph, whichever server runs it."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.core.framework import graph_pb2, node_def_pb2
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
        Default 8.
      generated_batch_sizes: Numbers of rows that batches of texts to generate are padded to, in
        ascending order; none, the default, for no padding.
    """

    max_batch_size: int = 64
    timeout_micros: int = 0
    threads: int = CONCURRENT_BATCHES
    max_enqueued_batches: int = 1000
    chunk_length: int = 8
    generated_batch_sizes: tuple[int, ...] = ()

    @classmethod
    def default_for(cls, model: CharacterModel) -> "Batching":
        """Returns the parameters that served most characters under load on two cores.

        A large model reads its kernels once for all rows of a batch, which is worth a short wait.

        Args:
          model: The model to serve.
        """
        if model.count_params() < LARGE_MODEL:
            return cls()
        return cls(timeout_micros=500)

    @classmethod
    def compiled(cls) -> "Batching":
        """Returns the parameters of a model whose sampling XLA compiles.

        It compiles for each size of a batch anew, so that there are few, and starting a program
        takes as long as some characters, so that chunks are longer.
        """
        return cls(chunk_length=16, generated_batch_sizes=(1, 4, 16, 64))

    def run_merged(
        self,
        name: str,
        function: Callable[..., Any],
        *tensors: tf.Tensor,
        batch_sizes: tuple[int, ...] = (),
    ) -> Any:
        """Runs a function on the rows of all requests that arrive at the same time.

        Args:
          name: Name of the queue; each function needs one of its own.
          function: Function of tensors whose first dimension is the batch, to a list or tuple of
            such, or to one.
          *tensors: Tensors of this request, one per parameter of the function.
          batch_sizes: Numbers of rows that batches are padded to; none, the default, for no
            padding.

        Returns:
          The rows of this request. Static shapes are lost, and other dimensions than the first may
          be as wide as the rows of other requests made them.
        """
        merge = tf.nondifferentiable_batch_function(
            self.threads,
            self.max_batch_size,
            self.timeout_micros,
            allowed_batch_sizes=list(batch_sizes) or None,
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


def set_attributes(
    saved_model: saved_model_pb2.SavedModel, attributes: Mapping[str, int]
) -> tuple[int, ...]:
    """Changes how a SavedModel merges requests.

    Args:
      saved_model: Protobuf of the SavedModel.
      attributes: New values for attributes of its `BatchFunction` ops, by name.

    Returns:
      The numbers of rows that batches are then padded to; none for no padding.
    """
    padded: set[int] = set()
    for graph in saved_model.meta_graphs:
        for node in _batch_functions(graph.graph_def):
            for name, value in attributes.items():
                node.attr[name].i = value
            padded.update(_fit_allowed_sizes(node))
    return tuple(sorted(padded))


@contextlib.contextmanager
def edited_saved_model(directory: str) -> Iterator[saved_model_pb2.SavedModel]:
    """Yields the protobuf of a SavedModel, and writes it back at the end.

    Args:
      directory: Directory of the SavedModel.
    """
    path = os.path.join(directory, tf.saved_model.SAVED_MODEL_FILENAME_PB)
    with tf.io.gfile.GFile(path, "rb") as file:
        saved_model = saved_model_pb2.SavedModel.FromString(file.read())
    yield saved_model
    tf.io.gfile.remove(path)  # some filesystems do not truncate on overwrite
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(saved_model.SerializeToString(deterministic=True))


def _fit_allowed_sizes(node: node_def_pb2.NodeDef) -> Sequence[int]:
    """Makes the last of the sizes that batches are padded to the largest size of a batch."""
    if "allowed_batch_sizes" not in node.attr:
        return ()  # reading it would add it
    largest = node.attr["max_batch_size"].i
    sizes = node.attr["allowed_batch_sizes"].list.i
    if sizes:
        sizes[:] = [*(size for size in sizes if size < largest), largest]
    return sizes


def merges_requests(graph: graph_pb2.GraphDef) -> bool:
    """Returns whether a graph merges the rows of several requests into batches."""
    return any(True for _ in _batch_functions(graph))


def _batch_functions(graph: graph_pb2.GraphDef) -> Iterator[node_def_pb2.NodeDef]:
    """Yields the nodes that merge requests."""
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        yield from (node for node in nodes if node.op == "BatchFunction")
