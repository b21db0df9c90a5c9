"""The graph of the stages: the run, the commands, `status` and the picture are derived from it.

To add a stage, write its module in this folder and declare it here. Its module holds

    NAME                          the name of the stage
    plan(context, **inputs)       the cache key of its artifact; may read the inputs
    execute(context, **inputs)    runs the stage and returns its artifact

and imports TensorFlow and Beam within functions only, as `status` imports it to plan. It may also
hold `check_options(context)`, called before a run begins, and `check_inputs(context, **inputs)`,
called as soon as its inputs exist, and `check_output(context, artifact)`, called in a run of all
stages as soon as its artifact does. Where inputs may be artifacts that do not exist yet they are
`Fingerprinted`.
"""

import dataclasses
from typing import Any, get_args

from model.errors import InputError
from model.language_model.config import ModelConfig
from pipeline.settings import (
    DataConfig,
    DynamicEvaluationConfig,
    RecognitionConfig,
    ServingConfig,
    Settings,
    Task,
    TrainingConfig,
    TranslationConfig,
)
from pipeline.stages.stage import Stage

EXAMPLE_GEN = "ExampleGen"
TRANSFORM = "Transform"
STATISTICS_GEN = "StatisticsGen"
SCHEMA_GEN = "SchemaGen"
EXAMPLE_VALIDATOR = "ExampleValidator"
BASELINES = "Baselines"
TRAINER = "Trainer"
EVALUATOR = "Evaluator"
DYNAMIC_EVALUATOR = "DynamicEvaluator"
INFRA_VALIDATOR = "InfraValidator"
PUSHER = "Pusher"
PAIR_STATISTICS_GEN = "PairStatisticsGen"
WORD_SCHEMA_GEN = "WordSchemaGen"
TRANSLATION_TRAINER = "TranslationTrainer"
TRANSLATION_EVALUATOR = "TranslationEvaluator"
RECORDING_STATISTICS_GEN = "RecordingStatisticsGen"
LABEL_SCHEMA_GEN = "LabelSchemaGen"
RECOGNITION_TRAINER = "RecognitionTrainer"
RECOGNITION_EVALUATOR = "RecognitionEvaluator"


CORPUS_OPTIONS = (
    "task",
    "corpus",
    "translations",
    "transcripts",
    "mixture_weights",
    "mix_until",
    "allow_binary",
    "follow_links",
    "max_bytes",
    DataConfig,
    "beam_options",
)
"""The options of commands that read a corpus."""

STAGES = (
    Stage(
        name=EXAMPLE_GEN,
        run="example_gen",
        help="Shard a corpus into TFRecords, in a training and an eval split.",
        options=(*CORPUS_OPTIONS, RecognitionConfig),
        payload="TFRecords",
        example="--corpus my-texts",
        note="Beam",
    ),
    Stage(
        name=TRANSFORM,
        run="transform",
        help="Normalise the text of the examples, as --normalize and --lowercase say.",
        inputs={"examples": EXAMPLE_GEN},
        options=(DataConfig, "beam_options"),
        payload="TFRecords, graph",
        optional=lambda settings: settings.data.transforms,
        tensorflow=True,
        example="--normalize",
        note="Beam",
    ),
    Stage(
        name=STATISTICS_GEN,
        run="statistics_gen",
        help="Count characters, pairs and line lengths.",
        inputs={"examples": TRANSFORM},
        options=(DataConfig, "beam_options"),
        payload="FeatureStats.pb",
        note="Beam",
    ),
    Stage(
        name=SCHEMA_GEN,
        run="schema_gen",
        help="Derive schema and vocabulary from the training statistics.",
        inputs={"statistics": STATISTICS_GEN},
        payload="schema, vocabulary",
    ),
    Stage(
        name=EXAMPLE_VALIDATOR,
        run="example_validator",
        help="Validate the eval split, or a new corpus, against the schema.",
        inputs={"statistics": STATISTICS_GEN, "schema": SCHEMA_GEN},
        payload="no errors",
    ),
    Stage(
        name=BASELINES,
        run="baselines",
        help="Predict the eval split of a corpus, or the newest, by n-grams and compressors.",
        inputs={"examples": TRANSFORM, "schema": SCHEMA_GEN},
        options=(*CORPUS_OPTIONS, "baseline_characters"),
        optional=lambda settings: settings.run.baselines,
        ancestry={"examples": ("schema", "statistics", "examples")},
    ),
    Stage(
        name=TRAINER,
        run="trainer",
        help="Train a model and export it; an interrupted training resumes.",
        inputs={"examples": TRANSFORM, "schema": SCHEMA_GEN},
        options=(ModelConfig, TrainingConfig, "init_from", "devices"),
        payload="Format-Serving/",
        after=(EXAMPLE_VALIDATOR,),
        ancestry={"examples": ("schema", "statistics", "examples")},
        every_worker=True,
        tensorflow=True,
        example="--layers 3 --steps 2000",
        note="XLA, MirroredStrategy",
    ),
    Stage(
        name=EVALUATOR,
        run="evaluator",
        help="Measure the exported model on the eval split, and against the one pushed last.",
        inputs={"model": TRAINER, "examples": TRANSFORM, "statistics": STATISTICS_GEN},
        options=("model_name", "serving_dir", "eval_batch_size"),
        payload="BLESSED",
        ancestry={
            "examples": ("model", "examples"),
            "statistics": ("model", "schema", "statistics"),
        },
        may_stop=True,
        tensorflow=True,
        example="--model_name my-texts",
    ),
    Stage(
        name=INFRA_VALIDATOR,
        run="infra_validator",
        help="Smoke-test a server that has loaded the exported model.",
        inputs={"model": TRAINER},
        options=("task",),
        payload="INFRA_BLESSED",
        after=(EVALUATOR,),
        tensorflow=True,
    ),
    Stage(
        name=PUSHER,
        run="pusher",
        help="Copy the blessed model into the serving directory, as its next version.",
        inputs={"model": TRAINER, "evaluation": EVALUATOR, "infra_blessing": INFRA_VALIDATOR},
        options=("task", "model_name", "serving_dir", ServingConfig),
        tensorflow=True,
        example="--model_name my-texts --serving_dir models",
    ),
    Stage(
        name=DYNAMIC_EVALUATOR,
        run="dynamic_evaluator",
        help="Score the eval split, or another corpus, while the weights of the model follow it.",
        inputs={"model": TRAINER, "examples": TRANSFORM},
        options=(DynamicEvaluationConfig,),
        payload="losses",
        after=(EVALUATOR,),
        optional=lambda settings: settings.dynamic_evaluation.dynamic_evaluation,
        ancestry={"examples": ("model", "examples")},
        tensorflow=True,
        example="--dynamic_window 20",
    ),
)
"""The stages of a language model, in the order of a run."""


def _shared(name: str, **changes: Any) -> Stage:
    """Returns a stage that several tasks have, with other inputs."""
    shared = next(stage for stage in STAGES if stage.name == name)
    return dataclasses.replace(shared, **changes)


def _checked_and_pushed(trainer: str, evaluator: str) -> tuple[Stage, Stage]:
    """Returns the stages that check and push the models of another task.

    Args:
      trainer: Name of the stage that trains them.
      evaluator: Name of the stage that evaluates them.
    """
    inputs = {"model": trainer, "evaluation": evaluator, "infra_blessing": INFRA_VALIDATOR}
    return (
        _shared(INFRA_VALIDATOR, inputs={"model": trainer}, after=(evaluator,)),
        _shared(PUSHER, inputs=inputs),
    )


_ANCESTRY_OF_TRAINER = {
    "statistics": ("schema", "statistics"),
    "examples": ("schema", "statistics", "examples"),
}
"""Where the inputs of the trainer of another task come from, from its schema on."""

TRANSLATION_STAGES = (
    _shared(EXAMPLE_GEN),
    Stage(
        name=PAIR_STATISTICS_GEN,
        run="pair_statistics_gen",
        help="Count the words of sentences and of their translations.",
        inputs={"examples": EXAMPLE_GEN},
        options=("beam_options",),
        payload="FeatureStats.pb",
        note="Beam",
    ),
    Stage(
        name=WORD_SCHEMA_GEN,
        run="word_schema_gen",
        help="Derive schema and vocabularies of both languages from the training statistics.",
        inputs={"statistics": PAIR_STATISTICS_GEN},
        options=(TranslationConfig,),
        payload="schema, vocabularies",
        example="--least_count 2",
    ),
    Stage(
        name=TRANSLATION_TRAINER,
        run="translation_trainer",
        help="Train a model that translates and export it; an interrupted training resumes.",
        inputs={
            "examples": EXAMPLE_GEN,
            "schema": WORD_SCHEMA_GEN,
            "statistics": PAIR_STATISTICS_GEN,
        },
        options=(ModelConfig, TrainingConfig, TranslationConfig, "devices"),
        payload="Format-Serving/",
        ancestry=_ANCESTRY_OF_TRAINER,
        every_worker=True,
        tensorflow=True,
        example="--preset translation",
        note="MirroredStrategy",
    ),
    Stage(
        name=TRANSLATION_EVALUATOR,
        run="translation_evaluator",
        help="Measure the exported model on the eval split, and against the one pushed last.",
        inputs={
            "model": TRANSLATION_TRAINER,
            "examples": EXAMPLE_GEN,
            "schema": WORD_SCHEMA_GEN,
            "statistics": PAIR_STATISTICS_GEN,
        },
        options=("model_name", "serving_dir", TranslationConfig),
        payload="BLESSED",
        ancestry={role: ("model", role) for role in ("examples", "schema", "statistics")},
        may_stop=True,
        tensorflow=True,
        example="--model_name my-texts",
    ),
    *_checked_and_pushed(TRANSLATION_TRAINER, TRANSLATION_EVALUATOR),
)
"""The stages of a translation, in the order of a run."""

RECOGNITION_STAGES = (
    _shared(EXAMPLE_GEN, run="recording_example_gen"),
    Stage(
        name=RECORDING_STATISTICS_GEN,
        run="recording_statistics_gen",
        help="Measure recordings, and count the characters of their transcripts.",
        inputs={"examples": EXAMPLE_GEN},
        options=(RecognitionConfig, "beam_options"),
        payload="FeatureStats.pb",
        tensorflow=True,
        note="Beam",
    ),
    Stage(
        name=LABEL_SCHEMA_GEN,
        run="label_schema_gen",
        help="Derive schema and labels of recordings from the training statistics.",
        inputs={"statistics": RECORDING_STATISTICS_GEN},
        payload="schema, labels",
    ),
    Stage(
        name=RECOGNITION_TRAINER,
        run="recognition_trainer",
        help="Train a recognizer of speech and export it; an interrupted training resumes.",
        inputs={
            "examples": EXAMPLE_GEN,
            "schema": LABEL_SCHEMA_GEN,
            "statistics": RECORDING_STATISTICS_GEN,
        },
        options=(ModelConfig, TrainingConfig, RecognitionConfig, "devices"),
        payload="Format-Serving/",
        ancestry=_ANCESTRY_OF_TRAINER,
        every_worker=True,
        tensorflow=True,
        example="--preset recognition",
        note="MirroredStrategy",
    ),
    Stage(
        name=RECOGNITION_EVALUATOR,
        run="recognition_evaluator",
        help="Measure the exported recognizer on the eval split, and against the one pushed last.",
        inputs={"model": RECOGNITION_TRAINER, "examples": EXAMPLE_GEN},
        options=("model_name", "serving_dir", RecognitionConfig),
        payload="BLESSED",
        ancestry={"examples": ("model", "examples")},
        may_stop=True,
        tensorflow=True,
        example="--model_name my-recordings",
    ),
    *_checked_and_pushed(RECOGNITION_TRAINER, RECOGNITION_EVALUATOR),
)
"""The stages of a recognition, in the order of a run."""

TASKS: tuple[Task, ...] = get_args(Task)


def stages_of_task(task: Task) -> tuple[Stage, ...]:
    """Returns all stages of a task, in the order of a run."""
    return {
        "language_model": STAGES,
        "translation": TRANSLATION_STAGES,
        "recognition": RECOGNITION_STAGES,
    }[task]


def tasks_of(stage: Stage) -> list[Task]:
    """Returns the tasks that have a stage of that name."""
    return [task for task in TASKS if any(one.name == stage.name for one in stages_of_task(task))]


def all_stages() -> list[Stage]:
    """Returns the stages of all tasks; of those that several have, the first."""
    stages: dict[str, Stage] = {}
    for task in TASKS:
        for stage in stages_of_task(task):
            stages.setdefault(stage.name, stage)
    return list(stages.values())


def stages_of(settings: Settings) -> list[Stage]:
    """Returns the stages of a run with these settings, in order."""
    return [stage for stage in stages_of_task(settings.run.task) if stage.is_part_of(settings)]


def find_stage(name: str, task: Task = "language_model") -> Stage:
    """Returns the stage of a task, by default of a language model, with a name.

    Raises:
      InputError: If the task has no such stage.
    """
    for stage in stages_of_task(task):
        if stage.name == name:
            return stage
    raise InputError(f"the task {task} has no stage {name}; use another preset or --task")


def find_any_stage(name: str) -> Stage:
    """Returns the stage of any task with a name."""
    return next(stage for stage in all_stages() if stage.name == name)


def producers(stage: Stage, settings: Settings) -> dict[str, str]:
    """Returns the stages that produce the inputs of a stage, by role.

    A stage that is no part of the run is replaced by the one that its own first input is from.
    """
    return {role: _producer(name, settings) for role, name in stage.inputs.items()}


def _producer(name: str, settings: Settings) -> str:
    stage = find_stage(name, settings.run.task)
    if stage.is_part_of(settings):
        return name
    return _producer(next(iter(stage.inputs.values())), settings)
