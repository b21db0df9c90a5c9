"""A few SVG elements, for drawings that are legible in grey, on a phone and on dark ground.

Every drawing has a light background of its own, so that a dark page does not swallow its lines.
"""

from html import escape

from common.pictures import described

INK = "#22303f"
TIME = "#1f5fa8"
DEPTH = "#b3541e"
MUTED = "#6b7785"
PAPER = "#fbfaf7"
FILLS = ("#e9eff7", "#cfdcec", "#a9c1de", "#7d9fca", "#5680b4", "#38659b", "#234c7d")


class Drawing:
    """An SVG drawing that grows by elements.

    Args:
      width: The width in pixels.
      height: The height in pixels.
      title: The alternative text for readers that do not see the drawing.
    """

    def __init__(self, width: int, height: int, title: str):
        self._elements: list[str] = []
        self._title = title
        self._head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" '
            f'font-family="Helvetica, Arial, sans-serif">\n'
            "<defs>" + "".join(map(_arrow_head, (INK, TIME, DEPTH, MUTED))) + "</defs>\n"
            f'<rect width="{width}" height="{height}" rx="10" fill="{PAPER}"/>\n'
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str = "white",
        stroke: str = INK,
        dashed: bool = False,
    ) -> None:
        """Adds a rounded rectangle with its upper left corner at (x, y)."""
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._elements.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7" '
            f'fill="{fill}" stroke="{stroke}" stroke-width="1.6"{dashes}/>'
        )

    def line(self, points: list[tuple[float, float]], color: str = INK, arrow: bool = True) -> None:
        """Adds a polyline, with an arrow head at its end."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        head = f' marker-end="url(#head{color[1:]})"' if arrow else ""
        self._elements.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{head}/>'
        )

    def text(
        self,
        x: float,
        y: float,
        content: str,
        size: float = 15,
        color: str = INK,
        anchor: str = "middle",
        bold: bool = False,
    ) -> None:
        """Adds a line of text; `_` and `^` before a letter or {group} lower and raise it."""
        weight = ' font-weight="bold"' if bold else ""
        self._elements.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{color}" '
            f'text-anchor="{anchor}"{weight}>{_with_scripts(content, size)}</text>'
        )

    def to_svg(self) -> str:
        """Returns the drawing as the text of an SVG file."""
        return described(self._head + "\n".join(self._elements) + "\n</svg>\n", self._title)


def _arrow_head(color: str) -> str:
    return (
        f'<marker id="head{color[1:]}" markerWidth="8" markerHeight="8" refX="7" refY="4" '
        f'orient="auto"><path d="M0,0.8 L7.5,4 L0,7.2 z" fill="{color}"/></marker>'
    )


def _with_scripts(content: str, size: float) -> str:
    """Returns the content as XML, with its subscripts and superscripts as shifted spans."""
    parts, position = [], 0
    while position < len(content):
        mark = content[position]
        if mark in "_^" and position + 1 < len(content):
            end = position + 2
            script = content[position + 1]
            if script == "{":
                end = content.index("}", position) + 1
                script = content[position + 2 : end - 1]
            shift = size * (0.28 if mark == "_" else -0.38)
            parts.append(
                f'<tspan dy="{shift:g}" font-size="{size * 0.72:g}">{escape(script)}</tspan>'
                f'<tspan dy="{-shift:g}">\u200b</tspan>'
            )
            position = end
        else:
            parts.append(escape(mark))
            position += 1
    return "".join(parts)
