"""The page on which to try models, in front of a gateway, in a real browser."""

import numpy as np
import pytest
from pages import stop_after
from playwright.sync_api import expect
from servers import predict

from serving.client import SamplingParams

PARAMS = SamplingParams(temperature=0.8, seed=1, alternatives=8)  # of the page's form
expect.set_options(timeout=60_000)  # milliseconds, for a browser on a busy machine


@pytest.fixture
def page(gateway, browser):
    """The page, which is to ask nobody but the gateway and complain of nothing."""
    page = browser.new_page()
    requests, complaints = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(gateway.url("/"))
    expect(page.locator("#units")).to_have_text("(0 to 11)")
    yield page
    page.close()
    assert all(url.startswith(gateway.url("/")) or url == "data:," for url in requests)
    assert not [text for text in complaints if not text.startswith("Failed to load resource")]


def generate(page, prompt, length):
    page.fill("#prompt", prompt)
    page.locator("#length").fill(str(length))
    page.click("#generate")
    expect(page.locator("#figures")).to_contain_text(f"{length} characters")
    expect(page.locator("#generate")).to_be_enabled()


@pytest.mark.slow
def test_the_text_and_its_alternatives_are_those_of_the_model(page, grpc_client):
    generate(page, "abé", 40)
    (expected,) = grpc_client.generate(["abé"], 40, PARAMS)
    text = "".join(page.locator("#text span").all_text_contents())
    assert text == ("abé".encode() + expected.text).decode("utf-8", "replace")
    bits = -expected.log_probabilities.mean() / np.log(2)
    expect(page.locator("#figures")).to_contain_text(f"{bits:.2f} bits each")
    page.locator("#text span").nth(3).hover()
    rows = page.locator("#alternatives table").first.locator("tr")
    shares = [float(each.rstrip("%")) for each in rows.locator("td:last-child").all_text_contents()]
    # Of these letters there are fewer than the page asks for.
    likely = 100 * np.exp(expected.alternative_log_probabilities[0])
    np.testing.assert_allclose(shares, likely, atol=0.051)


@pytest.mark.slow
def test_a_memory_cell_shades_the_text(page, server, grpc_client):
    generate(page, "abc a", 10)
    (added,) = grpc_client.generate(["abc a"], 10, PARAMS)
    page.check("input[value=memory]")
    page.fill("#layer", "1")
    page.fill("#unit", "5")
    whole = b"abc a" + added.text
    inspected, _ = predict(server.channel, "inspect", {"text": np.array([whole], object)})
    memories = inspected["memories"][0, :, 1, 5]
    expected = round(100 * abs(memories[4]) / np.abs(memories).max())
    expect(page.locator("#text span").nth(4)).to_have_attribute("style", f"--share: {expected}%;")


@pytest.mark.slow
def test_a_stream_is_stopped_and_a_refusal_is_shown(page, gateway):
    page.locator("#length").fill("2000")
    stop_after(page, characters=5)
    page.click("#generate")
    expect(page.locator("#text span").nth(4)).to_be_visible()
    expect(page.locator("#generate")).to_be_enabled()
    assert page.locator("#text span").count() < 2000
    page.fill("#prompt", "abz")
    page.click("#generate")
    expect(page.locator("#problem")).to_contain_text("lacks the character 0x7A")
