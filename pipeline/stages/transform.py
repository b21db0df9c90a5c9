"""Transform: normalises the text of examples, by a graph that goes into the served model.

Split-train/data_tfrecord-*     records as ExampleGen's; their offsets are those of the text they
                                were made from
transform_fn/                   the graph, a SavedModel
"""

from collections.abc import Sequence

from common import files
from pipeline.data import examples as written_examples
from pipeline.data import text_transform
from pipeline.data.examples import ExamplesProperties as Properties
from pipeline.data.records import SPLITS, read_index, split_directory
from pipeline.settings import DataConfig
from pipeline.stages.context import RunContext
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted

NAME = "Transform"


def plan(context: RunContext, examples: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    return _cache_key(examples, context.settings.data)


def execute(context: RunContext, examples: Artifact) -> Artifact:
    """Runs the stage in a context."""
    return run(context.store, examples, context.settings.data, context.beam_options)


def _cache_key(examples: Fingerprinted, data: DataConfig) -> CacheKey:
    parameters = {"normalize": data.normalize, "lowercase": data.lowercase}
    return CacheKey.of(NAME, __name__, {"examples": examples}, parameters)


def run(
    store: Store, examples: Artifact, data: DataConfig, beam_options: Sequence[str] = ()
) -> Artifact:
    """Transforms the text of examples.

    Args:
      store: Store of the artifacts.
      examples: Artifact of ExampleGen.
      data: Settings that say which transformations apply.
      beam_options: Options for Beam, as on its own command lines.

    Returns:
      The artifact, which takes the place of the examples; `examples` itself if no transformation
      applies.

    Raises:
      InputError: If the text is not UTF-8.
    """
    if not data.transforms:
        return examples
    from pipeline.data import runners
    from pipeline.data.sharding import write_shards
    from pipeline.data.transform_pipeline import TransformShard

    options = runners.beam_options(beam_options)
    runners.require_visible(options, [store.root])

    def write(directory: str) -> Outcome:
        text_transform.write(directory, data.normalize, data.lowercase)
        shards = []
        for split in SPLITS:
            files.makedirs(split_directory(directory, split))
            shards += [(split, number) for number in range(len(read_index(examples.path, split)))]
        pipeline = runners.pipeline(options)
        write_shards(pipeline, directory, shards, TransformShard(NAME, examples.path, directory))
        properties = Properties.read(examples)
        runners.run(pipeline, NAME, "Transforming", "bytes", properties.bytes)
        written_examples.remove_leftovers(directory)
        return written_examples.outcome(directory, properties.corpus, properties.sources)

    return store.produce(_cache_key(examples, data), write)
