"""SchemaGen: what text must look like, from the statistics of the training split.

schema.pbtxt       a tensorflow-metadata Schema
vocabulary.txt     the vocabulary, a character a line, in the order of the ids
"""

import os

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from common.files import read_text, write_text
from model.errors import InputError
from model.text.vocabulary import Vocabulary, character_name
from pipeline.stages import statistics_gen
from pipeline.stages.names import SCHEMA_GEN
from pipeline.store.artifacts import Artifact, Outcome, Store

SCHEMA = "schema.pbtxt"
VOCABULARY = "vocabulary.txt"
MIN_DOMAIN_MASS = 0.99
MAX_DIVERGENCE = 0.1


def run(store: Store, statistics: Artifact) -> Artifact:
    """Derives schema and vocabulary.

    Args:
      store: where artifacts are.
      statistics: from StatisticsGen.

    Returns:
      The artifact with `schema.pbtxt` and `vocabulary.txt`.

    Raises:
      InputError: if the training split is empty.
    """

    def write(directory: str) -> Outcome:
        train = statistics_gen.read(statistics.path, "train")
        if not train.total:
            raise InputError("the training split is empty; give a longer corpus")
        vocabulary = Vocabulary.of(train.unit, train.occurrences)
        schema = text_format.MessageToString(to_proto(vocabulary), as_utf8=True)
        write_text(os.path.join(directory, SCHEMA), schema)
        write_text(os.path.join(directory, VOCABULARY), vocabulary.to_text())
        noun = "bytes" if vocabulary.unit == "bytes" else "code points"
        return Outcome({"vocabulary": vocabulary.size}, f"a vocabulary of {vocabulary.size} {noun}")

    return store.produce(SCHEMA_GEN, __name__, {"statistics": statistics}, {}, write)


def to_proto(vocabulary: Vocabulary) -> schema_pb2.Schema:
    """The schema of text over an vocabulary."""
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
    """The schema of a SchemaGen directory.

    Raises:
      InputError: if it is none.
    """
    path = os.path.join(directory, SCHEMA)
    try:
        return text_format.Parse(read_text(path), schema_pb2.Schema())
    except text_format.ParseError as error:
        raise InputError(f"{path} is no schema ({error}); run schema_gen again") from error


def read_vocabulary(directory: str) -> Vocabulary:
    """The characters of a SchemaGen directory."""
    path = os.path.join(directory, VOCABULARY)
    return Vocabulary.from_text(read_text(path), path)
