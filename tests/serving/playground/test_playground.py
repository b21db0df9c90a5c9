"""The page to try models on, in a real browser."""

import math
import re

import numpy as np
import pytest
from playwright.sync_api import expect
from servers import predict, require_embedded

from serving.client import Address, Client, SamplingParams


@pytest.fixture
def page(server, browser):
    """The page, which is to ask nobody but the server and complain of nothing."""
    require_embedded()
    page = browser.new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(server.url("/playground"))
    expect(page.locator("#version option")).to_have_text(["newest", "1"])
    yield page
    page.close()
    ours = server.url("/")
    assert all(url.startswith(ours) or url == "data:," for url in requests)
    assert not [text for text in complaints if "status of 400" not in text]


def generate(page, prompt="", length=40):
    page.fill("#prompt", prompt)
    page.locator("#length").fill(str(length))
    page.click("#generate")
    expect(page.locator("#figures")).to_contain_text(f"{length} characters")
    expect(page.locator("#generate")).to_be_enabled()


def text_of(page):
    return "".join(page.locator("#text span").all_text_contents())


def generated(server, prompt, length):
    with Client(Address(server.address, "letters")) as client:
        params = SamplingParams(temperature=0.8, seed=1, alternatives=8)
        return client.generate([prompt], length, params)[0]


def test_the_text_is_what_the_server_gives(page, server):
    generate(page, "abé")
    whole = "abé".encode() + generated(server, "abé", 40).text
    assert text_of(page) == whole.decode("utf-8", "replace")
    assert page.locator("#text .prompt").all_text_contents() == ["a", "b", "é"]


def test_a_text_may_end_within_a_character(page, server):
    first_byte = "é".encode()[0]
    text = generated(server, "", 1000).text
    length = next(end for end in range(10, 1001, 10) if text[end - 1] == first_byte)
    generate(page, "", length)
    assert text_of(page).endswith("\ufffd")
    assert text_of(page) == generated(server, "", length).text.decode("utf-8", "replace")


def test_alternatives_show_on_hover(page, server):
    generate(page, "ab", 10)
    expected = generated(server, "ab", 10)
    page.locator("#text span").nth(2).hover()
    tooltip = page.locator("#alternatives")
    expect(tooltip).to_be_visible()
    rows = tooltip.locator("table").first.locator("tr")
    shares = [float(text.rstrip("%")) for text in rows.locator("td:last-child").all_text_contents()]
    likely = 100 * np.exp(expected.alternative_log_probabilities[0])
    np.testing.assert_allclose(shares, likely, atol=0.051)
    surprise = -expected.log_probabilities[0] / math.log(2)
    assert f"{surprise:.2f} bits" in tooltip.locator("caption").first.inner_text()
    expect(tooltip.locator("table").first.locator("tr.taken")).to_have_count(1)
    page.locator("h1").hover()
    expect(tooltip).to_be_hidden()


def shade_of(span):
    found = re.search(r"--share: (\d+)%", span.get_attribute("style"))
    sign = {"high": 1, "low": -1}.get((span.get_attribute("class") or "").split(" ")[-1], 0)
    return sign * int(found[1])


def test_surprise_and_a_memory_cell_shade_the_text(page, server):
    generate(page, "abc a", 10)
    text = generated(server, "abc a", 10)
    with Client(Address(server.address, "letters")) as client:
        (scored,) = client.score(["abc a"])
    bits = -scored.log_probabilities / math.log(2)
    first = page.locator("#text span").first
    assert shade_of(first) == round(100 * min(1, bits[0] / 8))

    page.check("input[value=memory]")
    page.fill("#layer", "1")
    page.fill("#unit", "5")
    whole = b"abc a" + text.text
    inspected, _ = predict(server.channel, "inspect", {"text": np.array([whole], object)})
    memories = inspected["memories"][0, :, 1, 5]
    expected = round(100 * memories[4] / np.abs(memories).max())
    expect(page.locator("#text span").nth(4)).to_have_attribute(
        "style", f"--share: {abs(expected)}%;"
    )
    assert abs(shade_of(page.locator("#text span").nth(4)) - expected) <= 1
    expect(page.locator("#unit")).to_have_attribute("max", "11")


def test_a_stream_is_stopped(page):
    page.locator("#length").fill("2000")
    page.click("#generate")
    expect(page.locator("#text span").nth(5)).to_be_visible()
    page.click("#halt")
    expect(page.locator("#generate")).to_be_enabled()
    assert len(text_of(page)) < 2000
    expect(page.locator("#problem")).to_be_hidden()


def test_a_refusal_is_shown(page):
    page.fill("#prompt", "abz")
    page.click("#generate")
    expect(page.locator("#problem")).to_contain_text("lacks the character 0x7A")
    generate(page, "ab", 10)
    expect(page.locator("#problem")).to_be_hidden()
