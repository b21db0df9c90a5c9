"""What a client needs: neither the model nor the graph, the server or Keras."""

import ast
import subprocess
import sys

import pytest
from conftest import PROJECT

from common.code_version import imports_of, module_path

FORBIDDEN = ("model", "keras", "serving.graph", "serving.server")


def transitive_imports(module):
    """The modules of this project that a module imports, itself included, through any others."""
    found, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += imports_of(module_path(name))
            if "." in name:  # importing a module runs the packages that hold it
                waiting.append(name.rpartition(".")[0])
    return {name for name in found if module_path(name)}


def imported_names(path):
    """The absolute names in the import statements of a source file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    return names


def is_forbidden(name):
    return any(name == one or name.startswith(f"{one}.") for one in FORBIDDEN)


@pytest.mark.parametrize(
    "module", ["serving.client", "serving.protocol", "serving.generate_inputs"]
)
def test_a_client_imports_neither_keras_nor_the_model(module):
    modules = transitive_imports(module)
    assert not [name for name in modules if is_forbidden(name)]
    for name in modules:
        assert not [other for other in imported_names(module_path(name)) if is_forbidden(other)]


def test_the_closure_finds_what_is_imported_through_others():
    assert "common.errors" in transitive_imports("serving.client")
    assert "model.errors" in transitive_imports("serving.server.rest")


def loaded_modules(program):
    """The modules that are loaded in a new process after some statements."""
    script = f"import sys\n{program}\nprint(*sys.modules, file=sys.__stdout__)"
    finished = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return set(finished.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_a_client_loads_no_module_of_the_model():
    loaded = loaded_modules("import serving.client")
    assert "serving.client.client" in loaded
    others = ("model", "serving.graph", "serving.server")
    assert not {
        name for name in loaded if name in others or name.startswith(tuple(f"{o}." for o in others))
    }


def test_the_table_of_inputs_loads_no_library():
    loaded = loaded_modules("import serving.generate_inputs")
    assert not loaded & {"tensorflow", "numpy", "keras", "grpc", "model"}


@pytest.mark.parametrize("arguments", [["--help"], ["sample", "--help"], ["serve", "--help"]])
def test_help_loads_no_tensorflow(arguments):
    program = f"""
import runpy
sys.argv = ["serving", *{arguments!r}]
try:
    runpy.run_module("serving", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
"""
    loaded = loaded_modules(program)
    assert "click" in loaded
    assert not loaded & {"tensorflow", "tensorflow_serving", "keras", "numpy", "grpc"}
