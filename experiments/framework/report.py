"""Writes the report of the experiments, with their findings and plots.

report.html     one page that opens offline
report.md       the same as Markdown, with the plots as files
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jinja2
import markupsafe

from common.pictures import save_svg
from experiments.framework.experiment import Experiment, Summary
from experiments.framework.results import Results
from experiments.framework.scale import Scale

PAGES = ("report.html", "report.md")
LARGE = 1 << 18
"""Number of characters of an SVG from which on its PNG is the smaller file."""


class Picture(NamedTuple):
    """A plot on a page.

    Attributes:
      file: Name of the file that report.md shows.
      svg: Markup that report.html contains.
      caption: Caption.
    """

    file: str
    svg: markupsafe.Markup
    caption: str


class Story(NamedTuple):
    """An experiment on a page.

    Attributes:
      experiment: The experiment.
      results: Its results.
      summary: Summary of the results.
      pictures: Its plots.
    """

    experiment: Experiment
    results: Results
    summary: Summary
    pictures: Sequence[Picture]


def make_story(experiment: Experiment, results: Results, folder: pathlib.Path) -> Story:
    """Draws the plots of an experiment as PNG and SVG, and returns what a page shows of it.

    Args:
      experiment: The experiment.
      results: Its results.
      folder: Folder of the plots.
    """
    pictures = []
    for plot in experiment.plots:
        figure = plot.draw(results.tables)
        figure.savefig(folder / f"{plot.name}.png", dpi=130)
        path = folder / f"{plot.name}.svg"
        save_svg(figure, path, plot.caption)
        svg = path.read_text(encoding="utf-8")
        # Ids must be unique on the page, and the prolog belongs to a file only.
        prefix = f"{experiment.name}-{plot.name}-"
        svg = svg[svg.index("<svg") :]
        file = f"{plot.name}.{'svg' if len(svg) < LARGE else 'png'}"
        for reference in ('id="', "url(#", 'href="#'):
            svg = svg.replace(reference, reference + prefix)
        pictures.append(Picture(file=file, svg=markupsafe.Markup(svg), caption=plot.caption))
    summary = experiment.summarize(results.tables)
    return Story(experiment=experiment, results=results, summary=summary, pictures=pictures)


def write(stories: Sequence[Story], scale: Scale, folder: pathlib.Path) -> None:
    """Writes the pages of a report.

    Args:
      stories: The experiments.
      scale: Their scale.
      folder: Folder of the pages.
    """
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=lambda name: name is not None and ".html" in name,
        trim_blocks=True,
    )
    for name in PAGES:
        template = templates.get_template(f"{name}.jinja")
        page = template.render(stories=stories, scale=scale, minutes=_minutes, commit=_commit)
        (folder / name).write_text(page, encoding="utf-8")


def _minutes(story: Story) -> str:
    return f"{story.results.seconds / 60:,.0f}"


def _commit(story: Story) -> str:
    commit, dirty, _ = story.results.commit.partition("-dirty")
    return commit[:12] + (", with changes" if dirty else "")
