"""Pictures say what they show, in files that are kept and in those that are drawn."""

import importlib
import shutil
from xml.etree import ElementTree

import numpy as np
import pytest
from commands import run_module
from conftest import PROJECT

from common.code_version import PACKAGES
from common.pictures import described

KEPT = sorted(path for folder in ("docs", *PACKAGES) for path in (PROJECT / folder).rglob("*.svg"))
MEASURED = {"seconds": 2.0, "net": 2.0, "spread": 0.1, "memory": 300.0, "start_up": 1.0}
SIZE = {"model": "grid", "layers": 2, "units": 8, "batch": 4, "window": 6}
PLOTTED = {
    "suite": (
        [
            {
                "contenders": [
                    {"name": n, "dtype": "float32", "characters_per_second": s, "spread": 0.1}
                    for n, s in (("this project", 200.0), ("peer", 100.0))
                ],
                "size": SIZE,
                "machine": "a machine",
                "date": "2026-01-01",
            }
        ],
    ),
    "data": (
        {
            "sizes": [
                {"characters": size, "stages": MEASURED, "bare": MEASURED}
                for size in (10**6, 10**7)
            ],
            "machine": "a machine",
            "date": "2026-01-01",
        },
    ),
    "learning_curves": (
        {name: np.linspace(3, 2, 40) for name in ("reference", "wavefront", "bfloat16")},
        "text.txt, grid 2x8",
    ),
}

LEARNED = "Learning curves of text.txt, grid 2x8, in each execution."


def title_of(svg):
    """The title of an SVG, which has to be an image with that name."""
    root = ElementTree.fromstring(svg)
    titles = [child.text for child in root if child.tag.endswith("}title")]
    assert root.get("role") == "img" and titles == [root.get("aria-label")]
    return titles[0]


def test_a_picture_gets_its_title_once():
    bare = '<?xml version="1.0"?>\n<svg width="1"\n xmlns="http://www.w3.org/2000/svg"><g/></svg>\n'
    first = described(bare, "Old")
    assert title_of(first) == "Old"
    assert title_of(described(first, 'a < b & "c"')) == 'a < b & "c"'
    assert described(first, "Old") == first


@pytest.mark.parametrize("path", KEPT, ids=lambda path: str(path.relative_to(PROJECT)))
def test_kept_pictures_are_as_the_code_writes_them(path):
    svg = path.read_text()
    title = title_of(svg)
    assert len(title.split()) > 3, "the title is a sentence"
    assert described(svg, title) == svg


def test_kept_pictures_have_the_titles_of_the_code():
    from benchmarks import data, suite
    from experiments.catalog import EXPERIMENTS
    from pipeline.reports import graph_picture

    expected = {"speed": suite.TITLE, "data": data.TITLE, "pipeline": graph_picture.TITLE}
    for name, experiment in EXPERIMENTS.items():
        expected |= {f"experiments/{name}/{plot.name}": plot.caption for plot in experiment.plots}
    docs = PROJECT / "docs"
    names = {str(path.relative_to(docs).with_suffix("")): path for path in KEPT}
    kept = {name: path for name, path in names.items() if not name.startswith("figures/")}
    assert len(kept) > 10 and set(kept) <= set(expected)
    for name, path in kept.items():
        assert title_of(path.read_text()) == expected[name]


@pytest.mark.parametrize("module", PLOTTED)
def test_plots_of_benchmarks_are_described(module, tmp_path):
    pytest.importorskip("matplotlib")
    benchmark = importlib.import_module(f"benchmarks.{module}")
    benchmark.plot(*PLOTTED[module], tmp_path / "plot.svg")
    title = title_of((tmp_path / "plot.svg").read_text())
    assert title == getattr(benchmark, "TITLE", LEARNED)


@pytest.mark.skipif(not shutil.which("dot"), reason="Graphviz is not installed")
def test_the_graph_of_the_stages_is_drawn(tmp_path):
    drawn = run_module("pipeline", "graph", "--svg", tmp_path / "stages.svg")
    assert drawn.returncode == 0, drawn.stderr
    svg = (tmp_path / "stages.svg").read_text()
    assert title_of(svg) == title_of((PROJECT / "docs" / "pipeline.svg").read_text())
    assert "StatisticsGen" in svg


def test_a_picture_needs_graphviz(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = run_module("pipeline", "graph", "--svg", tmp_path / "stages.svg")
    assert refused.returncode == 2 and "install it, or leave out --svg" in refused.stderr
