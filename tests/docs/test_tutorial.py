"""The tutorial: its cells run in order, and the notebook holds no outputs."""

import json

import pytest
from checkouts import copy_project, run_python
from conftest import PROJECT
from servers import PATIENCE

NOTEBOOK = PROJECT / "docs" / "tutorial.ipynb"
MAX_BYTES = 20_000
FIGURES = 2


def cells(kind):
    """Returns the sources of the cells of a kind, in order."""
    notebook = json.loads(NOTEBOOK.read_text())
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == kind]


def test_the_notebook_is_valid_and_holds_no_outputs():
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert NOTEBOOK.stat().st_size < MAX_BYTES
    assert len(cells("markdown")) >= len(code) / 2


@pytest.mark.slow
def test_the_cells_run_in_order(tmp_path):
    """Runs them as Jupyter does, in the folder of the notebook and in one namespace."""
    folder = copy_project(tmp_path / "project")
    program = tmp_path / "tutorial.py"
    check = f"import matplotlib.pyplot as plt\nassert len(plt.get_fignums()) == {FIGURES}\n"
    head = "import matplotlib\nmatplotlib.use('Agg')\n"
    program.write_text("\n\n".join([head, *cells("code"), check]))
    finished = run_python(str(program), folder=folder / "docs", timeout=4 * PATIENCE)
    assert "def " in finished.stdout and "nats per character" in finished.stdout
    assert "layer 1  forget" in finished.stdout
