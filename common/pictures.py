"""SVG files that say what they show to readers that do not see them, for all that draws."""

import html
import pathlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not everything that draws has matplotlib
    from matplotlib.figure import Figure

_HEAD = re.compile(r"<svg\b([^>]*)>(\s*<title>[^<]*</title>)?")
_ROLE = re.compile(r'\s(?:role|aria-label)="[^"]*"')


def described(svg: str, title: str) -> str:
    """Returns an SVG that screen readers announce as one picture, by its title.

    The name is an attribute as well as an element: of a picture within a page some readers use the
    one and some the other, and an attribute needs no id that would have to be unique on the page.

    Args:
      svg: Text of the SVG; a role and a title that it has are replaced.
      title: Sentence that says what the picture shows.
    """

    def head(found: re.Match) -> str:
        attributes = _ROLE.sub("", found[1])
        label = html.escape(title)
        text = html.escape(title, quote=False)
        return f'<svg role="img" aria-label="{label}"{attributes}>\n<title>{text}</title>'

    return _HEAD.sub(head, svg, count=1)


def save_svg(figure: "Figure", path: pathlib.Path, title: str) -> None:
    """Writes a figure of matplotlib, with its letters as text and without the time of the day.

    Args:
      figure: The figure.
      path: Path of the file.
      title: Sentence that says what the figure shows.
    """
    import matplotlib

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "grid-lstm"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
    path.write_text(described(path.read_text(encoding="utf-8"), title), encoding="utf-8")
