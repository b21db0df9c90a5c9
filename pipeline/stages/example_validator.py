"""ExampleValidator: statistics against the schema.

Split-eval/SchemaDiff.pb     tensorflow-metadata's Anomalies
report.txt                   the same for reading
"""

import os
from typing import NamedTuple

import numpy as np
from tensorflow_metadata.proto.v0 import anomalies_pb2, path_pb2, schema_pb2

from common import files
from common.files import write_text
from model.errors import InputError
from model.text.vocabulary import character_name
from pipeline.data import corpus as corpora
from pipeline.data.records import split_directory
from pipeline.settings import DataConfig
from pipeline.stages import example_gen, schema_gen, statistics_gen, transform
from pipeline.stages.names import EXAMPLE_VALIDATOR, TRANSFORM
from pipeline.stages.statistics_gen import Statistics
from pipeline.store.artifacts import Artifact, Outcome, Store

SHOWN = 10  # characters named in a message

AnomalyInfo = anomalies_pb2.AnomalyInfo


class Anomaly(NamedTuple):
    """One way in which statistics differ from the schema."""

    severity: int
    type: int
    short: str
    description: str

    @property
    def is_error(self) -> bool:
        """Whether it stops a run."""
        return self.severity == AnomalyInfo.ERROR


def compare(
    statistics: Statistics, baseline: Statistics, schema: schema_pb2.Schema
) -> list[Anomaly]:
    """What is wrong with some text.

    Args:
      statistics: of the text.
      baseline: of the text the schema is from.
      schema: what the text must look like.

    Returns:
      An error for an empty split, one for unseen characters beyond the share that the schema
      allows, and a warning for fewer; a warning for a divergence above the schema's threshold.
    """
    if not statistics.total:
        return [
            Anomaly(
                AnomalyInfo.ERROR,
                AnomalyInfo.DATASET_LOW_NUM_EXAMPLES,
                "empty split",
                "there is no text in it; give a longer corpus or another --train_fraction",
            )
        ]
    anomalies = []
    characters = schema.feature[0]
    known = {int(code[2:], 16) for code in characters.string_domain.value}
    unseen = {c: n for c, n in statistics.occurrences.items() if c not in known}
    if unseen:
        share = sum(unseen.values()) / statistics.total
        allowed = 1 - characters.distribution_constraints.min_domain_mass
        names = [
            character_name(statistics.unit, c).replace("\t", " ") for c in list(unseen)[:SHOWN]
        ]
        more = f" and {len(unseen) - SHOWN} more" if len(unseen) > SHOWN else ""
        anomalies.append(
            Anomaly(
                AnomalyInfo.ERROR if share > allowed else AnomalyInfo.WARNING,
                AnomalyInfo.ENUM_TYPE_UNEXPECTED_STRING_VALUES,
                "unseen characters",
                f"{share:.3%} of the characters are not in the vocabulary: "
                f"{', '.join(names)}{more}",
            )
        )
    divergence = jensen_shannon(statistics.occurrences, baseline.occurrences)
    threshold = characters.drift_comparator.jensen_shannon_divergence.threshold
    if divergence > threshold:
        anomalies.append(
            Anomaly(
                AnomalyInfo.WARNING,
                AnomalyInfo.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
                "drift",
                f"the Jensen-Shannon divergence of the character frequencies from those of the "
                f"training split is {divergence:.3f}, above {threshold:g}",
            )
        )
    return anomalies


def jensen_shannon(left: dict[int, int], right: dict[int, int]) -> float:
    """Jensen-Shannon divergence of two sets of counts, in bits: 0 for equal, 1 for disjoint."""
    keys = sorted(left.keys() | right.keys())
    p, q = (np.array([counts.get(key, 0) for key in keys], float) for counts in (left, right))
    p, q = p / max(p.sum(), 1), q / max(q.sum(), 1)
    middle = (p + q) / 2

    def divergence(x):
        present = x > 0
        return np.sum(x[present] * np.log2(x[present] / middle[present]))

    return float((divergence(p) + divergence(q)) / 2)


def run(
    store: Store, statistics: Artifact, schema: Artifact, splits: tuple[str, ...] = ("eval",)
) -> Artifact:
    """Validates the splits of some statistics.

    Args:
      store: where artifacts are.
      statistics: from StatisticsGen.
      schema: from SchemaGen.
      splits: which splits to validate.

    Returns:
      The artifact with a `SchemaDiff.pb` per split and the report.
    """

    def write(directory: str) -> Outcome:
        expected = schema_gen.read_schema(schema.path)
        vocabulary = schema_gen.read_vocabulary(schema.path)
        baseline = statistics_gen.read(store.ancestor(schema, "statistics").path, "train")
        lines, errors, warnings = [], 0, 0
        for split in splits:
            observed = statistics_gen.read(statistics.path, split)._replace(unit=vocabulary.unit)
            anomalies = compare(observed, baseline, expected)
            _write_proto(directory, split, expected, anomalies)
            errors += sum(anomaly.is_error for anomaly in anomalies)
            warnings += sum(not anomaly.is_error for anomaly in anomalies)
            lines.extend(
                f"{'ERROR' if anomaly.is_error else 'WARNING'} in split {split}: "
                f"{anomaly.short}: {anomaly.description}"
                for anomaly in anomalies
            )
        write_text(
            os.path.join(directory, "report.txt"), "\n".join(lines or ["no anomalies"]) + "\n"
        )
        figure = f"{errors} errors, {warnings} warnings" if lines else "no anomalies"
        return Outcome({"errors": errors, "warnings": warnings, "report": lines}, figure)

    inputs = {"statistics": statistics, "schema": schema}
    return store.produce(EXAMPLE_VALIDATOR, __name__, inputs, {"splits": list(splits)}, write)


def statistics_of_corpus(store: Store, corpus: str, schema: Artifact) -> Artifact:
    """Examples and statistics of a corpus that is only to be validated.

    They are kept in a root of their own, so that no later stage takes them for its newest input.
    """
    vocabulary = schema_gen.read_vocabulary(schema.path)
    apart = Store(os.path.join(store.root, "validated"))
    examples = example_gen.run(apart, corpora.resolve(corpus))
    known = store.ancestor(schema, "statistics", "examples").manifest
    if known.stage == TRANSFORM:
        examples = transform.run(apart, examples, DataConfig(**known.parameters))
    return statistics_gen.run(apart, examples, vocabulary.unit)


def require_valid(anomalies: Artifact) -> None:
    """Stops a run on an error-level anomaly.

    Raises:
      InputError: with the first such anomaly.
    """
    for line in anomalies.manifest.counters["report"]:
        if line.startswith("ERROR"):
            raise InputError(f"{line.removeprefix('ERROR ')} ({anomalies.file('report.txt')})")


def _write_proto(directory, split, schema, anomalies):
    proto = anomalies_pb2.Anomalies(baseline=schema)
    if anomalies:
        info = proto.anomaly_info["characters"]
        info.path.CopyFrom(path_pb2.Path(step=["characters"]))
        info.severity = max(anomaly.severity for anomaly in anomalies)
        info.short_description = "; ".join(anomaly.short for anomaly in anomalies)
        info.description = "; ".join(anomaly.description for anomaly in anomalies)
        for anomaly in anomalies:
            info.reason.add(
                type=anomaly.type,
                short_description=anomaly.short,
                description=anomaly.description,
            )
    target = split_directory(directory, split)
    files.makedirs(target)
    with files.open_file(os.path.join(target, "SchemaDiff.pb"), "wb") as file:
        file.write(proto.SerializeToString())
