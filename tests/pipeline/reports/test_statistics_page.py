"""The page of the statistics: it opens without a network and shows the right numbers."""

import re

import numpy as np
import pytest
from commands import run_module
from conftest import words

TEXT = words(21, 40_000).replace("grid", "сетка") + "0123456789\n" * 400


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """The page of a text in two scripts that ends with digits."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "text.txt").write_text(TEXT, newline="")
    for stage in (
        f"example_gen --corpus {folder}/text.txt",
        "statistics_gen --character_unit unicode",
    ):
        finished = run_module("pipeline", *stage.split(), "--root", folder / "root")
        assert finished.returncode == 0, finished.stderr
    written = folder / "page.html"
    finished = run_module("pipeline", "statistics", "--root", folder / "root", "--html", written)
    assert (finished.returncode, finished.stdout) == (0, f"{written}\n"), finished.stderr
    return written


@pytest.fixture
def page(browser, page_file):
    page = browser.new_context(offline=True).new_page()
    problems, requests = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())
    yield page
    assert (problems, requests) == ([], [page_file.as_uri()])


def test_the_title_is_the_name_of_the_corpus(page, page_file):
    assert page.title() == page.locator("h1").inner_text() == "Statistics of text"
    assert not re.search(r"\b[0-9a-f]{8,}\b", page.title())


def test_the_title_stays_where_the_text_was_normalised(page_file, tmp_path):
    root, written = page_file.parent / "root", tmp_path / "page.html"
    for stage in ("transform --lowercase", "statistics_gen --lowercase --character_unit unicode"):
        finished = run_module("pipeline", *stage.split(), "--root", root)
        assert finished.returncode == 0, finished.stderr
    finished = run_module("pipeline", "statistics", "--root", root, "--html", written)
    assert finished.returncode == 0, finished.stderr
    assert "<title>Statistics of text</title>" in written.read_text()


def test_the_numbers_match_the_text(page):
    rows = page.locator("#summary tr").all_inner_texts()
    cut = int(len(TEXT.encode()) * 0.95)
    train = TEXT.encode()[:cut].decode("utf-8", "ignore")
    assert f"characters (code points)\t{len(train):,}" in rows[1]
    assert f"distinct\t{len(set(train))}" in rows[2]
    assert "above" in page.locator("#drift").inner_text()
    share = train.count("с") / len(train)
    (row,) = [r for r in page.locator("#characters tr").all_inner_texts() if "U+0441" in r]
    assert f"{share:.4%}" in row
    cyrillic = sum(train.count(letter) for letter in "сетка") / len(train)
    (row,) = [r for r in page.locator("#scripts tr").all_inner_texts() if "Cyrillic" in r]
    assert f"{cyrillic:.4%}" in row


def test_the_lengths_of_bars_match_their_shares(page):
    for row in page.locator("#characters tr:has(.bar)").all()[:10]:
        shares = [float(share) for share in re.findall(r"([\d.]+)%", row.inner_text())]
        widths = [bar.bounding_box()["width"] for bar in row.locator(".bar").all()]
        if min(shares) > 1:
            assert widths[0] / widths[1] == pytest.approx(shares[0] / shares[1], rel=0.1)


def test_line_lengths_are_quantiles(page):
    cut = int(len(TEXT.encode()) * 0.95)
    train = TEXT.encode()[:cut].decode("utf-8", "ignore")
    lengths = np.array([len(line) for line in train.removesuffix("\n").split("\n")])
    for tenth, row in enumerate(page.locator("#lines tr").all_inner_texts()[1:], 1):
        shown = int(row.split("\t")[1])
        assert row.startswith(f"{10 * tenth}%")
        assert np.mean(lengths <= shown) >= tenth / 10 - 1e-9
        assert np.mean(lengths < shown) <= tenth / 10 + 1e-9
    assert tenth == 9
