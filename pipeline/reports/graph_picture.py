"""The picture of the graph of the stages, in the DOT language of Graphviz."""

import subprocess
from collections.abc import Iterable

from common import files
from common.errors import UserError
from common.pictures import described
from pipeline.stages.graph import EVALUATOR, EXAMPLE_GEN, PUSHER, TRAINER, Stage

HEAD = """\
// Written by: python -m pipeline graph > docs/pipeline.dot
// Drawn by: python -m pipeline graph --svg docs/pipeline.svg
digraph pipeline {
  rankdir = TB
  nodesep = 0.25
  ranksep = 0.32
  bgcolor = white
  node [shape = box, style = "rounded,filled", fillcolor = "#eef3fb", color = "#4a6fa5", \
fontname = "Helvetica", fontsize = 11, margin = "0.14,0.08"]
  edge [color = "#4a6fa5", arrowsize = 0.7, fontname = "Helvetica", fontsize = 9, \
fontcolor = "#555555"]

  corpus [label = "corpus", shape = folder, style = filled, fillcolor = "#fdf6e3"]
  serving [label = "<serving>/<model>/<version>", shape = folder, style = filled, \
fillcolor = "#fdf6e3"]
  server [label = "TensorFlow Serving\\nor embedded server", fillcolor = "#e8f5e9", \
color = "#4c8c4a"]
  tensorboard [label = "TensorBoard", fillcolor = "#e8f5e9", color = "#4c8c4a"]
  client [label = "gRPC, REST", shape = plaintext, style = ""]
"""
TITLE = "The stages of the pipeline, what passes between them, and what serves the model."
"""What the picture shows, for those that do not see it."""
SURROUNDINGS = (
    ("corpus", EXAMPLE_GEN, ""),
    (TRAINER, "tensorboard", '[label = "logs/"]'),
    (PUSHER, "serving", ""),
    ("serving", "server", ""),
    ("server", "client", ""),
    (
        "serving",
        EVALUATOR,
        '[style = dashed, constraint = false, label = "  pushed last", tailport = w, '
        "headport = sw]",
    ),
)
"""Edges to and from what is no stage: their ends and attributes."""


def to_dot(stages: Iterable[Stage]) -> str:
    """Returns the graph of stages, with what is around them, in the DOT language."""
    stages = list(stages)
    names = {stage.name: stage.run for stage in stages}
    unsaid = {stage.name: stage.payload for stage in stages}
    lines = [HEAD, *map(_node, stages), ""]
    for stage in stages:
        for producer in dict.fromkeys(stage.inputs.values()):
            # A label on the first edge is enough; more of the same hide each other.
            label = _label(unsaid.pop(producer, ""))
            lines.append(_edge(names[producer], stage.run, f"[{label}]" if label else ""))
        for earlier in stage.after:
            attributes = ", ".join(filter(None, ["style = dashed", _label(unsaid.get(earlier))]))
            lines.append(_edge(names[earlier], stage.run, f"[{attributes}]"))
    for source, target, attributes in SURROUNDINGS:
        lines.append(_edge(names.get(source, source), names.get(target, target), attributes))
    return "\n".join([*lines, "}", ""])


def draw(stages: Iterable[Stage], path: str) -> None:
    """Draws the graph of stages as an SVG.

    Args:
      stages: The stages.
      path: Path of the SVG.

    Raises:
      UserError: If Graphviz is not installed.
    """
    try:
        drawn = subprocess.run(
            ["dot", "-Tsvg"], input=to_dot(stages), capture_output=True, text=True, check=True
        )
    except FileNotFoundError:
        raise UserError("Graphviz draws the picture; install it, or leave out --svg") from None
    files.write_text(path, described(drawn.stdout, TITLE))


def _node(stage: Stage) -> str:
    note = ", ".join(filter(None, [stage.note, "optional" if stage.optional else ""]))
    label = f"{stage.name}\\n{note}" if note else stage.name
    style = ', style = "rounded,filled,dashed"' if stage.optional else ""
    return f'  {stage.run} [label = "{label}"{style}]'


def _label(text: str | None) -> str:
    return f'label = "{text}"' if text else ""


def _edge(source: str, target: str, attributes: str) -> str:
    return f"  {source} -> {target} {attributes}".rstrip()
