"""Transform: the text of examples normalised, by a graph that goes into the served model.

Split-train/data_tfrecord-*     records as ExampleGen's; their offsets are those of the text they
                                were made from
transform_fn/                   the graph, a SavedModel

A piece of text is transformed by itself only where that changes nothing: it begins a source, or
begins with a blank or a control character, which composes with nothing before it and ends words.
"""

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import apache_beam as beam

from common import files
from model.errors import InputError
from pipeline.data import runners
from pipeline.data.records import (
    SPLITS,
    Record,
    Shard,
    read_index,
    read_records,
    shard_path,
    split_directory,
)
from pipeline.data.sharding import ShardWriter, outcome, remove_leftovers, write_shards
from pipeline.settings import DataConfig
from pipeline.stages.names import TRANSFORM
from pipeline.store.artifacts import Artifact, Outcome, Store

if TYPE_CHECKING:
    import tensorflow as tf

TRANSFORM_FN = "transform_fn"
BLANK = re.compile(rb"[\x00-\x20]")


class TransformShard(beam.DoFn):
    """Transforms the pieces of text that begin in one shard, and writes them as a shard."""

    def __init__(self, examples: str, directory: str):
        self._examples = examples
        self._directory = directory
        self._writer = ShardWriter(TRANSFORM, directory)

    def setup(self) -> None:
        """Loads the graph and the indexes, once for each worker."""
        self._transform = load(self._directory)
        self._indexes = {split: read_index(self._examples, split) for split in SPLITS}

    def process(self, shard: tuple[str, int]) -> Iterator[tuple[str, Shard]]:
        """Yields the split and what was written."""
        split, number = shard
        index = self._indexes[split]
        end = None

        def transformed():
            nonlocal end
            for piece in pieces_of_shard(self._examples, split, index, number):
                end = piece.source, piece.end
                yield self._transformed(piece)

        written = self._writer.write(split, index[number].name, transformed())
        # Not where the records seem to end, as their text may have got another length.
        yield split, written._replace(last=end)

    def _transformed(self, piece):
        try:
            piece.text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"invalid UTF-8 in {piece.source}, byte {piece.offset + error.start}; mend the "
                "text, or leave out --normalize and --lowercase"
            ) from error
        return piece._replace(text=self._transform([piece.text]).numpy()[0])


def pieces_of_shard(
    examples: str, split: str, index: Sequence[Shard], number: int
) -> Iterator[Record]:
    """The pieces of text that begin in a shard; the last may end in a later one.

    Args:
      examples: from ExampleGen.
      split: which split.
      index: its shards.
      number: of the shard among them.
    """
    paths = [shard_path(examples, split, shard) for shard in index[number:]]
    before = next((shard.last for shard in reversed(index[:number]) if shard.last), None)
    records: Iterator[Record] = read_records(paths[0])
    if before is not None and index[number].first == before:
        records = _from_first_blank(records)
    held: Record | None = None
    for record in records:
        if held is not None and _follows(record, held):
            record = held._replace(text=held.text + record.text)
        elif held is not None:
            yield held
        cut = max(record.text.rfind(b" "), record.text.rfind(b"\n"), 0)
        if cut:
            yield record._replace(text=record.text[:cut])
        held = _without(record, cut)
    if held is not None:
        later = itertools.chain.from_iterable(map(read_records, paths[1:]))
        yield held._replace(text=held.text + b"".join(_to_first_blank(later, held)))


def _from_first_blank(records):
    """Records without the end of a piece that began in an earlier shard."""
    before: Record | None = None
    for record in records:
        blank = BLANK.search(record.text)
        if before is not None and not _follows(record, before):
            yield record
            break
        if blank:
            yield _without(record, blank.start())
            break
        before = record
    yield from records


def _to_first_blank(records, held):
    """The texts of records that end a piece."""
    for record in records:
        if not _follows(record, held):
            return
        blank = BLANK.search(record.text)
        yield record.text[: blank.start()] if blank else record.text
        if blank:
            return
        held = record


def _follows(record, before):
    return (record.source, record.offset) == (before.source, before.end)


def _without(record, size):
    """A record without its first bytes."""
    return record._replace(text=record.text[size:], offset=record.offset + size)


def run(
    store: Store, examples: Artifact, data: DataConfig, beam_options: Sequence[str] = ()
) -> Artifact:
    """Transforms the text of examples.

    Args:
      store: where artifacts are.
      examples: from ExampleGen.
      data: which transformations are asked for.
      beam_options: options for Beam.

    Returns:
      The artifact, which takes the place of the examples; `examples` where nothing is asked for.

    Raises:
      InputError: if the text is not UTF-8.
    """
    if not data.transforms:
        return examples
    options = runners.beam_options(beam_options)
    runners.require_visible(options, [store.root])

    def write(directory: str) -> Outcome:
        _write_graph(directory, data)
        shards = []
        for split in SPLITS:
            files.makedirs(split_directory(directory, split))
            shards += [(split, number) for number in range(len(read_index(examples.path, split)))]
        pipeline = runners.pipeline(options)
        write_shards(pipeline, directory, shards, TransformShard(examples.path, directory))
        counters = examples.manifest.counters
        runners.run(pipeline, TRANSFORM, "Transforming", "bytes", counters["bytes"])
        remove_leftovers(directory)
        return outcome(directory, counters["corpus"], {"sources": counters["sources"]})

    parameters = {"normalize": data.normalize, "lowercase": data.lowercase}
    return store.produce(TRANSFORM, __name__, {"examples": examples}, parameters, write)


def _write_graph(directory, data):
    import tensorflow as tf

    from model.text.normalization import TextTransform

    graph = TextTransform(data.normalize, data.lowercase)
    tf.saved_model.save(graph, os.path.join(directory, TRANSFORM_FN))


def load(examples: str) -> "Callable[[tf.Tensor], tf.Tensor] | None":
    """The graph that examples were made by, for texts `[batch]`; None if they are as they came."""
    path = os.path.join(examples, TRANSFORM_FN)
    if not files.exists(path):
        return None
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  its operations are in the graph

    return tf.saved_model.load(path)
