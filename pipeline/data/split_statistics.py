"""The Beam pipeline of all stages of statistics: shards are counted, and joined for each split."""

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from common import files
from pipeline.data import runners
from pipeline.data.records import SPLITS, read_index, shard_path, split_directory
from pipeline.data.statistics import invalid_place

Shard = tuple[str, int, str]
"""Name of the split, number of the shard in it, and path."""


def write_statistics(
    stage: str,
    examples: str,
    directory: str,
    options: PipelineOptions,
    count: beam.DoFn,
    join: beam.CombineFn,
    write: beam.DoFn,
    verb: str = "Counting",
) -> str:
    """Counts all shards, joins the counts of each split, and writes its statistics.

    Args:
      stage: Name of the stage.
      examples: Directory of the examples.
      directory: Directory to write to.
      options: Options for Beam.
      count: Yields the name of the split and the counts of a `Shard`.
      join: Joins the counts of the shards of a split.
      write: Writes what is joined, given with the name of the split, or `invalid.txt`.
      verb: What the progress bar says is done. Default "Counting".

    Returns:
      What `invalid.txt` says is wrong with the examples; empty if nothing is.

    Raises:
      InputError: If the examples are damaged, or a worker refuses them.
    """
    indices = {split: read_index(examples, split) for split in SPLITS}
    shards = [
        (split, number, shard_path(examples, split, shard))
        for split, index in indices.items()
        for number, shard in enumerate(index)
    ]
    total = sum(shard.bytes for index in indices.values() for shard in index)
    for split in SPLITS:
        files.makedirs(split_directory(directory, split))
    pipeline = runners.pipeline(options)
    (
        pipeline
        | "ListShards" >> beam.Create(shards)
        | "CountShards" >> beam.ParDo(count)
        | "JoinCounts" >> beam.CombinePerKey(join)
        | "WriteStatistics" >> beam.ParDo(write)
    )
    runners.run(pipeline, stage, verb, "bytes", total)
    return invalid_place(directory)
