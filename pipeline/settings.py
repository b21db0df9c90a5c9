"""The settings of a run: a typed record per section of a preset, and the presets themselves."""

import dataclasses
import difflib
import pathlib
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from model.config import CharacterUnit, Execution, require_range
from model.errors import InputError
from model.language_model.config import ModelConfig

CORPUS_HELP = (
    "a file, a directory, a glob (plain, .gz, .bz2, .xz or .zip), an http(s) URL, "
    "`stdlib` (the sources of this Python's standard library) or `enwik8`"
)
SplitBy = Literal["position", "document", "hash"]
MixUntil = Literal["first_exhausted", "all_exhausted"]
PRESETS = pathlib.Path(__file__).parent / "presets"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The corpus of a run, the name of its model, and what is done with the model at the end.

    Attributes:
      corpus: Corpus to train on: a file, a directory, a glob (plain, .gz, .bz2, .xz or .zip), an
        http(s) URL, `stdlib` (the sources of this Python's standard library, the default) or
        `enwik8`. Several corpora form a mixture.
      weights: Share of each corpus in a mixture, in any unit. Equal shares by default.
      mix_until: End of a mixture: with the first corpus that ends (the default), or with the last,
        where those that end earlier begin again.
      model_name: Name of the model. Default: the name of the corpus.
      eval_streams: Number of parallel streams of the evaluation. Default 64.
      prompt: Beginning of the sample that a run prints at its end. Default: empty.
      sample_characters: Length of that sample, in characters; 0 for no sample. Default 500.
    """

    corpus: tuple[str, ...] = ("stdlib",)
    weights: tuple[float, ...] = ()
    mix_until: MixUntil = "first_exhausted"
    model_name: str = ""
    eval_streams: int = 64
    prompt: str = ""
    sample_characters: int = 500

    def __post_init__(self) -> None:
        if self.eval_streams < 1:
            raise InputError(f"eval_streams is {self.eval_streams}; it must be at least 1")
        if self.sample_characters < 0:
            raise InputError(
                f"sample_characters is {self.sample_characters}; it must not be negative"
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
      normalize: Whether to bring text to Unicode's normal form C, in training and in serving.
      lowercase: Whether to convert text to lower case, in training and in serving.
      character_unit: Unit of text that is one character: bytes (the default) or Unicode code
        points.
    """

    train_fraction: float = 0.95
    split_by: SplitBy = "position"
    shards: int = 0
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
        if self.shards < 0:
            raise InputError(
                f"shards is {self.shards}; it must be at least 1, or 0 to choose by size"
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
        multiply 8-bit integers (VNNI), with int8 kernels.
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
    validate_every: int = 0
    validation_characters: int = 0
    patience: int = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    execution: Execution = "auto"
    remat_steps: int = 0
    quantize: bool = False
    seed: int = 0
    sample_length: int = 200
    profile_steps: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "window", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and value < 0:
                raise InputError(f"{field.name} is {value}; it must not be negative")
        if self.remat_steps and self.window % self.remat_steps:
            raise InputError(
                f"remat_steps is {self.remat_steps}; it must divide the window of {self.window}"
            )
        for name in ("rho", "beta_2"):
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


class Settings(NamedTuple):
    """Everything that a preset decides, a record per section.

    Attributes:
      data: Section `[data]`.
      model: Section `[model]`.
      training: Section `[training]`.
      run: Section `[run]`.
      serving: Section `[serving]`.
    """

    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    run: RunConfig = RunConfig()
    serving: ServingConfig = ServingConfig()


def preset_names() -> list[str]:
    """Returns the names of the presets; those that others are based on, `*-base`, are left out."""
    names = sorted(path.stem for path in PRESETS.glob("*.toml"))
    return [name for name in names if not name.endswith("-base")]


def load_preset(name: str, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Reads a preset, or any TOML file of the same form.

    A preset may name another as its `base`, whose parameters it then inherits.

    Args:
      name: Name of a preset, or path of a `.toml` file.
      overrides: Parameters that take precedence over the preset's, by their names; None for those
        that are not given.

    Raises:
      InputError: If there is no such preset, section or parameter, naming the nearest; or if a
        value does not fit.
    """
    tables = _inherited(_preset_path(name, PRESETS), ())
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    parts = {}
    for section, config in Settings.__annotations__.items():
        fields = [field.name for field in dataclasses.fields(config)]
        chosen = {key: given[key] for key in fields if key in given}
        parts[section] = config(**{**tables.get(section, {}), **chosen})
    return Settings(**parts)


def _preset_path(name: str, folder: pathlib.Path) -> pathlib.Path:
    """Returns the file of a preset; a relative path of a `.toml` file counts from the folder."""
    if not name.endswith(".toml"):
        path = PRESETS / f"{name}.toml"
    else:
        path = pathlib.Path(name) if folder == PRESETS else folder / name
    if not path.is_file():
        raise InputError(f"there is no preset {name}{nearest(name, preset_names())}")
    return path


def _inherited(path: pathlib.Path, below: tuple[pathlib.Path, ...]) -> dict[str, dict[str, Any]]:
    """Reads the sections of a preset and of its bases.

    Args:
      path: File of the preset.
      below: Files of the presets that are based on it, directly or not.
    """
    if path.resolve() in below:
        cycle = [one.name for one in (*below[below.index(path.resolve()) :], path)]
        raise InputError(f"{path} is its own base: {' -> '.join(cycle)}; remove one `base`")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file: {error}; fix it") from error
    base = tables.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise InputError(f"{path}: base is {base!r}; it must be the name of a preset")
    sections = {name: _checked(path, name, table) for name, table in tables.items()}
    if base is None:
        return sections
    folder = PRESETS if path.parent == PRESETS else path.parent
    try:
        found = _preset_path(base, folder)
    except InputError as error:
        raise InputError(f"{path}: its base is wrong: {error}") from error
    inherited = _inherited(found, (*below, path.resolve()))
    return {
        name: {**inherited.get(name, {}), **sections.get(name, {})}
        for name in inherited.keys() | sections.keys()
    }


def _checked(path: pathlib.Path, section: str, table: Any) -> dict[str, Any]:
    """Returns the parameters of a section as its record takes them.

    Raises:
      InputError: If there is no such section or parameter, or a value is of another type.
    """
    sections = Settings.__annotations__
    if section not in sections:
        raise InputError(f"{path}: unknown section [{section}]{nearest(section, sections)}")
    if not isinstance(table, dict):
        raise InputError(f"{path}: {section} is {table!r}; it must be a section [{section}]")
    hints = get_type_hints(sections[section])
    values = {}
    for name, value in table.items():
        if name not in hints:
            raise InputError(
                f"{path}: unknown parameter {name} in [{section}]{nearest(name, hints)}"
            )
        hint = hints[name]
        if get_origin(hint) is tuple:
            value = tuple(value) if isinstance(value, list) else (value,)
        if not _fits(value, hint):
            wanted = getattr(hint, "__name__", hint)
            wanted = " or ".join(map(repr, get_args(hint))) if wanted == "Literal" else wanted
            raise InputError(
                f"{path}: {name} in [{section}] is {table[name]!r}; it must be {wanted}"
            )
        values[name] = value
    return values


def _fits(value: Any, hint: Any) -> bool:
    """Returns whether a value of a TOML file is of a type."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) is tuple:
        return all(_fits(one, get_args(hint)[0]) for one in value)
    types = set(get_args(hint)) or {hint}
    if float in types:
        types.add(int)
    return isinstance(value, tuple(types)) and (bool in types or not isinstance(value, bool))


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns a remedy for a name that does not exist: the nearest one, or all there are."""
    names = list(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"
