"""LabelSchemaGen: derives the schema and the labels of recordings.

schema.pbtxt      a tensorflow-metadata Schema
labels.json       the characters that a recognizer writes, a JSON string
"""

import dataclasses
import json
import os

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from common.files import read_text, write_text
from model.errors import InputError
from pipeline.data.records import damaged
from pipeline.stages.context import RunContext
from pipeline.stages.schema_gen import SCHEMA
from pipeline.store import manifest
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted

NAME = "LabelSchemaGen"
LABELS = "labels.json"

MAX_LABELS = 10_000
"""Largest number of distinct characters; each is an output of the net in every frame."""


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of a LabelSchemaGen artifact.

    Attributes:
      labels: Number of labels, the distinct characters of the transcripts of the training split.
      eval_unknown: Share of the characters of the transcripts of the eval split that are none.
    """

    labels: int
    eval_unknown: float


def plan(context: RunContext, statistics: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    del context
    return _cache_key(statistics)


def execute(context: RunContext, statistics: Artifact) -> Artifact:
    """Runs the stage in a context."""
    return run(context.store, statistics)


def _cache_key(statistics: Fingerprinted) -> CacheKey:
    return CacheKey.of(NAME, __name__, {"statistics": statistics}, {})


def run(store: Store, statistics: Artifact) -> Artifact:
    """Derives schema and labels.

    Args:
      store: Store of the artifacts.
      statistics: Artifact of RecordingStatisticsGen.

    Returns:
      The artifact with the schema and the labels.

    Raises:
      InputError: If there are more than `MAX_LABELS` characters.
    """
    from pipeline.data import recording_statistics

    def write(directory: str) -> Outcome:
        train, evaluation = (
            recording_statistics.read(statistics.path, split) for split in ("train", "eval")
        )
        labels = "".join(sorted(train.characters))
        if len(labels) > MAX_LABELS:
            raise InputError(
                f"the transcripts have {len(labels):,} distinct characters, {MAX_LABELS:,} are the "
                "limit; write them in fewer, such as in Latin letters"
            )
        write_text(os.path.join(directory, LABELS), json.dumps(labels) + "\n")
        schema = schema_pb2.Schema()
        audio, transcript = (
            schema.feature.add(name=name, type=schema_pb2.BYTES) for name in ("audio", "transcript")
        )
        audio.presence.min_fraction = transcript.presence.min_fraction = 1
        transcript.natural_language_domain.vocabulary = LABELS
        schema.feature.add(name="milliseconds", type=schema_pb2.INT).int_domain.min = 1
        write_text(os.path.join(directory, SCHEMA), text_format.MessageToString(schema))
        total = sum(evaluation.characters.values())
        unknown = sum(n for one, n in evaluation.characters.items() if one not in labels) / total
        properties = Properties(labels=len(labels), eval_unknown=round(unknown, 6))
        summary = f"{len(labels)} labels; {unknown:.2%} of the characters to evaluate are others"
        return Outcome(properties, summary)

    return store.produce(_cache_key(statistics), write)


def read_labels(directory: str) -> str:
    """Returns the labels of a LabelSchemaGen artifact, in the order of the outputs of a net.

    Args:
      directory: Directory of the artifact.

    Raises:
      InputError: If the file is damaged.
    """
    path = os.path.join(directory, LABELS)
    try:
        labels = json.loads(read_text(path))
        if isinstance(labels, str) and labels:
            return labels
    except ValueError:
        pass
    raise damaged(path)
