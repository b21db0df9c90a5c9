"""The digest of a stage's code: it changes with what the code does, and with nothing else."""

import pytest

from common import code_version

STAGE = '''"""A stage."""

from pipeline.helper import scale

LIMIT = 3


def run(values):
    """Returns the scaled values."""
    return [scale(value) for value in values[:LIMIT]]
'''
HELPER = "from model import units\n\n\ndef scale(value):\n    return units.SIZE * value\n"


@pytest.fixture
def digest(tmp_path, monkeypatch):
    """A project of a stage and what it imports; a function of changed files gives its digest."""
    count = 0

    def digest_with(**changed):
        nonlocal count
        count += 1
        project = tmp_path / str(count)
        sources = {
            "pipeline/__init__.py": "",
            "pipeline/stage.py": STAGE,
            "pipeline/helper.py": HELPER,
            "pipeline/unrelated.py": "VALUE = 1\n",
            "model/__init__.py": '"""The model."""\n',
            "model/units.py": "SIZE = 2\n",
        }
        for name, content in {**sources, **changed.pop("files", {})}.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(content)
        monkeypatch.setattr(code_version, "PROJECT", project)
        return code_version.source_digest.__wrapped__("pipeline.stage")

    return lambda files: digest_with(files=files)


@pytest.mark.parametrize(
    "files",
    [
        {"pipeline/stage.py": STAGE.replace("LIMIT = 3", "LIMIT = 3  # at most")},
        {"pipeline/stage.py": STAGE.replace("scaled values", "values, scaled")},
        {"pipeline/stage.py": STAGE.replace('    """Returns the scaled values."""\n', "")},
        {"pipeline/stage.py": STAGE.replace("LIMIT = 3", 'LIMIT = 3\n"""Values at most."""')},
        {"pipeline/stage.py": STAGE.replace("values[:LIMIT]]", "values[ : LIMIT ]\n    ]\n")},
        {"model/__init__.py": '"""What the model is."""\n'},
        {"pipeline/unrelated.py": "VALUE = 2\n"},
    ],
    ids=["comment", "docstring", "no-docstring", "attribute", "formatting", "package", "unrelated"],
)
def test_a_digest_ignores_what_does_not_run(digest, files):
    assert digest(files) == digest({})


@pytest.mark.parametrize(
    "files",
    [
        {"pipeline/stage.py": STAGE.replace("LIMIT = 3", "LIMIT = 4")},
        {"pipeline/stage.py": STAGE.replace("LIMIT = 3", "LIMIT = 'a'")},
        {"pipeline/helper.py": HELPER.replace("* value", "* value * 2")},
        {"model/units.py": "SIZE = 3\n"},
        {"model/__init__.py": "import os\n\nos.environ['A'] = '1'\n"},
        {"pipeline/__init__.py": "from pipeline import unrelated\n"},
    ],
    ids=["constant", "type", "import", "import-of-import", "package", "import-of-package"],
)
def test_a_digest_changes_with_the_code(digest, files):
    assert digest(files) != digest({})


def test_the_code_of_a_package_imported_by_its_init_counts(digest):
    importing = {"pipeline/__init__.py": "from pipeline import unrelated\n"}
    changed = {**importing, "pipeline/unrelated.py": "VALUE = 2\n"}
    assert digest(importing) != digest(changed)


def test_a_digest_is_the_same_each_time(digest):
    assert digest({}) == digest({})
