"""The context of a run, which the stages take their arguments from."""

import dataclasses
import functools
import os

from pipeline.corpora.corpus import Mixture, resolve_mixture
from pipeline.corpora.discovery import Rules
from pipeline.data.examples import ExamplesProperties
from pipeline.settings import Settings
from pipeline.store.artifacts import Artifact, Store

# Not imported from the graph, so that changing a declaration there does not invalidate artifacts.
EXAMPLE_GEN = "ExampleGen"


@dataclasses.dataclass(frozen=True)
class RunContext:
    """The store, the settings and the options of one run.

    Only `plan` and `execute` of a stage see it; the functions behind these take what they need as
    arguments of their own.

    Attributes:
      store: Store of the artifacts.
      settings: Settings of the preset, with the options that take precedence over it.
      takes_corpus: Whether the run reads a corpus itself. A stage that runs by itself finds the
        name of the corpus in the newest examples instead. Default True.
      serving_dir: Directory that models are pushed to; empty for `serving` under the root.
      init_from: Path of a Trainer artifact whose weights to start from; empty for random ones.
      devices: TensorFlow's names of the devices to train on; empty for all GPUs, or the CPU.
      beam_options: Options for Beam, as on its own command lines (`--runner=...`).
      model: Artifact of the model that a stage by itself is run on, which has the name of the
        corpus that it was trained on: the newest examples may be of another. Default: none.
    """

    store: Store
    settings: Settings
    takes_corpus: bool = True
    serving_dir: str = ""
    init_from: str = ""
    devices: tuple[str, ...] = ()
    beam_options: tuple[str, ...] = ()
    model: Artifact | None = None

    @functools.cached_property
    def text(self) -> Mixture:
        """The corpora of the settings.

        Raises:
          InputError: If there is no such corpus, or its weights do not fit.
        """
        run = self.settings.run
        rules = Rules(
            left_out=(self.store.root, self.served_from),
            # Recordings are no text; those that are no WAV files either are refused by name.
            allow_binary=run.allow_binary or run.task == "recognition",
            follow_links=run.follow_links,
            max_bytes=run.max_bytes,
        )
        return resolve_mixture(
            run.corpus,
            run.mixture_weights,
            run.mix_until,
            rules,
            run.translations,
            run.transcripts,
        )

    def check_beam_options(self) -> None:
        """Checks the options for Beam.

        Raises:
          InputError: If one of them is wrong.
        """
        if self.beam_options:
            from pipeline.data import runners

            runners.beam_options(self.beam_options)

    @property
    def model_name(self) -> str:
        """The name of the model, by default that of the corpus."""
        if self.settings.run.model_name:
            return self.settings.run.model_name
        if self.takes_corpus:
            return self.text.name
        if self.model:
            return ExamplesProperties.read(self.store.ancestor(self.model, "examples")).corpus
        return ExamplesProperties.read(self.store.latest(EXAMPLE_GEN)).corpus

    @property
    def base_path(self) -> str:
        """The directory of the model's versions, `<serving>/<model>`."""
        return os.path.join(self.served_from, self.model_name)

    @property
    def served_from(self) -> str:
        """The directory that models are pushed to."""
        return self.serving_dir or os.path.join(self.store.root, "serving")
