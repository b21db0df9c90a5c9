"""WordSchemaGen: derives the schema and the vocabularies of pairs of sentences.

schema.pbtxt          a tensorflow-metadata Schema
source_words.txt      the words of the sentences that a model knows, in the order of their ids
target_words.txt      those of their translations
"""

import dataclasses
import os

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from common.files import read_text, write_text
from model.errors import InputError
from model.text.word_vocabulary import WordVocabulary
from pipeline.data import pair_statistics
from pipeline.data.sentence_pairs import SIDES
from pipeline.stages.context import RunContext
from pipeline.stages.schema_gen import SCHEMA
from pipeline.store import manifest
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted

NAME = "WordSchemaGen"


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of a WordSchemaGen artifact.

    Attributes:
      source_words: Number of words in the vocabulary of the sentences.
      target_words: Number of words in that of their translations.
      source_unknown: Share of the words of the sentences of the training split that it lacks.
      target_unknown: The same of their translations.
    """

    source_words: int
    target_words: int
    source_unknown: float
    target_unknown: float


def plan(context: RunContext, statistics: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    return _cache_key(statistics, context.settings.translation.least_count)


def execute(context: RunContext, statistics: Artifact) -> Artifact:
    """Runs the stage in a context."""
    return run(context.store, statistics, context.settings.translation.least_count)


def _cache_key(statistics: Fingerprinted, least_count: int) -> CacheKey:
    return CacheKey.of(NAME, __name__, {"statistics": statistics}, {"least_count": least_count})


def run(store: Store, statistics: Artifact, least_count: int = 1) -> Artifact:
    """Derives schema and vocabularies.

    Args:
      store: Store of the artifacts.
      statistics: Artifact of PairStatisticsGen.
      least_count: Smallest number of occurrences of a word in the training split. Default 1.

    Returns:
      The artifact with the schema and both vocabularies.

    Raises:
      InputError: If a vocabulary has no word.
    """

    def write(directory: str) -> Outcome:
        train = pair_statistics.read(statistics.path, "train")
        schema, unknown, sizes = schema_pb2.Schema(), [], []
        for side, counts in zip(SIDES, train.words, strict=True):
            known = {word: number for word, number in counts.items() if number >= least_count}
            if not known:
                raise InputError(
                    f"no {side} word occurs {least_count} times in the training split; use a lower "
                    "--least_count, or give more pairs"
                )
            vocabulary = WordVocabulary(tuple(known))
            write_text(os.path.join(directory, words_file(side)), vocabulary.to_text())
            feature = schema.feature.add(name=side, type=schema_pb2.BYTES)
            feature.presence.min_fraction = 1
            feature.natural_language_domain.vocabulary = words_file(side)
            schema.feature.add(name=f"{side}_words", type=schema_pb2.INT).int_domain.min = 1
            unknown.append(1 - sum(known.values()) / sum(counts.values()))
            sizes.append(len(known))
        text = text_format.MessageToString(schema, as_utf8=True)
        write_text(os.path.join(directory, SCHEMA), text)
        properties = Properties(
            source_words=sizes[0],
            target_words=sizes[1],
            source_unknown=round(unknown[0], 6),
            target_unknown=round(unknown[1], 6),
        )
        summary = (
            f"vocabularies of {sizes[0]:,} and {sizes[1]:,} words; {unknown[0]:.2%} and "
            f"{unknown[1]:.2%} of the words are others"
        )
        return Outcome(properties, summary)

    return store.produce(_cache_key(statistics, least_count), write)


def words_file(side: str) -> str:
    """Returns the name of the file of a side's vocabulary."""
    return f"{side}_words.txt"


def read_vocabularies(directory: str) -> tuple[WordVocabulary, WordVocabulary]:
    """Reads both vocabularies of a WordSchemaGen directory.

    Raises:
      InputError: If one of them is damaged.
    """
    source, target = (
        WordVocabulary.from_text(read_text(os.path.join(directory, words_file(side))))
        for side in SIDES
    )
    return source, target
