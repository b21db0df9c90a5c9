"""The report: one page that tells what each experiment found, with its plots, and opens offline."""

import io
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jinja2
import markupsafe

from experiments.experiment import Experiment, Summary
from experiments.results import Results

TEMPLATE = "report.html"


class Picture(NamedTuple):
    """A plot as it goes into the page."""

    svg: markupsafe.Markup
    caption: str


class Story(NamedTuple):
    """An experiment as it goes into the page."""

    experiment: Experiment
    results: Results
    summary: Summary
    pictures: Sequence[Picture]


def draw(experiment: Experiment, results: Results, folder: pathlib.Path) -> None:
    """Writes each plot as PNG and SVG."""
    for plot in experiment.plots:
        figure = plot.draw(results.tables)
        for suffix, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 130})):
            figure.savefig(folder / f"{plot.name}.{suffix}", **options)


def story(experiment: Experiment, results: Results) -> Story:
    """What a page says of an experiment."""
    pictures = []
    for plot in experiment.plots:
        file = io.StringIO()
        plot.draw(results.tables).savefig(file, format="svg", metadata={"Date": None})
        svg = file.getvalue()
        # Ids are unique in one picture only, and the first two lines are of a file, not of a page.
        svg = svg[svg.index("<svg") :].replace('id="', f'id="{experiment.name}-{plot.name}-')
        svg = svg.replace("url(#", f"url(#{experiment.name}-{plot.name}-")
        svg = svg.replace('href="#', f'href="#{experiment.name}-{plot.name}-')
        pictures.append(Picture(markupsafe.Markup(svg), plot.caption))
    return Story(experiment, results, experiment.summarize(results.tables), pictures)


def write(stories: Sequence[Story], scale: str, path: pathlib.Path) -> None:
    """Writes the page."""
    folder = jinja2.FileSystemLoader(pathlib.Path(__file__).parent)
    template = jinja2.Environment(loader=folder, autoescape=True).get_template(TEMPLATE)
    page = template.render(stories=stories, scale=scale)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
