"""Hooks of MkDocs: links to files of the repository that are no pages become plain code.

The site is built from docs/ alone and may be read without the repository. In the repository the
same links lead to the files.
"""

import pathlib
import re
from typing import Any

PROJECT = pathlib.Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(((?:\.\./)+)([^)#]*)\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replaces links that leave docs/ by the path that they name.

    Args:
      markdown: Text of the page.
      page: Page of MkDocs.

    Raises:
      FileNotFoundError: If the repository has no such file, which fails the build.
    """
    folder = PROJECT / "docs" / pathlib.PurePosixPath(page.file.src_uri).parent

    def replace(link: re.Match) -> str:
        text, up, path = link.groups()
        target = (folder / up / path).resolve()
        if target.is_relative_to(PROJECT / "docs"):
            return link[0]
        if not target.exists():
            raise FileNotFoundError(f"{page.file.src_uri} links to {up}{path}, which is missing")
        name = f"`{target.relative_to(PROJECT)}`"
        return name if text.strip("`") == name.strip("`") else f"{text} ({name})"

    return LINK.sub(replace, markdown)
