"""BUILD against the sources, by a real `bazel query`; and the one way that imports run."""

import shutil
import subprocess
from collections import Counter
from xml.etree import ElementTree

import pytest
from conftest import PROJECT

from pipeline.code_version import PACKAGES, imports_of

MAY_IMPORT = {
    "model": set(),
    "serving": {"model"},
    "pipeline": {"model", "serving"},
    "benchmarks": {"model", "serving", "pipeline"},
    "experiments": {"model", "serving", "pipeline"},
    "tests": {"model", "serving", "pipeline", "benchmarks", "experiments"},
}
SOURCES = sorted(
    path.relative_to(PROJECT)
    for package in (*PACKAGES, "tests")
    for path in (PROJECT / package).rglob("*.py")
)


def imported_packages(path):
    packages = {module.split(".")[0] for module in imports_of(PROJECT / path)}
    return packages - {path.parts[0]}


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_run_one_way(path):
    assert imported_packages(path) <= MAY_IMPORT[path.parts[0]]


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


def test_dependencies_are_the_imports(targets):
    for name, (sources, dependencies) in targets.items():
        paths = [path for path in SOURCES if str(path) in sources]
        imported = set().union(*map(imported_packages, paths))
        if name.startswith("test_"):
            imported.add("conftest")
        assert dependencies == imported, name
