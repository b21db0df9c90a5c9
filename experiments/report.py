"""The report: what each experiment found, with its plots.

report.html     one page that opens offline
report.md       the same for a repository, beside the plots
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jinja2
import markupsafe

from experiments.experiment import Experiment, Summary
from experiments.results import Results

PAGES = ("report.html", "report.md")
LARGE = 1 << 18
"""Characters of an SVG from which on a PNG of it is the smaller."""


class Picture(NamedTuple):
    """A plot as it goes into a page.

    Attributes:
      file: the one to show, beside the results.
      svg: what goes into a page of its own.
      caption: what it shows.
    """

    file: str
    svg: markupsafe.Markup
    caption: str


class Story(NamedTuple):
    """An experiment as it goes into a page."""

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
        file = f"{plot.name}.{'svg' if len(svg) < LARGE else 'png'}"
        for reference in ('id="', "url(#", 'href="#'):
            svg = svg.replace(reference, reference + own)
        pictures.append(Picture(file, markupsafe.Markup(svg), plot.caption))
    return Story(experiment, results, experiment.summarize(results.tables), pictures)


def write(stories: Sequence[Story], scale: str, folder: pathlib.Path) -> None:
    """Writes the pages."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=lambda name: ".html" in name,
        trim_blocks=True,
    )
    for name in PAGES:
        template = templates.get_template(f"{name}.jinja")
        page = template.render(stories=stories, scale=scale, minutes=_minutes, commit=_commit)
        (folder / name).write_text(page, encoding="utf-8")


def _minutes(story):
    return f"{story.results.seconds / 60:,.0f}"


def _commit(story):
    commit, dirty, _ = story.results.commit.partition("-dirty")
    return commit[:12] + (", with changes" if dirty else "")
