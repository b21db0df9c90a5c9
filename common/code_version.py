"""The version of the code that makes an artifact: a digest of its sources, and the commit."""

import ast
import functools
import hashlib
import pathlib
import subprocess
from collections.abc import Iterator

PROJECT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("model", "common", "serving", "pipeline", "benchmarks", "experiments")


def module_path(module: str) -> pathlib.Path | None:
    """Returns the source file of a module of this project; None for any other module."""
    return _module_path(PROJECT, module)


@functools.cache
def _module_path(project: pathlib.Path, module: str) -> pathlib.Path | None:
    package, *_ = parts = module.split(".")
    path = project.joinpath(*parts)
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if package in PACKAGES and candidate.is_file():
            return candidate
    return None


@functools.cache
def imports_of(path: pathlib.Path) -> frozenset[str]:
    """Returns the modules of this project that a source file imports, wherever in it."""
    package = path.resolve().relative_to(PROJECT).parent.parts
    modules: set[str] = set()
    for node in _blocks(_code(path)):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*above, *(node.module.split(".") if node.module else ())])
            names = {f"{source}.{alias.name}" for alias in node.names}
            modules.update(name for name in names if module_path(name))
            # `from package import module` needs the module; any other name is the package's own.
            if any(not module_path(name) for name in names):
                modules.add(source)
    return frozenset(module for module in modules if module_path(module))


@functools.cache
def source_digest(module: str) -> str:
    """Computes the SHA-256 over the code of a module and of all that it imports of this project.

    JSON files that such a module reads from its own directory count, too.

    Comments, docstrings and formatting do not count. An artifact is reused only while this digest
    is unchanged, so a change of the code never leaves a stale artifact behind, and a change of a
    comment never repeats a training.

    Args:
      module: Dotted name of a module of this project.

    Returns:
      The digest in hexadecimal digits.
    """
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(imports_of(module_path(name)))
            waiting.extend(_packages_with_code(name))
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(name.encode() + b"\0" + _dump(module_path(name)) + b"\0")
        for path in _data_files(module_path(name)):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def _data_files(path: pathlib.Path) -> list[pathlib.Path]:
    """Returns the JSON files beside a module whose names it has, as the plans of execution."""
    text = path.read_text(encoding="utf-8")
    return [file for file in sorted(path.parent.glob("*.json")) if f'"{file.name}"' in text]


def _packages_with_code(module: str) -> list[str]:
    """Returns the packages around a module whose `__init__.py`, run at its import, holds code."""
    parts = module.split(".")
    packages = [".".join(parts[:depth]) for depth in range(1, len(parts))]
    return [name for name in packages if module_path(name) and _code(module_path(name)).body]


@functools.cache
def _dump(path: pathlib.Path) -> bytes:
    """Returns the code of a source file, without positions, as bytes to take a digest of."""
    return ast.dump(_code(path)).encode()


@functools.cache
def _code(path: pathlib.Path) -> ast.Module:
    """Returns the syntax tree of a source file without docstrings and other lone strings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _blocks(tree):
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(node, field, None)
            if statements:
                statements[:] = [one for one in statements if not _is_string(one)]
    return tree


def _blocks(tree: ast.AST) -> Iterator[ast.AST]:
    """Yields a node and all statements within it; expressions, most nodes by far, are left out."""
    yield tree
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        for statement in getattr(tree, field, ()):
            yield from _blocks(statement)


def _is_string(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


@functools.cache
def commit() -> str:
    """Returns the commit of this checkout, with `-dirty` if files differ; "unknown" outside git."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
