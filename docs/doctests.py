"""Extension of Griffe: examples with prompts in docstrings become code blocks of the site.

Without it, lines that begin with `>>>` would be quotations in Markdown.
"""

from typing import Any

import griffe


def fence_examples(text: str) -> str:
    """Returns a docstring in which every example, up to the next empty line, is a code block."""
    lines = []
    is_inside = False
    for line in [*text.splitlines(), ""]:
        content = line.lstrip()
        indent = line[: len(line) - len(content)]
        if not is_inside and content.startswith(">>> "):
            lines.append(f"{indent}```pycon")
            outer, is_inside = indent, True
        elif is_inside and not content:
            lines.append(f"{outer}```")
            is_inside = False
        lines.append(line)
    return "\n".join(lines).rstrip("\n")


class Doctests(griffe.Extension):
    """Rewrites the docstrings of all objects that Griffe collects."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of one object."""
        if obj.docstring and ">>> " in obj.docstring.value:
            obj.docstring.value = fence_examples(obj.docstring.value)
