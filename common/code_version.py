"""Which code made an artifact: the sources a module is built from, and the commit."""

import ast
import functools
import hashlib
import pathlib
import subprocess

PROJECT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("model", "common", "serving", "pipeline", "benchmarks", "experiments")


def module_path(module: str) -> pathlib.Path | None:
    """The source file of a module of this project; None if it is no such module."""
    path = PROJECT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if module.split(".")[0] in PACKAGES and candidate.is_file():
            return candidate
    return None


@functools.cache
def imports_of(path: pathlib.Path) -> frozenset[str]:
    """The modules of this project that a source file imports, at its top or in a function."""
    package = path.resolve().relative_to(PROJECT).parent.parts
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            source = ".".join([*above, *(node.module.split(".") if node.module else ())])
            names = {f"{source}.{alias.name}" for alias in node.names}
            modules.update(name for name in names if module_path(name))
            # `from package import module` needs the module; what else the package has is its own.
            if any(not module_path(name) for name in names):
                modules.add(source)
    return frozenset(module for module in modules if module_path(module))


@functools.cache
def source_digest(module: str) -> str:
    """SHA-256 over the sources of a module and of all it imports from this project.

    An artifact is reused only while this digest stands, so no change of the code leaves a stale
    artifact behind.
    """
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(imports_of(module_path(name)))
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(name.encode() + b"\0" + module_path(name).read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def commit() -> str:
    """The commit of this checkout, with `-dirty` where files differ; "unknown" outside git."""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
