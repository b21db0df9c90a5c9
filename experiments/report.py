"""The report: one page that tells what each experiment found, with its plots, and opens offline."""

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


def story(experiment: Experiment, results: Results, folder: pathlib.Path) -> Story:
    """Draws each plot as PNG and SVG into a folder, and says what a page tells."""
    pictures = []
    for plot in experiment.plots:
        figure = plot.draw(results.tables)
        figure.savefig(folder / f"{plot.name}.png", dpi=130)
        path = folder / f"{plot.name}.svg"
        figure.savefig(path, metadata={"Date": None})
        svg = path.read_text(encoding="utf-8")
        # Ids are unique in one picture only, and the first two lines are of a file, not of a page.
        own = f"{experiment.name}-{plot.name}-"
        svg = svg[svg.index("<svg") :]
        for reference in ('id="', "url(#", 'href="#'):
            svg = svg.replace(reference, reference + own)
        pictures.append(Picture(markupsafe.Markup(svg), plot.caption))
    return Story(experiment, results, experiment.summarize(results.tables), pictures)


def write(stories: Sequence[Story], scale: str, path: pathlib.Path) -> None:
    """Writes the page."""
    folder = jinja2.FileSystemLoader(pathlib.Path(__file__).parent)
    template = jinja2.Environment(loader=folder, autoescape=True).get_template(TEMPLATE)
    page = template.render(stories=stories, scale=scale)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
