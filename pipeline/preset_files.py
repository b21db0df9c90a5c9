"""Presets: the settings of a run as TOML files, which may be based on each other."""

import dataclasses
import itertools
import json
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from model.errors import InputError, nearest
from model.language_model.config import GRID_OPTIONS, ModelConfig
from pipeline.settings import Settings

PRESETS = pathlib.Path(__file__).parent / "presets"


def to_toml(settings: Settings) -> str:
    """Returns settings as the content of a preset."""
    lines = []
    for name, section in settings._asdict().items():
        lines.append(f"[{name}]")
        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            if value is not None:
                lines.append(f"{field.name} = {to_toml_value(value)}")
        lines.append("")
    return "\n".join(lines)


def to_toml_value(value: Any) -> str:
    """Returns a parameter as TOML has it, which for these is what JSON has."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def describe_preset(name: str) -> str:
    """Returns the sentence that a preset begins with."""
    lines = (PRESETS / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    comment = itertools.takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.lstrip("# ") for line in comment)


def preset_names() -> list[str]:
    """Returns the names of the presets; those that others are based on, `*-base`, are left out."""
    names = sorted(path.stem for path in PRESETS.glob("*.toml"))
    return [name for name in names if not name.endswith("-base")]


def load_preset(name: str, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Reads a preset, or any TOML file of the same form.

    A preset may name another as its `base`, whose parameters it then inherits, but not those that
    only grids have where it chooses another architecture. The same holds for the overrides.

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
    chosen = {
        section: {field.name: given[field.name] for field in dataclasses.fields(config)
                  if field.name in given}
        for section, config in Settings.__annotations__.items()
    }  # fmt: skip
    merged = _merge(tables, chosen)
    configs = Settings.__annotations__.items()
    return Settings(**{section: config(**merged[section]) for section, config in configs})


def _merge(
    base: Mapping[str, dict[str, Any]], own: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Returns sections whose own parameters take precedence over those of a base."""
    merged = {
        name: {**base.get(name, {}), **own.get(name, {})} for name in base.keys() | own.keys()
    }
    model = own.get("model", {})
    if model.get("architecture", ModelConfig.architecture) != ModelConfig.architecture:
        for option in set(GRID_OPTIONS) - model.keys():
            merged["model"].pop(option, None)
    return merged


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
    return _merge(_inherited(found, (*below, path.resolve())), sections)


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
