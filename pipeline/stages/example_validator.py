"""ExampleValidator: validates statistics against the schema.

Split-eval/SchemaDiff.pb     tensorflow-metadata's Anomalies
report.txt                   the same as text
"""

import dataclasses
import os
from typing import TYPE_CHECKING, NamedTuple

from tensorflow_metadata.proto.v0 import anomalies_pb2, path_pb2, schema_pb2

from common import files
from common.files import write_text
from model.errors import InputError
from model.text.vocabulary import character_name
from pipeline.data import statistics as split_statistics
from pipeline.data.records import split_directory
from pipeline.data.statistics import Statistics
from pipeline.stages import other_corpora, schema_gen, statistics_gen
from pipeline.stages.context import RunContext
from pipeline.store import manifest
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey, Fingerprinted

if TYPE_CHECKING:
    import numpy as np

NAME = "ExampleValidator"
SPLITS = ("eval",)
SHOWN = 10  # characters named in a message

AnomalyInfo = anomalies_pb2.AnomalyInfo


@dataclasses.dataclass(frozen=True)
class Properties(manifest.Properties):
    """The properties of an ExampleValidator artifact.

    Attributes:
      errors: Number of anomalies that stop a run.
      warnings: Number of other anomalies.
      report: Lines of `report.txt`; none if there are no anomalies.
    """

    errors: int
    warnings: int
    report: list[str]


class Anomaly(NamedTuple):
    """A way in which statistics differ from the schema.

    Attributes:
      severity: Severity, as in tensorflow-metadata's AnomalyInfo.
      type: Type, likewise.
      short: Short description.
      description: Full description.
    """

    severity: int
    type: int
    short: str
    description: str

    @property
    def is_error(self) -> bool:
        """Whether the anomaly stops a run."""
        return self.severity == AnomalyInfo.ERROR


def compare(
    statistics: Statistics, baseline: Statistics, schema: schema_pb2.Schema
) -> list[Anomaly]:
    """Compares a text with the schema.

    Args:
      statistics: Statistics of the text.
      baseline: Statistics of the text that the schema was derived from.
      schema: Schema that the text must follow.

    Returns:
      An error for an empty split, one for unseen characters beyond the share that the schema
      allows, and a warning for fewer; a warning for a divergence above the schema's threshold.
    """
    if not statistics.total:
        return [
            Anomaly(
                severity=AnomalyInfo.ERROR,
                type=AnomalyInfo.DATASET_LOW_NUM_EXAMPLES,
                short="empty split",
                description="there is no text in it; give a longer corpus or another "
                "--train_fraction",
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
                severity=AnomalyInfo.ERROR if share > allowed else AnomalyInfo.WARNING,
                type=AnomalyInfo.ENUM_TYPE_UNEXPECTED_STRING_VALUES,
                short="unseen characters",
                description=f"{share:.3%} of the characters are not in the vocabulary: "
                f"{', '.join(names)}{more}",
            )
        )
    divergence = jensen_shannon(statistics.occurrences, baseline.occurrences)
    threshold = characters.drift_comparator.jensen_shannon_divergence.threshold
    if divergence > threshold:
        anomalies.append(
            Anomaly(
                severity=AnomalyInfo.WARNING,
                type=AnomalyInfo.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH,
                short="drift",
                description="the Jensen-Shannon divergence of the character frequencies from those "
                f"of the training split is {divergence:.3f}, above {threshold:g}",
            )
        )
    return anomalies


def jensen_shannon(left: dict[int, int], right: dict[int, int]) -> float:
    """Computes the Jensen-Shannon divergence of two sets of counts.

    JS(p, q) = (KL(p | m) + KL(q | m)) / 2 with m = (p + q) / 2, in bits: 0 if the distributions are
    equal, 1 if they are disjoint.

    Args:
      left: Number of occurrences by value.
      right: The same of the other set.
    """
    import numpy as np

    keys = sorted(left.keys() | right.keys())
    p, q = (np.array([counts.get(key, 0) for key in keys], float) for counts in (left, right))
    p, q = p / max(p.sum(), 1), q / max(q.sum(), 1)
    middle = (p + q) / 2

    def divergence(x: "np.ndarray") -> float:
        present = x > 0
        return np.sum(x[present] * np.log2(x[present] / middle[present]))

    return float((divergence(p) + divergence(q)) / 2)


def plan(context: RunContext, statistics: Fingerprinted, schema: Fingerprinted) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    return _cache_key(statistics, schema, SPLITS)


def execute(context: RunContext, statistics: Artifact, schema: Artifact) -> Artifact:
    """Runs the stage in a context; raises an InputError if it finds an error."""
    anomalies = run(context.store, statistics, schema)
    require_valid(anomalies)
    return anomalies


def _cache_key(
    statistics: Fingerprinted, schema: Fingerprinted, splits: tuple[str, ...]
) -> CacheKey:
    inputs = {"statistics": statistics, "schema": schema}
    return CacheKey.of(NAME, __name__, inputs, {"splits": list(splits)})


def run(
    store: Store, statistics: Artifact, schema: Artifact, splits: tuple[str, ...] = SPLITS
) -> Artifact:
    """Validates the splits of some statistics.

    Args:
      store: Store of the artifacts.
      statistics: Artifact of StatisticsGen.
      schema: Artifact of SchemaGen.
      splits: Names of the splits to validate. Default: the eval split.

    Returns:
      The artifact with a `SchemaDiff.pb` per split and the report.
    """

    def write(directory: str) -> Outcome:
        expected = schema_gen.read_schema(schema.path)
        vocabulary = schema_gen.read_vocabulary(schema.path)
        baseline = split_statistics.read(store.ancestor(schema, "statistics").path, "train")
        lines: list[str] = []
        errors, warnings = 0, 0
        for split in splits:
            observed = split_statistics.read(statistics.path, split)._replace(unit=vocabulary.unit)
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
        summary = f"{errors} errors, {warnings} warnings" if lines else "no anomalies"
        return Outcome(Properties(errors=errors, warnings=warnings, report=lines), summary)

    return store.produce(_cache_key(statistics, schema, splits), write)


def statistics_of_corpus(store: Store, corpus: str, schema: Artifact) -> Artifact:
    """Computes the statistics of a corpus that is validated and not trained on.

    Args:
      store: Store of the schema.
      corpus: Corpus, as in `RunConfig`.
      schema: Artifact of SchemaGen, which says what a character is.

    Returns:
      An artifact of StatisticsGen.
    """
    vocabulary = schema_gen.read_vocabulary(schema.path)
    trained_on = store.ancestor(schema, "statistics", "examples")
    apart, examples = other_corpora.examples_of(store, "validated", corpus, trained_on)
    return statistics_gen.run(apart, examples, vocabulary.unit)


def require_valid(anomalies: Artifact) -> None:
    """Checks that there is no anomaly that stops a run.

    Raises:
      InputError: If there is one; it names the first.
    """
    for line in Properties.read(anomalies).report:
        if line.startswith("ERROR"):
            raise InputError(f"{line.removeprefix('ERROR ')} ({anomalies.file('report.txt')})")


def _write_proto(
    directory: str, split: str, schema: schema_pb2.Schema, anomalies: list[Anomaly]
) -> None:
    """Writes the anomalies of a split as a protocol buffer."""
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
