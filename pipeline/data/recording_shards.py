"""The splits and shards of recordings, and the Beam transform that writes them."""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence

import apache_beam as beam

from common import files
from model.errors import InputError
from model.speech.wav import decode_wavs
from model.speech.wav_headers import WavLimits
from pipeline.corpora.transcripts import Transcribed
from pipeline.data import layout, runners
from pipeline.data.recordings import Recording, gathered
from pipeline.data.records import SPLITS, RecordWriter, Shard, shard_name, split_directory
from pipeline.settings import DataConfig


@dataclasses.dataclass(frozen=True)
class RecordingPlan:
    """The plan of one shard.

    Attributes:
      split: Name of the split.
      index: Index of the shard, counted from 0.
      count: Number of shards of the split.
      recordings: Recordings that it holds, in order.
    """

    split: str
    index: int
    count: int
    recordings: list[Transcribed]


def plans(recordings: Sequence[Transcribed], data: DataConfig) -> list[RecordingPlan]:
    """Returns the plans of all shards.

    Within a split the recordings are in the order of hashes of their names, so that neighbours,
    which are read together, are of different speakers and texts.

    Args:
      recordings: Recordings with their transcripts.
      data: Rules of the splits, and the number of shards of the training split.

    Raises:
      InputError: If a split has no recording.
    """
    made = []
    for split, part in zip(SPLITS, _splits(recordings, data), strict=True):
        if not part:
            raise InputError(
                f"the {split} split has none of the {len(recordings)} recordings; give more of "
                "them, another --train_fraction, or a split in each line of the transcripts"
            )
        shuffled = sorted(part, key=lambda one: (layout.unit_hash(one.source.name), one))
        total = sum(one.source.size for one in shuffled)
        count = data.shards if split == "train" and data.shards else layout.usual_shards(total)
        count = min(count, len(shuffled))
        shards: list[list[Transcribed]] = [[] for _ in range(count)]
        for place, one in enumerate(shuffled):
            shards[place * count // len(shuffled)].append(one)
        made += [RecordingPlan(split, index, count, each) for index, each in enumerate(shards)]
    return made


def _splits(
    recordings: Sequence[Transcribed], data: DataConfig
) -> tuple[list[Transcribed], list[Transcribed]]:
    """Returns the recordings to train on, and those of the eval split."""
    if recordings[0].split:
        train, evaluation = ([one for one in recordings if one.split == each] for each in SPLITS)
        return train, evaluation
    if data.split_by == "hash":
        trained = [layout.unit_hash(one.source.name) < data.train_fraction for one in recordings]
        is_eval = [not one for one in trained]
        return (
            list(itertools.compress(recordings, trained)),
            list(itertools.compress(recordings, is_eval)),
        )
    first = round(len(recordings) * data.train_fraction)
    return list(recordings[:first]), list(recordings[first:])


class WriteRecordings(beam.DoFn):
    """Reads the recordings of one shard, checks them and writes them."""

    def __init__(self, stage: str, examples: str, limits: WavLimits):
        """Creates the counters.

        Args:
          stage: Name of the stage, the namespace of the counters.
          examples: Directory of the examples.
          limits: What recordings must be.
        """
        self._examples = examples
        self._limits = limits
        self._bytes = runners.Counter(stage, "bytes")
        self._recordings = runners.Counter(stage, "recordings")

    def process(self, plan: RecordingPlan) -> Iterator[tuple[str, Shard]]:
        """Yields the name of the split and the entry of the shard in its index.

        Raises:
          InputError: If a recording is not what it must be, naming it and the place in it.
        """
        name = shard_name(plan.index, plan.count)
        path = os.path.join(split_directory(self._examples, plan.split), name)
        size = code_points = 0
        with files.replacing(path, "wb") as file, RecordWriter(file) as writer:
            for part in gathered(map(self._read, plan.recordings)):
                decode_wavs({one.source: one.audio for one in part}, self._limits)
                for one in part:
                    writer.write(one.serialize())
                    size += len(one.audio)
                    code_points += len(one.transcript)
                self._bytes.inc(sum(len(one.audio) for one in part))
                self._recordings.inc(len(part))
        first, last = plan.recordings[0].source, plan.recordings[-1].source
        yield (
            plan.split,
            Shard(
                name=name,
                records=len(plan.recordings),
                bytes=size,
                code_points=code_points,
                invalid=0,
                first=(first.name, 0),
                last=(last.name, last.size),
                checksum=writer.checksum,
            ),
        )

    def _read(self, one: Transcribed) -> Recording:
        """Returns a recording, whose content is not checked yet."""
        name, path = one.source.name, one.source.path
        if problem := self._limits.size_problem(one.source.size):
            raise InputError(f"{name} {problem}")
        with files.open_file(path, "rb") as file:
            return Recording(file.read(self._limits.max_bytes), one.text, name)
