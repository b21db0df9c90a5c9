"""The settings of a run: a typed record per section of a preset; see `preset_files`."""

import dataclasses
import math
from typing import Literal, NamedTuple

from model.config import CharacterUnit, Execution, require_one_of, require_range
from model.errors import InputError
from model.language_model.config import ModelConfig
from pipeline.task_settings import RecognitionConfig, TranslationConfig
from serving.limits import MAX_LENGTH

CORPUS_HELP = (
    "a file, a directory, a glob (plain, gzip, bzip2, xz, zstd, tar or zip), an http(s) URL, "
    "`stdlib` (the sources of this Python's standard library) or `enwik8`"
)
SplitBy = Literal["position", "document", "hash"]
Task = Literal["language_model", "translation", "recognition"]
MixUntil = Literal["first_exhausted", "all_exhausted"]
MAX_SHARDS = 100_000
MAX_SEED = 2**32 - 1
"""Largest seed that NumPy, and so Keras, accepts."""
MAX_EVAL_BATCH_SIZE = 1 << 16
MAX_BASELINE_CHARACTERS = 100_000_000
"""Characters of a split that take some 10 GB of memory when n-grams are counted."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The corpus of a run, the name of its model, and what is done with the model at the end.

    Attributes:
      task: What the model learns: "language_model" (the default) predicts the next character of a
        text, "translation" the words of a sentence's translation, "recognition" what is said in a
        recording.
      corpus: Corpus to train on: a file, a directory, a glob (plain, gzip, bzip2, xz, zstd, tar or
        zip), an http(s) URL, `stdlib` (the sources of this Python's standard library, the default)
        or `enwik8`. Several corpora form a mixture.
      translations: File, plain or packed, whose lines are the translations of those of the corpus.
        Default: each line of the corpus is a sentence, a tab, and its translation.
      transcripts: File, plain or packed, whose lines are the name of a recording of the corpus, a
        tab and what is said in it; after another tab "train" or "eval" may follow. Default: the
        file `transcripts.tsv` of the corpus.
      mixture_weights: Share of each corpus in a mixture, in any unit. Equal shares by default.
      mix_until: End of a mixture: with the first corpus that ends (the default), or with the last,
        where those that end earlier begin again.
      allow_binary: Whether to read files that are no text as they are. By default they are refused,
        and left out where they lie among others.
      follow_links: Whether to follow links that lead out of a directory, which are refused
        otherwise.
      max_bytes: Largest size of a download, and of what a packed file unpacks to, in bytes. Default
        10^12.
      model_name: Name of the model. Default: the name of the corpus.
      eval_batch_size: Number of parallel streams that the evaluation reads the text as. Default 64.
      prompt: Beginning of the sample that a run prints at its end. Default: empty.
      sample_characters: Length of that sample, in characters; 0 for no sample. Default 500.
      baselines: Whether a run also predicts the eval split by n-grams, PPMd, xz and zstd. They take
        seconds per million characters.
      baseline_characters: Most characters of each split that baselines read, the last of the
        training split and the first of the eval split. Default 20 million.
    """

    task: Task = "language_model"
    corpus: tuple[str, ...] = ("stdlib",)
    translations: str = ""
    transcripts: str = ""
    mixture_weights: tuple[float, ...] = ()
    mix_until: MixUntil = "first_exhausted"
    allow_binary: bool = False
    follow_links: bool = False
    max_bytes: int = 10**12
    model_name: str = ""
    eval_batch_size: int = 64
    prompt: str = ""
    sample_characters: int = 500
    baselines: bool = False
    baseline_characters: int = 20_000_000

    def __post_init__(self) -> None:
        require_one_of("task", self.task, Task)
        for name, path, task in (
            ("translations", self.translations, "translation"),
            ("transcripts", self.transcripts, "recognition"),
        ):
            if path and self.task != task:
                raise InputError(
                    f"{name} is {path}, and the task {self.task} reads none; leave it out, or use "
                    f"the task {task}"
                )
        if self.translations and len(self.corpus) > 1:
            raise InputError(
                "translations is one file, and there are several corpora; give one corpus, or "
                "files whose lines hold both sides, with a tab between them"
            )
        if self.task == "recognition" and len(self.corpus) > 1:
            raise InputError(
                f"there are {len(self.corpus)} corpora, and recordings are read of one; put them "
                "into one directory or archive, with one file of transcripts"
            )
        require_range("eval_batch_size", self.eval_batch_size, 1, MAX_EVAL_BATCH_SIZE + 1)
        if self.max_bytes < 1:
            raise InputError(f"max_bytes is {self.max_bytes}; it must be at least 1")
        if not 1 <= self.baseline_characters <= MAX_BASELINE_CHARACTERS:
            raise InputError(
                f"baseline_characters is {self.baseline_characters:,}; it must be from 1 to "
                f"{MAX_BASELINE_CHARACTERS:,}"
            )
        for name, value in (
            ("sample_characters", self.sample_characters),
            ("prompt", len(self.prompt)),
        ):
            if not 0 <= value <= MAX_LENGTH:
                raise InputError(
                    f"{name} asks for {value:,} characters; it must be from 0 to {MAX_LENGTH:,}"
                )
        if "/" in self.model_name or self.model_name.startswith("."):
            raise InputError(
                f"model_name is {self.model_name}; it must be the name of a directory, without a "
                "slash, and not begin with a dot"
            )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """The splits of the text, its normalisation and its unit.

    Attributes:
      train_fraction: Share of the corpus that is trained on; the rest is the eval split. Default
        0.95.
      split_by: Rule that splits the corpus: "position" (the default) trains on the beginning of the
        text, "document" on the first files, "hash" on files that their names select, so that they
        stay in their split when others are added.
      shards: Number of shards of the training split; 0 (the default) to choose it by size.
      separate_documents: Whether an empty line ends each file of the corpus, written after those
        that have none, so that contexts tell one document from the next.
      normalize: Whether to bring text to Unicode's normal form C, in training and in serving.
      lowercase: Whether to convert text to lower case, in training and in serving.
      character_unit: Unit of text that is one character: bytes (the default) or Unicode code
        points.
    """

    train_fraction: float = 0.95
    split_by: SplitBy = "position"
    shards: int = 0
    separate_documents: bool = False
    normalize: bool = False
    lowercase: bool = False
    character_unit: CharacterUnit = "bytes"

    @property
    def transforms(self) -> bool:
        """Whether the text is normalised or converted at all."""
        return self.normalize or self.lowercase

    def __post_init__(self) -> None:
        if not 0 < self.train_fraction < 1:
            raise InputError(f"train_fraction is {self.train_fraction}; it must be between 0 and 1")
        if not 0 <= self.shards <= MAX_SHARDS:
            raise InputError(
                f"shards is {self.shards}; it must be from 1 to {MAX_SHARDS:,}, or 0 to choose by "
                "size"
            )


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The batches, the optimizer, the validations and the exports of a training.

    Attributes:
      batch_size: Number of contiguous streams of text, over all replicas. Default 32.
      window: Characters per stream and step; gradients are truncated at its beginning. Default 50.
      epochs: Number of passes over the training split. Default 1.
      steps: Number of steps; 0 (the default) for as many as the epochs take.
      optimizer: Keras optimizer. Default "adam".
      learning_rate: Highest learning rate of the schedule. Default 0.005.
      rho: Decay of the running mean of squared gradients of RMSprop. Default 0.99.
      beta_2: Decay of the running mean of squared gradients of Adam. Default 0.99.
      schedule: Schedule of the learning rate: "cosine" (the default) falls to 1% over all steps,
        "epoch" multiplies by decay_rate after each epoch beyond decay_after, "constant" stays.
      warmup_steps: Steps over which the learning rate rises from 0, for the cosine schedule.
        Default 0.
      decay_rate: Factor per epoch of the epoch schedule. Default 0.97.
      decay_after: Epochs before the epoch schedule begins to decay. Default 10.
      clip_norm: Largest global norm of the gradient; 0 (the default) for no limit.
      clip_value: Largest magnitude of an element of the gradient; 0 (the default) for no limit.
      weight_decay: Decay of the kernels, decoupled from the gradient as in AdamW: each step
        subtracts learning_rate * weight_decay times the kernel. Default 0.
      average_decay: Decay of the exponential moving averages of the weights, such as 0.999, which
        are validated and exported in their place; 0 (the default) for no averages.
      validate_every: Steps between validations, each of which also saves a checkpoint; 0 (the
        default) for one validation per epoch.
      validation_characters: Characters of the eval split that a validation reads; 0 (the default)
        for all.
      patience: Validations without a lower loss after which training stops; 0 (the default) to
        train to the end.
      dtype: Compute type of matrix products; "auto" (the default) for the faster one on this
        device. Memories, weights and the optimizer are float32 in any case.
      execution: Execution of the network; "auto" (the default) for the fastest on this device.
      remat_steps: Length, in characters, of the segments of the window whose activations are in
        memory at once (gradient checkpointing), for windows of thousands of characters; the
        backward pass computes the others again. It must divide the window. 0 (the default) stores
        all.
      quantize: Whether to export the model also with bfloat16 kernels and, if the processor can
        multiply 8-bit integers (VNNI) and the hidden vectors of its cells lie within [-1, 1], with
        int8 kernels.
      xla: Whether to export the model also with sampling that XLA compiles, which writes one text
        of a small model faster.
      seed: Seed of the initial weights and of dropout. Default 0.
      sample_length: Characters of the sample written to TensorBoard at each validation. Default
        200.
      profile_steps: Number of steps to profile for TensorBoard; 0 (the default) for none.
    """

    batch_size: int = 32
    window: int = 50
    epochs: int = 1
    steps: int = 0
    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    learning_rate: float = 0.005
    rho: float = 0.99
    beta_2: float = 0.99
    schedule: Literal["cosine", "epoch", "constant"] = "cosine"
    warmup_steps: int = 0
    decay_rate: float = 0.97
    decay_after: int = 10
    clip_norm: float = 0.0
    clip_value: float = 0.0
    weight_decay: float = 0.0
    average_decay: float = 0.0
    validate_every: int = 0
    validation_characters: int = 0
    patience: int = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    execution: Execution = "auto"
    remat_steps: int = 0
    quantize: bool = False
    xla: bool = False
    seed: int = 0
    sample_length: int = 200
    profile_steps: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "window", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and not 0 <= value < math.inf:
                raise InputError(f"{field.name} is {value}; it must be finite, and not negative")
        require_range("seed", self.seed, 0, MAX_SEED + 1)
        require_range("sample_length", self.sample_length, 0, MAX_LENGTH + 1)
        if self.remat_steps and self.window % self.remat_steps:
            raise InputError(
                f"remat_steps is {self.remat_steps}; it must divide the window of {self.window}"
            )
        for name in ("rho", "beta_2", "average_decay"):
            require_range(name, getattr(self, name), 0, 1)


@dataclasses.dataclass(frozen=True)
class ServingConfig:
    """The merging of requests by a pushed model; None leaves an attribute as exported.

    Attributes:
      num_batch_threads: Merged batches that run at once. Default: as exported.
      batch_timeout_micros: Microseconds that a row waits for others. Default: as exported.
      max_batch_size: Largest number of rows of a merged batch. Default: as exported.
    """

    num_batch_threads: int | None = None
    batch_timeout_micros: int | None = None
    max_batch_size: int | None = None

    @property
    def batching(self) -> dict[str, int]:
        """The attributes that differ from the export, by their names."""
        attributes = dataclasses.asdict(self)
        return {name: value for name, value in attributes.items() if value is not None}

    def __post_init__(self) -> None:
        for name, value in self.batching.items():
            least = 0 if name == "batch_timeout_micros" else 1
            if value < least:
                raise InputError(f"{name} is {value}; it must be at least {least}")


@dataclasses.dataclass(frozen=True)
class DynamicEvaluationConfig:
    """How the eval split is scored a second time, by weights that follow the text.

    Attributes:
      dynamic_evaluation: Whether a run scores the eval split in this way as well.
      dynamic_window: Characters after which the weights learn from the text. Default 20.
      dynamic_characters: Characters of the eval split that are scored; 0 (the default) for all.
      dynamic_search_characters: Characters of the training split that the rates are chosen on.
        Default 20,000.
      dynamic_learning_rate: Learning rate of the weights; 0 (the default) to choose it, and the
        decay, on the training split.
      dynamic_decay: Rate at which the weights return to the trained ones, with a learning rate that
        is given.
    """

    dynamic_evaluation: bool = False
    dynamic_window: int = 20
    dynamic_characters: int = 0
    dynamic_search_characters: int = 20_000
    dynamic_learning_rate: float = 0.0
    dynamic_decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("dynamic_learning_rate", "dynamic_decay"):  # a preset may have 0 for 0.0
            object.__setattr__(self, name, float(getattr(self, name)))
        require_range("dynamic_window", self.dynamic_window, 1, 100_001)
        require_range("dynamic_search_characters", self.dynamic_search_characters, 1, 10_000_001)
        require_range("dynamic_characters", self.dynamic_characters, 0, 1 << 50)
        for name in ("dynamic_learning_rate", "dynamic_decay"):
            require_range(name, getattr(self, name), 0, 1)
        if self.dynamic_decay and not self.dynamic_learning_rate:
            raise InputError(
                f"dynamic_decay is {self.dynamic_decay}, and no dynamic_learning_rate is given; "
                "give both, or neither to have them chosen on the training split"
            )


class Settings(NamedTuple):
    """Everything that a preset decides, a record per section.

    Attributes:
      data: Section `[data]`.
      model: Section `[model]`.
      training: Section `[training]`.
      run: Section `[run]`.
      serving: Section `[serving]`.
      dynamic_evaluation: Section `[dynamic_evaluation]`.
      translation: Section `[translation]`.
      recognition: Section `[recognition]`.
    """

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    run: RunConfig = RunConfig()
    serving: ServingConfig = ServingConfig()
    dynamic_evaluation: DynamicEvaluationConfig = DynamicEvaluationConfig()
    translation: TranslationConfig = TranslationConfig()
    recognition: RecognitionConfig = RecognitionConfig()


DEFAULTS = Settings(DataConfig(), ModelConfig(), TrainingConfig())
"""The values of parameters that no preset and no option sets."""
