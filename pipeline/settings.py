"""Settings of a run: training parameters, and the presets that gather them."""

import dataclasses
import difflib
import pathlib
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from model.config import CharacterUnit, Execution, ModelConfig, require_range
from model.errors import InputError

CORPUS_HELP = (
    "a file, a directory, a glob (plain, .gz, .bz2, .xz or .zip), an http(s) URL, "
    "`stdlib` (the sources of this Python's standard library) or `enwik8`"
)
SplitBy = Literal["position", "document", "hash"]
MixUntil = Literal["first_exhausted", "all_exhausted"]
PRESETS = pathlib.Path(__file__).parent / "presets"


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """How the text is split and read.

    Attributes:
      train_fraction: share of the corpus that is trained on; the rest is the eval split.
      split_by: "position" trains on the beginning of the text, "document" on the first files,
        "hash" on files that their names choose, so that they stay where they are when others come.
      shards: of the training split; 0 to choose by its size.
      normalize: whether to bring text to Unicode's normal form C, in training and in serving.
      lowercase: whether to lower-case it, likewise.
      character_unit: whether a character is a byte or a Unicode code point.
    """

    train_fraction: float = 0.95
    split_by: SplitBy = "position"
    shards: int = 0
    normalize: bool = False
    lowercase: bool = False
    character_unit: CharacterUnit = "bytes"

    @property
    def transforms(self) -> bool:
        """Whether the text is changed."""
        return self.normalize or self.lowercase

    def __post_init__(self):
        if not 0 < self.train_fraction < 1:
            raise InputError(f"train_fraction is {self.train_fraction}; it must be between 0 and 1")
        if self.shards < 0:
            raise InputError(
                f"shards is {self.shards}; it must be at least 1, or 0 to choose by size"
            )


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained.

    Attributes:
      batch_size: contiguous streams of text, over all replicas.
      window: characters per stream and step; gradients do not reach further back.
      epochs: passes over the training split.
      steps: number of steps; 0 for as many as the epochs take.
      optimizer: Keras optimizer.
      learning_rate: at its highest.
      rho: Decay of the running mean of squared gradients of RMSprop.
      beta_2: Decay of the running mean of squared gradients of Adam.
      schedule: "cosine" falls to 1% over all steps, "epoch" multiplies by decay_rate after each
        epoch beyond decay_after, "constant" stays.
      warmup_steps: steps over which the rate rises from 0, for the cosine schedule.
      decay_rate: see schedule.
      decay_after: see schedule, in epochs.
      clip_norm: largest global norm of the gradient; 0 for no limit.
      clip_value: largest magnitude of each element of the gradient; 0 for no limit.
      validate_every: steps between validations, which also save a checkpoint; 0 for once an epoch.
      validation_characters: how much of the eval split a validation reads; 0 for all.
      patience: validations without a better loss after which training stops; 0 for never.
      dtype: of the products; "auto" for the faster one here. Memories, weights and the optimizer
        are float32 in any case.
      execution: how the net is computed; "auto" for the fastest.
      recompute: steps of the window whose gates are in memory at once, for windows of thousands of
        characters: the backward pass computes the others' again. Divides the window; 0 keeps all.
      quantize: whether to export the model with kernels in bfloat16, too, and with kernels of 8-bit
        integers where the processor can multiply them (VNNI).
      seed: of the initial weights and the dropout.
      sample_length: characters of the text written to TensorBoard at each validation.
      profile_steps: steps to profile for TensorBoard; 0 for none.
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
    validate_every: int = 0
    validation_characters: int = 0
    patience: int = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    execution: Execution = "auto"
    recompute: int = 0
    quantize: bool = False
    seed: int = 0
    sample_length: int = 200
    profile_steps: int = 0

    def __post_init__(self):
        for name in ("batch_size", "window", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and value < 0:
                raise InputError(f"{field.name} is {value}; it must not be negative")
        if self.recompute and self.window % self.recompute:
            raise InputError(
                f"recompute is {self.recompute}; it must divide the window of {self.window}"
            )
        for name in ("rho", "beta_2"):
            require_range(name, getattr(self, name), 0, 1)


class Settings(NamedTuple):
    """Everything a preset decides."""

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig


def preset_names() -> list[str]:
    """The presets there are."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_preset(name: str, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Reads a preset, or any TOML file of the same form.

    Args:
      name: a preset's name, or the path of a `.toml` file.
      overrides: parameters that win over the preset's; None stands for none given.

    Raises:
      InputError: if there is no such preset or parameter, naming the nearest.
    """
    path = pathlib.Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"
    if not path.is_file():
        raise InputError(f"there is no preset {name}{nearest(name, preset_names())}")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file: {error}; mend it") from error
    sections = {field: kind for field, kind in Settings.__annotations__.items()}
    for section in tables:
        if section not in sections:
            raise InputError(f"{path} has no use for [{section}]{nearest(section, sections)}")
    chosen = {key: value for key, value in (overrides or {}).items() if value is not None}
    parts = {}
    for section, kind in sections.items():
        names = [field.name for field in dataclasses.fields(kind)]
        values = tables.get(section, {})
        for key in values:
            if key not in names:
                raise InputError(f"{path}: there is no parameter {key}{nearest(key, names)}")
        values = {**values, **{key: chosen[key] for key in names if key in chosen}}
        parts[section] = kind(**values)
    return Settings(**parts)


def nearest(name: str, names: Iterable[str]) -> str:
    """A remedy for a name that does not exist: the nearest one, or all."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"
