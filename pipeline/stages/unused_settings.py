"""The settings that only language models have, which other tasks refuse."""

from collections.abc import Sequence

from model.errors import InputError
from model.language_model.config import GRID_OPTIONS
from pipeline.settings import DEFAULTS
from pipeline.stages.context import RunContext

OF_CHARACTERS = (
    *GRID_OPTIONS,
    "cells",
    "architecture",
    "forget_bias",
    "transform_bias",
    "init_scale",
    "weight_dropout",
    "contexts",
    "tied_embeddings",
    "mogrifier_rank",
)
"""Settings of the section [model] that no other task has."""

OF_TEXTS = (
    "window",
    "validation_characters",
    "dtype",
    "remat_steps",
    "quantize",
    "xla",
    "sample_length",
    "profile_steps",
)
"""Those of the section [training]."""

OF_TEXT_DATA = ("normalize", "lowercase", "character_unit", "separate_documents")
"""Those of the section [data]."""


def require_defaults(
    context: RunContext, of_model: Sequence[str], of_training: Sequence[str] = ()
) -> None:
    """Checks that nothing is set that has no effect on the task of a run.

    Args:
      context: Context of the run.
      of_model: Settings of the section [model] that the task does not have.
      of_training: Further ones of the section [training]. Default: none.

    Raises:
      InputError: If something is; the message names it.
    """
    settings = context.settings
    task = settings.run.task
    sections = (
        (settings.model, DEFAULTS.model, of_model),
        (settings.training, DEFAULTS.training, (*OF_TEXTS, *of_training)),
        (settings.data, DEFAULTS.data, OF_TEXT_DATA),
    )
    require_no_other_task(context)
    for section, defaults, names in sections:
        for name in names:
            if getattr(section, name) != getattr(defaults, name):
                raise InputError(
                    f"{name} is {getattr(section, name)!r}, which the task {task} does not have; "
                    f"leave it out, or use --preset {task}"
                )
    for name, is_set in (
        ("baselines", settings.run.baselines),
        ("dynamic_evaluation", settings.dynamic_evaluation.dynamic_evaluation),
        ("init_from", context.init_from),
    ):
        if is_set:
            raise InputError(f"--{name} is for the task language_model; leave it out")


def require_no_other_task(context: RunContext) -> None:
    """Checks that the sections of other tasks are as they are by default.

    Args:
      context: Context of the run.

    Raises:
      InputError: If a setting of one is not; the message names it.
    """
    for task in ("translation", "recognition"):
        section, defaults = getattr(context.settings, task), getattr(DEFAULTS, task)
        if task == context.settings.run.task:
            continue
        for name, value in vars(section).items():
            if value != getattr(defaults, name):
                raise InputError(
                    f"{name} is {value!r}, which only the task {task} has; leave it out, or use "
                    f"--preset {task}"
                )
