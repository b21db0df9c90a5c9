"""The structure of the project: imports run one way, tests mirror the tree, BUILD names it all."""

import ast
import graphlib
import shutil
import subprocess
from collections import Counter
from xml.etree import ElementTree

import pytest
from conftest import PROJECT

from common.code_version import PACKAGES, imports_of, module_path

# A package may import those before it; of those that share a line, neither may import the other.
PACKAGE_ORDER = [
    ["model"],
    ["common"],
    ["serving"],
    ["pipeline"],
    ["benchmarks", "experiments"],
    ["tests"],
]
# The same for what is in a package; what is not named here is a leaf that may import all of these.
ORDER_WITHIN = {
    "model": [
        "errors",
        "completion",
        "config",
        "shapes",
        "core",
        "cells",
        "execution",
        "grid",
        "stacked",
        "highway",
        "decoding",
        "layers",
        "speech",
        "text",
        "contexts",
        "language_model",
    ],
    "model.grid": [
        "mogrifier",
        "equations",
        "dropout",
        "reference",
        "derivatives",
        "time_loop",
        "layerwise",
        "wavefront",
        "checkpointing",
    ],
    "serving": [
        "limits",
        "messages",
        "serve_flags",
        "generate_inputs",
        "playground_page",
        "tensors",
        "protocol",
        "base_path",
        "tensorflow_model_server",
        "client",
        "graph",
        "server",
        "gateway",
    ],
    "pipeline": [
        "task_settings",
        "settings",
        "preset_files",
        "store",
        "corpora",
        "data",
        "baselines",
        "training",
        "stages",
        "orchestration",
        "reports",
        "options",
    ],
    "experiments": [
        "framework",
        "data",
        "tasks",
        "characters",
        "highway",
        "speech",
        "odyssey",
        "translation",
        "words",
        "sentences",
        "documents",
        "catalog",
    ],
}
MAX_LINES = 420
SOURCES = sorted(
    path.relative_to(PROJECT)
    for package in (*PACKAGES, "tests")
    for path in (PROJECT / package).rglob("*.py")
)


def module_name(path):
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rank(order, name):
    """The place of a name in an order of groups; names that are in none come last."""
    places = [at for at, group in enumerate(order) if name in group]
    return places[0] if places else len(order)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_packages_import_only_those_before_them(path):
    package = path.parts[0]
    for module in imports_of(PROJECT / path):
        imported = module.split(".")[0]
        before = rank(PACKAGE_ORDER, imported) < rank(PACKAGE_ORDER, package)
        assert imported == package or before, f"{path} imports {module}"


@pytest.mark.parametrize("package", ORDER_WITHIN)
def test_imports_within_a_package_run_one_way(package):
    order = [[name] for name in ORDER_WITHIN[package]]
    folder = PROJECT.joinpath(*package.split("."))
    depth = len(package.split("."))
    for path in folder.rglob("*.py"):
        own = module_name(path.relative_to(PROJECT)).split(".")[depth:] or ["__init__"]
        for module in imports_of(path):
            parts = module.split(".")
            if ".".join(parts[:depth]) != package or len(parts) == depth or own[0] == parts[depth]:
                continue
            assert rank(order, parts[depth]) < rank(order, own[0]), f"{path} imports {module}"


def test_no_module_imports_itself_through_others():
    graph = {
        module_name(path): imports_of(PROJECT / path) - {module_name(path)} for path in SOURCES
    }
    graphlib.TopologicalSorter(graph).prepare()


def test_every_import_of_this_project_is_found():
    assert imports_of(PROJECT / "model" / "layers" / "grid_lstm.py") >= {
        "model.core",
        "model.layers.grid_layer",
    }
    assert module_path("model.no_such_module") is None


def test_the_model_needs_nothing_of_the_command_lines():
    """The package that is published must not need what only the commands use."""
    for path in (PROJECT / "model").rglob("*.py"):
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
        assert not imported & {"click", "common", "rich"}, path


@pytest.mark.parametrize("package", PACKAGES)
def test_files_are_short(package):
    for path in (PROJECT / package).rglob("*.py"):
        assert path.read_text().count("\n") <= MAX_LINES, path


@pytest.mark.parametrize("path", [p for p in SOURCES if p.name.startswith("test_")], ids=str)
def test_tests_mirror_the_tree(path):
    folder = PROJECT.joinpath(*path.parent.parts[1:])
    assert folder.is_dir(), f"{path} tests {folder}, which is no folder"


def lacks_help(node):
    """Whether a piece of code declares an option that does not say what it is."""
    if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith(
        (".option", ".add_argument")
    ):
        return False
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    return not {"help", "hidden"} & given.keys() and given.get("action") != "'version'"


def test_every_option_says_what_it_is():
    assert not [
        f"{path}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse((PROJECT / path).read_text()))
        if lacks_help(node)
    ]


def test_files_of_tests_have_names_of_their_own():
    """As pytest imports them by these."""
    names = Counter(path.name for path in SOURCES if path.name.startswith("test_"))
    assert [name for name, number in names.items() if number > 1] == []


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    if not shutil.which("bazel"):
        pytest.skip("bazel is not installed; Debian has it as bazel-bootstrap")
    output_root = f"--output_user_root={tmp_path_factory.mktemp('bazel')}"
    command = ["bazel", "--batch", output_root, "query", "--output=xml", "//..."]
    finished = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr

    def labels(rule, name):
        found = rule.findall(f"list[@name='{name}']/label")
        return [label.get("value").lstrip("/").lstrip(":") for label in found]

    return {
        rule.get("name").lstrip("/").lstrip(":"): (labels(rule, "srcs"), set(labels(rule, "deps")))
        for rule in ElementTree.fromstring(finished.stdout.encode()).findall("rule")
    }


def test_every_source_is_in_one_target(targets):
    owners = Counter(source for sources, _ in targets.values() for source in sources)
    assert owners == Counter(map(str, SOURCES))


@pytest.mark.parametrize("package", PACKAGES)
def test_dependencies_of_packages_are_their_imports(targets, package):
    sources, dependencies = targets[package]
    imported = {
        module.split(".")[0] for source in sources for module in imports_of(PROJECT / source)
    }
    assert dependencies == imported - {package}
