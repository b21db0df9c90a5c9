"""The declaration of a stage; `graph` has those of all stages."""

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from types import ModuleType

from pipeline.settings import Settings


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage of the pipeline.

    Attributes:
      name: Name of the stage, and of its directory under the root.
      run: Module that runs the stage, as its name in this folder; imported when it is first used.
        It is the name of the stage's command as well.
      help: Description of the stage, for its command.
      inputs: Producing stage of each input, by its role. A stage that is left out is replaced by
        its own first input.
      options: Options of the stage's command: dataclasses of settings, and names of single options.
      payload: Files that later stages read of its artifact, for the picture.
      after: Stages that must succeed before this one, though it reads nothing of their artifacts.
      optional: Function of the settings that returns whether the stage is part of a run; None for a
        stage that always is.
      ancestry: For inputs that the stage's own command must not mix, the roles that lead to them
        from another input. Other inputs are the newest artifacts of their stages.
      may_stop: Whether the artifact may refuse its blessing, after which a run ends.
      every_worker: Whether all workers of a cluster run the stage, and not only the chief.
      tensorflow: Whether the stage imports TensorFlow.
      example: Options in the example of the stage's command.
      note: Second line in the picture.
    """

    name: str
    run: str
    help: str
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    options: tuple[type | str, ...] = ()
    payload: str = ""
    after: tuple[str, ...] = ()
    optional: Callable[[Settings], bool] | None = None
    ancestry: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    may_stop: bool = False
    every_worker: bool = False
    tensorflow: bool = False
    example: str = "--root runs"
    note: str = ""

    @property
    def module(self) -> ModuleType:
        """The module that runs the stage, imported."""
        return importlib.import_module(f"pipeline.stages.{self.run}")

    def is_part_of(self, settings: Settings) -> bool:
        """Returns whether the stage is part of a run with these settings."""
        return self.optional is None or self.optional(settings)
