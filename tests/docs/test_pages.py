"""The pages: their length, their links, their drawings, and the site that is built from them."""

import importlib.util
import re
import subprocess
import sys
import urllib.parse

import pytest
from conftest import PROJECT

MAX_WORDS = 1500
DOCS = PROJECT / "docs"
PAGES = sorted(
    path.relative_to(PROJECT) for path in (*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"))
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(path):
    """Returns the text of a page without its code."""
    text = re.sub(r"^```.*?^```", "", (PROJECT / path).read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path):
    """Returns the anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r"[\s-]+", "-", heading) for heading in plain}


def test_the_readme_is_short():
    assert len((PROJECT / "README.md").read_text().split()) <= MAX_WORDS


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_to_a_file_leads_somewhere(page):
    for target in LINK.findall(prose(page)):
        address = urllib.parse.urlparse(target)
        if address.scheme or address.netloc:
            continue
        source = PROJECT / page
        path = (source.parent / address.path).resolve() if address.path else source
        assert path.exists(), f"{page} links to {target}"
        assert path.is_relative_to(PROJECT), f"{page} links to {target}"
        if address.fragment and path.suffix == ".md":
            assert address.fragment in anchors(path), f"{page} links to {target}"


def test_every_page_is_in_the_navigation():
    listed = (PROJECT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    for page in PAGES:
        if page.parts[0] == "docs":
            assert f" {page.relative_to('docs')}\n" in listed, f"{page} is in no menu"


def test_every_drawing_is_what_its_source_draws():
    from docs.figures import draw

    drawn = {name: figure().to_svg() for name, figure in draw.FIGURES.items()}
    stored = {path.stem: path.read_text() for path in (DOCS / "figures").glob("*.svg")}
    assert stored == drawn


def test_every_name_of_a_registry_is_in_the_index():
    from experiments.catalog import EXPERIMENTS
    from model.cells.registry import MEMORY_CELLS, PLAIN_CELLS
    from model.contexts.registry import CONTEXTS
    from pipeline.stages import infra_validator
    from pipeline.stages.graph import all_stages

    index = (DOCS / "index.md").read_text()
    stages = [stage.name for stage in all_stages()]
    signatures = (
        infra_validator.SIGNATURES
        | infra_validator.TRANSLATION_SIGNATURES
        | infra_validator.RECOGNITION_SIGNATURES
    )
    for name in (*MEMORY_CELLS, *PLAIN_CELLS, *CONTEXTS, *stages, *signatures, *EXPERIMENTS):
        pattern = rf"(?<![A-Za-z_]){re.escape(name)}(?![A-Za-z_])"
        assert re.search(pattern, index), f"{name} is not in the index"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    if not importlib.util.find_spec("mkdocs"):
        pytest.skip("mkdocs is not installed; `make docs` installs it")
    finished = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=PROJECT, capture_output=True, text=True,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    for page in PAGES:
        if page.parts[0] == "docs":
            name = page.relative_to("docs").with_suffix("")
            built = tmp_path / (name.parent if name.name == "index" else name) / "index.html"
            assert built.exists(), f"{page} is not in the site"
    assert not list(tmp_path.rglob("*.py"))
    for page in tmp_path.rglob("*.html"):
        for source in re.findall(r'<img[^>]* src="([^":]+)"', page.read_text()):
            assert (page.parent / source).resolve().exists(), f"{page} lacks {source}"
