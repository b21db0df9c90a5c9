"""SchemaGen: derives the schema of the text from the statistics of the training split.

schema.pbtxt       a tensorflow-metadata Schema
vocabulary.txt     the vocabulary, a character per line, in the order of the ids
"""

import dataclasses
import os
import unicodedata

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from common.files import read_text, write_text
from model.errors import InputError
from model.text.vocabulary import Vocabulary, character_name
from pipeline.data import statistics as split_statistics
from pipeline.stages.context import RunContext
from pipeline.store import manifest
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted

NAME = "SchemaGen"
SCHEMA = "schema.pbtxt"
VOCABULARY = "vocabulary.txt"
MIN_DOMAIN_MASS = 0.99
MAX_DIVERGENCE = 0.1


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of a SchemaGen artifact.

    Attributes:
      vocabulary: Number of characters in the vocabulary.
    """

    vocabulary: int


def plan(context: RunContext, statistics: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    return _cache_key(statistics)


def execute(context: RunContext, statistics: Artifact) -> Artifact:
    """Runs the stage in a context."""
    return run(context.store, statistics)


def check_output(context: RunContext, schema: Artifact) -> None:
    """Checks that the model will know the characters of the prompt that the run ends with.

    Raises:
      InputError: If it will not, naming the first that it lacks.
    """
    run = context.settings.run
    prompt = run.prompt if run.sample_characters else ""
    if context.settings.data.lowercase:
        prompt = prompt.lower()
    if context.settings.data.normalize:
        prompt = unicodedata.normalize("NFC", prompt)
    try:
        read_vocabulary(schema.path).require_known(prompt)
    except InputError as error:
        raise InputError(f"the prompt cannot be continued: {error}; change --prompt") from error


def _cache_key(statistics: Fingerprinted) -> CacheKey:
    return CacheKey.of(NAME, __name__, {"statistics": statistics}, {})


def run(store: Store, statistics: Artifact) -> Artifact:
    """Derives schema and vocabulary.

    Args:
      store: Store of the artifacts.
      statistics: Artifact of StatisticsGen.

    Returns:
      The artifact with `schema.pbtxt` and `vocabulary.txt`.

    Raises:
      InputError: If the training split is empty.
    """

    def write(directory: str) -> Outcome:
        train = split_statistics.read(statistics.path, "train")
        if not train.total:
            raise InputError("the training split is empty; give a longer corpus")
        vocabulary = Vocabulary.of(train.unit, train.occurrences)
        schema = text_format.MessageToString(to_proto(vocabulary), as_utf8=True)
        write_text(os.path.join(directory, SCHEMA), schema)
        write_text(os.path.join(directory, VOCABULARY), vocabulary.to_text())
        noun = "bytes" if vocabulary.unit == "bytes" else "code points"
        return Outcome(Properties(vocabulary.size), f"a vocabulary of {vocabulary.size} {noun}")

    return store.produce(_cache_key(statistics), write)


def to_proto(vocabulary: Vocabulary) -> schema_pb2.Schema:
    """Returns the schema of text over a vocabulary."""
    schema = schema_pb2.Schema()
    characters = schema.feature.add(name="characters", type=schema_pb2.BYTES)
    characters.presence.min_count = 1
    characters.string_domain.name = "characters"
    codes = [
        character_name(vocabulary.unit, code_point).split("\t")[0]
        for code_point in vocabulary.code_points
    ]
    characters.string_domain.value.extend(codes)
    characters.distribution_constraints.min_domain_mass = MIN_DOMAIN_MASS
    characters.drift_comparator.jensen_shannon_divergence.threshold = MAX_DIVERGENCE
    schema.feature.add(name="line_length", type=schema_pb2.INT)
    return schema


def read_schema(directory: str) -> schema_pb2.Schema:
    """Reads the schema of a SchemaGen directory.

    Raises:
      InputError: If it is damaged.
    """
    path = os.path.join(directory, SCHEMA)
    try:
        return text_format.Parse(read_text(path), schema_pb2.Schema())
    except text_format.ParseError as error:
        raise InputError(f"{path} is no schema ({error}); run schema_gen again") from error


def read_vocabulary(directory: str) -> Vocabulary:
    """Reads the vocabulary of a SchemaGen directory."""
    path = os.path.join(directory, VOCABULARY)
    return Vocabulary.from_text(read_text(path), path)
