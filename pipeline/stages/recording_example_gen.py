"""ExampleGen of recordings: writes them, with their transcripts, as shards of TFRecords.

See `pipeline.data.recordings` for the records, and `pipeline.corpora.transcripts` for the
transcripts. The stage has the name of the one that reads texts, and a module of its own, so that
neither changes the artifacts of the other.
"""

import dataclasses
import os
from collections.abc import Sequence

from common import files
from common.quiet_tensorflow import import_tensorflow
from model.errors import InputError
from pipeline.corpora import corpus as corpora
from pipeline.corpora import discovery, transcripts
from pipeline.corpora.corpus import Mixture
from pipeline.corpora.discovery import Skipped
from pipeline.corpora.plain_files import UNPACKED, plain_files
from pipeline.data import examples
from pipeline.data.records import SPLITS, split_directory
from pipeline.settings import DataConfig, RecognitionConfig
from pipeline.stages.context import EXAMPLE_GEN, RunContext
from pipeline.store.artifacts import Artifact, Outcome, Store
from pipeline.store.manifest import CacheKey

__all__ = ["NAME", "check_options", "execute", "plan", "run"]

NAME = EXAMPLE_GEN


def plan(context: RunContext) -> CacheKey:
    """Returns the cache key that `execute` will use."""
    return _cache_key(context.text, context.settings.data, context.settings.recognition)


def execute(context: RunContext) -> Artifact:
    """Runs the stage in a context."""
    settings = context.settings
    return run(
        context.store, context.text, settings.recognition, settings.data, context.beam_options
    )


def check_options(context: RunContext) -> None:
    """Checks the options for Beam, before any stage runs.

    Raises:
      InputError: If one of them is wrong.
    """
    context.check_beam_options()


def _cache_key(mixture: Mixture, data: DataConfig, recognition: RecognitionConfig) -> CacheKey:
    limits = ("sample_rate", "max_seconds", "window_ms")
    parameters = {
        "corpus": mixture.name,
        "split_by": data.split_by,
        "train_fraction": data.train_fraction,
        "shards": data.shards,
        "recordings": {name: dataclasses.asdict(recognition)[name] for name in limits},
    }
    return CacheKey.of(NAME, __name__, {"corpus": mixture.fingerprint}, parameters)


def run(
    store: Store,
    mixture: Mixture,
    recognition: RecognitionConfig = RecognitionConfig(),  # noqa: B008  it cannot be changed
    data: DataConfig = DataConfig(),  # noqa: B008  it cannot be changed
    beam_options: Sequence[str] = (),
) -> Artifact:
    """Writes the shards of recordings.

    Args:
      store: Store of the artifacts.
      mixture: The only corpus, and the transcripts if they are not among its files.
      recognition: What recordings must be.
      data: Rules by which the recordings are split and sharded, where the transcripts do not name
        the splits. By position and by document the first recordings are trained on, in the order of
        their names.
      beam_options: Options for Beam, as on its own command lines (`--runner=...`).

    Returns:
      The artifact with `Split-train` and `Split-eval`.

    Raises:
      InputError: If a transcript or a recording is not what it must be, or files change while they
        are read.
    """
    import_tensorflow()
    from pipeline.data import recording_shards, runners
    from pipeline.data.sharding import write_shards
    from pipeline.data.spectrograms import limits_of

    options = runners.beam_options(beam_options)
    sources = [source.path for corpus in mixture.all_corpora for source in corpus.sources]
    runners.require_visible(options, [store.root, *sources])
    (corpus,) = mixture.corpora

    def write(directory: str) -> Outcome:
        scratch = os.path.join(directory, UNPACKED)
        skipped: list[Skipped] = list(corpus.skipped)
        plain = plain_files(corpus, scratch, skipped)
        beside = None
        if mixture.transcripts:
            files_of_transcripts = plain_files(mixture.transcripts, scratch, skipped)
            if len(files_of_transcripts) != 1:
                raise InputError(
                    f"--transcripts {mixture.transcripts.name} holds {len(files_of_transcripts)} "
                    "files; name the one with the transcripts"
                )
            (beside,) = files_of_transcripts
        found = transcripts.transcribed(plain, beside)
        plans = recording_shards.plans(found.recordings, data)
        for split in SPLITS:
            files.makedirs(split_directory(directory, split))
        pipeline = runners.pipeline(options)
        writing = recording_shards.WriteRecordings(NAME, directory, limits_of(recognition))
        write_shards(pipeline, directory, plans, writing)
        total = sum(one.source.size for one in found.recordings)
        runners.run(pipeline, NAME, "Sharding", "bytes", total)
        examples.remove_leftovers(directory)
        for each in mixture.all_corpora:
            corpora.require_unchanged(each)
        if files.exists(scratch):
            files.rmtree(scratch)
        note = discovery.describe([*skipped, *found.skipped])
        return examples.outcome(directory, mixture.name, len(found.recordings), note)

    return store.produce(_cache_key(mixture, data, recognition), write)
