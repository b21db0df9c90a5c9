"""Draws the figures of the documentation: `python -m docs.figures.draw` writes the SVG files."""

import argparse
import pathlib

from docs.figures.svg import DEPTH, FILLS, INK, MUTED, PAPER, TIME, Drawing

FOLDER = pathlib.Path(__file__).parent


def block() -> Drawing:
    """Draws one 2-D block: two LSTMs on the same concatenated hidden vectors."""
    drawing = Drawing(640, 430, "A two-dimensional Grid LSTM block with depth priority")
    drawing.box(150, 70, 340, 280)
    drawing.text(480, 338, "time step t, layer l", 14, MUTED, "end")
    cells = ((250, "LSTM_T", "along time", TIME), (120, "LSTM_D", "along depth", DEPTH))
    for y, label, inside, color in cells:
        drawing.box(250, y, 130, 62, PAPER, color)
        drawing.text(315, y + 27, label, 18, color, bold=True)
        drawing.text(315, y + 48, inside, 13, color)
    # Time: from left to right.
    drawing.line([(60, 295), (248, 295)], TIME)
    drawing.line([(60, 270), (248, 270)], TIME)
    drawing.text(56, 300, "h_T", 17, TIME, "end")
    drawing.text(56, 275, "m_T", 17, TIME, "end")
    drawing.line([(380, 270), (580, 270)], TIME)
    drawing.line([(380, 295), (580, 295)], TIME)
    drawing.text(586, 275, "m′_T", 17, TIME, "start")
    drawing.text(586, 300, "h′_T", 17, TIME, "start")
    # Depth: from the bottom to the top.
    drawing.line([(205, 405), (205, 310), (248, 310)], DEPTH)
    drawing.line([(205, 310), (205, 166), (248, 166)], DEPTH)
    drawing.line([(175, 405), (175, 140), (248, 140)], DEPTH)
    drawing.text(210, 422, "h_D", 17, DEPTH)
    drawing.text(172, 422, "m_D", 17, DEPTH)
    drawing.line([(440, 295), (440, 166), (382, 166)], TIME)
    drawing.text(448, 230, "h′_T", 15, TIME, "start")
    drawing.line([(295, 120), (295, 30)], DEPTH)
    drawing.line([(335, 120), (335, 30)], DEPTH)
    drawing.text(295, 22, "m′_D", 17, DEPTH)
    drawing.text(337, 22, "h′_D", 17, DEPTH)
    drawing.text(395, 385, "H_T = [h_T, h_D]", 14, TIME, "start")
    drawing.text(395, 407, "H_D = [h′_T, h_D]", 14, DEPTH, "start")
    return drawing


def wavefront(steps: int = 6, layers: int = 4) -> Drawing:
    """Draws the hyperplanes of a 2-D grid: blocks of one shade are computed at once."""
    size, gap, left, top = 62, 14, 92, 46
    pitch = size + gap
    drawing = Drawing(
        left + steps * pitch + 30,
        top + layers * pitch + 70,
        "The anti-diagonals of a grid of time steps and layers",
    )
    shades = steps + layers - 1
    for step in range(steps):
        for layer in range(layers):
            x = left + step * pitch
            y = top + (layers - 1 - layer) * pitch
            d = step + layer
            shade = FILLS[round(d * (len(FILLS) - 1) / (shades - 1))]
            drawing.box(x, y, size, size, shade)
            drawing.text(
                x + size / 2, y + size / 2 + 7, str(d + 1), 20, _readable(shade), bold=True
            )
            if step < steps - 1:
                drawing.line([(x + size, y + size / 2), (x + pitch - 1, y + size / 2)], TIME)
            if layer < layers - 1:
                drawing.line([(x + size / 2, y), (x + size / 2, y - gap + 1)], DEPTH)
    for step in range(steps):
        x = left + step * pitch + size / 2
        drawing.text(x, top + layers * pitch + 12, f"t = {step + 1}", 14, MUTED)
    for layer in range(layers):
        y = top + (layers - 1 - layer) * pitch + size / 2 + 5
        drawing.text(left - 12, y, f"layer {layer + 1}", 14, MUTED, "end")
    drawing.text(
        left + (steps * pitch - gap) / 2,
        top + layers * pitch + 48,
        f"{steps} × {layers} blocks, {shades} sequential steps: equal numbers are computed at once",
        15,
    )
    drawing.text(left + (steps * pitch - gap) / 2, 24, "time →, depth ↑", 14, MUTED)
    return drawing


def skewing(steps: int = 5, layers: int = 3) -> Drawing:
    """Draws how blocks become the rows of hyperplanes."""
    width, height, left, top = 66, 40, 40, 74
    columns = steps + layers - 1
    drawing = Drawing(left * 2 + columns * (width + 8), 330, "Blocks as rows of hyperplanes")
    drawing.text(left, 34, "The rows of each hyperplane, computed at once", 16, anchor="start")
    for d in range(columns):
        x = left + d * (width + 8)
        members = [layer for layer in range(layers) if 0 <= d - layer < steps]
        drawing.text(x + width / 2, top - 12, f"d = {d + 1}", 14, MUTED)
        for row, layer in enumerate(members):
            y = top + row * (height + 6)
            drawing.box(x, y, width, height, FILLS[1 + layer])
            drawing.text(x + width / 2, y + 26, f"({d - layer + 1}, {layer + 1})", 15)
    y = top + layers * (height + 6) + 26
    notes = (
        "(t, l): time step and layer. Hyperplane d holds the blocks with t + l − 1 = d, sorted by",
        "layer. The first and last ones are shorter: no product is spent outside of the grid.",
        "Within an XLA program all have the same number of rows, padded with zeros.",
    )
    for number, note in enumerate(notes):
        drawing.text(left, y + 24 * number, note, 14, MUTED, "start")
    return drawing


def checkpointing(segments: int = 4) -> Drawing:
    """Draws a sequence cut into segments, one of which is computed again."""
    width, left, top = 150, 36, 70
    drawing = Drawing(left * 2 + segments * width, 250, "Gradient checkpointing along a sequence")
    drawing.text(
        left, 36, "forward: only the states at the boundaries are stored", 15, anchor="start"
    )
    for segment in range(segments):
        x = left + segment * width
        again = segment == 2
        drawing.box(x + 8, top, width - 16, 60, FILLS[2] if again else PAPER, dashed=not again)
        drawing.text(x + width / 2, top + 36, f"segment {segment + 1}", 15)
        drawing.box(x - 5, top + 4, 10, 52, INK)
    drawing.line([(left + 3 * width - 10, top + 90), (left + 2 * width + 10, top + 90)], DEPTH)
    drawing.text(left + 2.5 * width, top + 116, "residuals of one segment", 14, DEPTH)
    drawing.text(
        left,
        top + 154,
        "backward: each segment is computed again from its boundary, with its residuals",
        15,
        anchor="start",
    )
    return drawing


def decoding() -> Drawing:
    """Draws the decode step: recurrent products for all layers at once, then layer by layer."""
    drawing = Drawing(640, 330, "One decode step of a grid of three layers")
    drawing.box(30, 60, 170, 210, FILLS[1])
    drawing.text(115, 152, "h_T of all layers", 15)
    drawing.text(115, 176, "× W, once", 15)
    drawing.text(115, 200, "(a shared kernel", 13, MUTED)
    drawing.text(115, 218, "is read once)", 13, MUTED)
    for layer in range(3):
        y = 210 - layer * 75
        drawing.box(320, y, 150, 60, PAPER, DEPTH)
        drawing.text(395, y + 36, f"layer {layer + 1}", 16, DEPTH, bold=True)
        drawing.line([(200, y + 30), (318, y + 30)], TIME)
        drawing.line([(395, y), (395, y - 13)] if layer < 2 else [(395, y), (395, 34)], DEPTH)
    drawing.line([(395, 310), (395, 272)], DEPTH)
    drawing.text(405, 308, "E[c] × W, from a table", 14, DEPTH, "start")
    drawing.text(395, 26, "logits of the next character", 15, DEPTH)
    return drawing


def batching() -> Drawing:
    """Draws requests that are merged within the graph, a turn at a time."""
    drawing = Drawing(660, 300, "Requests of several clients merged within the graph")
    for row, (name, pieces) in enumerate((("client A", 5), ("client B", 2), ("client C", 4))):
        y = 60 + row * 62
        drawing.text(96, y + 29, name, 15, anchor="end")
        for turn in range(pieces):
            start = turn + (1 if row == 2 else 0)
            drawing.box(116 + start * 96, y, 72, 46, FILLS[1 + row])
            drawing.text(152 + start * 96, y + 29, f"turn {turn + 1}", 13)
    for turn in range(5):
        drawing.box(108 + turn * 96, 48, 88, 194, "none", MUTED, dashed=True)
        drawing.text(152 + turn * 96, 40, f"batch {turn + 1}", 13, MUTED)
    drawing.text(330, 274, "a turn is a few characters; rows of all requests share one batch", 15)
    return drawing


def _readable(fill: str) -> str:
    """Returns black or white, whichever is legible on a fill."""
    red, green, blue = (int(fill[at : at + 2], 16) for at in (1, 3, 5))
    return "#ffffff" if 0.3 * red + 0.59 * green + 0.11 * blue < 140 else INK


FIGURES = {
    figure.__name__: figure
    for figure in (block, wavefront, skewing, checkpointing, decoding, batching)
}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    program = "python -m docs.figures.draw"
    return argparse.ArgumentParser(
        prog=program,
        description="Write the figures of the documentation.",
        epilog=f"example:\n  {program}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def main() -> None:
    """Writes all figures beside this file."""
    parser().parse_args()
    for name, figure in FIGURES.items():
        (FOLDER / f"{name}.svg").write_text(figure().to_svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
