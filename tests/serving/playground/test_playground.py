"""The page to try models on, in a real browser."""

import json
import math
import re
import warnings
from collections import Counter

import numpy as np
import pytest
from pages import stop_after
from playwright.sync_api import Error as PageError
from playwright.sync_api import expect
from servers import predict, require_embedded

from serving.client import Address, Client, SamplingParams

ATTEMPTS = 3  # to load the page
expect.set_options(timeout=60_000)  # milliseconds, for a browser on a busy machine


@pytest.fixture
def page(server, browser):
    """The page, which is to ask nobody but the server and complain of nothing."""
    require_embedded()
    page = browser.new_page()
    requests, finished, complaints = [], [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("requestfinished", lambda request: finished.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for attempt in range(ATTEMPTS):
        try:  # the limits are the last to be known
            page.goto(server.url("/playground"))
            expect(page.locator("#units")).to_have_text("(0 to 11)", timeout=20_000)
            break
        except (AssertionError, PageError):
            # Seen on a busy machine, where a navigation that is not over may abort the next; the
            # report is to tell what it waits for.
            waiting = Counter(requests) - Counter(finished)
            warnings.warn(f"the page waits for {dict(waiting)}", stacklevel=1)
            if attempt == ATTEMPTS - 1:
                raise
    yield page
    page.close()
    ours = server.url("/")
    assert all(url.startswith(ours) or url == "data:," for url in requests)
    assert not [text for text in complaints if not text.startswith("Failed to load resource")]


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


@pytest.mark.slow
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


TOOLTIP_OF = """async (text) => {
  const { Text } = await import("./text.js");
  const make = (name) => document.createElement(name);
  const [element, tooltip, status] = ["div", "div", "p"].map(make);
  const bytes = new TextEncoder().encode(text);
  const shown = new Text(element, tooltip, status);
  shown.add([{ bytes, logProbability: -1, alternatives: [{ bytes, logProbability: -1 }] }]);
  shown.open(element.firstChild);
  const cell = tooltip.querySelector("td");
  const said = status.textContent.split(" bits")[0];
  return [cell, tooltip.querySelector("caption")].map((one) => one.textContent.split(",")[0])
    .concat(said.split(",")[0], element.firstChild.ariaLabel);
}"""


SHOWN_AS = [
    ("a", "a"),
    ("é", "é"),
    ("字", "字"),
    ("\ufffd", "\ufffd"),
    (" ", "space"),
    ("\n", "\\n"),
    ("\0", "\\x00"),
    ("\x7f", "\\x7f"),
    ("\u202e", "U+202E"),  # what follows is shown from right to left
    ("\u2066", "U+2066"),
    ("\u200f", "U+200F"),
    ("\u061c", "U+061C"),
    ("\u0085", "U+0085"),
    ("\u00a0", "U+00A0"),
    ("\u2028", "U+2028"),
    ("\ufeff", "U+FEFF"),
    ("\u0301", "U+0301"),  # an accent on what stands before
    ("\U000e0041", "U+E0041"),
]


def test_what_cannot_be_seen_is_a_code_point_in_the_tooltip(page):
    for text, shown in SHOWN_AS:  # a page for each would take most of a minute
        assert page.evaluate(TOOLTIP_OF, text) == [shown] * 4, "the last two are announced"


def shade_of(span):
    found = re.search(r"--share: (\d+)%", span.get_attribute("style"))
    sign = {"high": 1, "low": -1}.get((span.get_attribute("class") or "").split(" ")[-1], 0)
    return sign * int(found[1])


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_stream_is_stopped(page):
    page.locator("#length").fill("2000")
    stop_after(page, characters=5)
    page.click("#generate")
    expect(page.locator("#text span").nth(4)).to_be_visible()
    expect(page.locator("#generate")).to_be_enabled()
    assert len(text_of(page)) < 2000
    expect(page.locator("#problem")).to_be_hidden()


def test_a_refusal_is_shown(page):
    page.fill("#prompt", "abz")
    page.click("#generate")
    expect(page.locator("#problem")).to_contain_text("lacks the character 0x7A")
    generate(page, "ab", 10)
    expect(page.locator("#problem")).to_be_hidden()


CONTROLS = {
    "button", "combobox", "group", "radio", "slider", "spinbutton", "textbox",
}  # fmt: skip


def accessible(page):
    """The roles, names and values of all controls, as Chromium tells them to a screen reader."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    told = [[node.get(key, {}).get("value") for key in ("role", "name", "value")] for node in nodes]
    return [(role, name, value) for role, name, value in told if role in CONTROLS]


def test_controls_have_names_and_sliders_announce_their_values(page):
    page.check("input[value=memory]")
    generate(page, "ab", 10)
    controls = accessible(page)
    assert all(name for _, name, _ in controls)
    sliders = {name: value for role, name, value in controls if role == "slider"}
    assert list(sliders) == ["Length", "Temperature", "Top-k", "Top-p"]
    assert sliders["Length"] == 10
    names = [name for role, name, _ in controls if role != "slider"]
    assert {"Model", "Version", "Prompt", "Seed", "Stop at", "Unit (0 to 11)"} <= set(names)
    top_k = page.get_by_role("slider", name="Top-k", exact=True)
    expect(top_k).to_have_attribute("aria-valuetext", "all")
    top_k.press("ArrowRight")
    expect(top_k).to_have_attribute("aria-valuetext", "1")


@pytest.mark.slow
def test_tab_goes_through_the_page_in_order(page):
    generate(page, "ab", 10)
    page.locator("#model").focus()
    inputs = ["length", "temperature", "top_k", "top_p", "seed", "stop"]
    for name in ["model", "version", "example", "prompt", *inputs, "generate", "shade", "text"]:
        at = "document.activeElement"
        assert name == page.evaluate(f"{at}.id || {at}.name || {at}.parentElement.id")
        page.keyboard.press("Tab")


@pytest.mark.slow
def test_alternatives_open_by_keyboard(page):
    generate(page, "ab", 20)
    spans, popup, said = (page.locator(name) for name in ("#text span", "#alternatives", "#said"))
    expect(page.locator("#text [tabindex]")).to_have_count(1)
    spans.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(spans.nth(2)).to_be_focused()
    expect(popup).to_be_hidden()
    page.keyboard.press("Enter")
    expect(popup).to_be_visible()
    expect(spans.nth(2)).to_have_attribute("aria-expanded", "true")
    caption = popup.locator("caption").first.inner_text()
    assert said.inner_text().startswith(f"{caption}: ") and "%" in said.inner_text()
    page.keyboard.press("End")
    expect(spans.last).to_be_focused()
    expect(popup).to_be_visible()
    assert page.locator("#text [tabindex]").count() == 1
    page.keyboard.press("Escape")
    expect(popup).to_be_hidden()
    expect(spans.last).to_be_focused()
    page.keyboard.press("Space")
    expect(popup).to_be_visible()
    page.keyboard.press("Shift+Tab")
    expect(popup).to_be_hidden()


@pytest.mark.slow
def test_arrow_keys_go_from_line_to_line(page):
    generate(page, "aaaa\nbb\ncccc", 10)
    spans = page.locator("#text span")
    page.evaluate("document.querySelector('#text [tabindex]').focus()")
    page.keyboard.press("ArrowRight")
    for key, place in [("ArrowDown", 6), ("ArrowDown", 9), ("ArrowUp", 6), ("ArrowUp", 1)]:
        page.keyboard.press(key)
        expect(spans.nth(place)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(spans.nth(1)).to_be_focused()


@pytest.mark.slow
def test_alternatives_open_by_tap(server, browser):
    require_embedded()
    with browser.new_context(has_touch=True, viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.goto(server.url("/playground"))
        generate(page, "ab", 40)
        spans, popup = page.locator("#text span"), page.locator("#alternatives")
        for place in (2, 5):
            spans.nth(place).tap()
            expect(popup).to_be_visible()
            expect(spans.nth(place)).to_have_class(re.compile("chosen"))
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        spans.nth(5).tap()
        expect(popup).to_be_hidden()
        spans.nth(2).tap()
        page.locator("#figures").tap()
        expect(popup).to_be_hidden()


@pytest.mark.parametrize("modifier", ["Control", pytest.param("Meta", marks=pytest.mark.slow)])
def test_keys_generate_and_stop(page, modifier):
    page.fill("#prompt", "ab")
    page.locator("#length").fill("2000")
    page.locator("#prompt").press(f"{modifier}+Enter")
    expect(page.locator("#text span").nth(5)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#generate")).to_be_enabled()
    assert len(text_of(page)) < 2000
    expect(page.locator("#problem")).to_be_hidden()


def test_one_text_is_generated_at_a_time(page):
    held = []
    page.route("**/*:predict", lambda route: held.append(route))
    page.fill("#prompt", "ab")
    with page.expect_request("**/*:predict"):
        page.click("#generate")
    expect(page.locator("#text")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#generate")).to_have_text("Generating…")
    expect(page.locator("#generate")).to_be_disabled()
    page.locator("#prompt").press("Control+Enter")
    page.evaluate("for (const _ of [1, 2]) document.querySelector('#request').requestSubmit()")
    page.click("#example", force=True)
    page.click("#halt")
    expect(page.locator("#text")).to_have_attribute("aria-busy", "false")
    expect(page.locator("#generate")).to_be_focused()
    assert len(held) == 1
    page.unroute_all()
    generate(page, "ab", 10)


HTML = "<html><h1>503</h1></html>"


@pytest.mark.parametrize(
    "answer,sentence",
    [
        (
            {"status": 503, "body": HTML, "content_type": "text/html"},
            "The server answered 503 Service Unavailable; try again later.",
        ),
        ({"status": 404, "body": ""}, "The server answered 404 Not Found."),
        ({"status": 429, "json": {"error": "ask later"}}, "Ask later."),
        (
            {"status": 200, "body": HTML},
            "The answer is not JSON; it may be that of a proxy on the way.",
        ),
        (None, "The server cannot be reached; see whether it runs, and try again."),
    ],
)
def test_errors_are_sentences(page, answer, sentence):
    page.route("**/*:predict", lambda route: route.fulfill(**answer) if answer else route.abort())
    page.click("#generate")
    expect(page.get_by_role("alert")).to_have_text(sentence)
    expect(page.locator("#generate")).to_be_enabled()


def test_a_server_that_comes_late_is_asked_again(server, browser):
    require_embedded()
    page = browser.new_page()
    page.route("**/playground/form", lambda route: route.abort())
    page.goto(server.url("/playground"))
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.unroute_all()
    page.click("#generate")
    expect(page.locator("#figures")).to_contain_text("400 characters")
    expect(page.get_by_role("alert")).to_be_hidden()
    page.close()


def test_what_is_written_while_the_page_loads_stays(server, browser):
    require_embedded()
    page = browser.new_page()
    held = []
    page.route("**/playground/models", lambda route: held.append(route))
    with page.expect_request("**/playground/models"):
        page.goto(server.url("/playground"))
    page.fill("#prompt", "ab")
    page.locator("#length").fill("50")
    page.click("#generate")
    held[0].continue_()
    expect(page.locator("#figures")).to_contain_text("50 characters")
    assert text_of(page).startswith("ab")
    page.close()


@pytest.mark.parametrize(
    "seed", ["9223372036854775808", "-9223372036854775809", "1.5", "1e3", "", "x"]
)
def test_what_is_no_seed_is_refused_in_the_page(page, seed):
    sent = []
    page.on("request", lambda request: sent.append(request.url))
    page.fill("#seed", seed)
    page.click("#generate")
    expect(page.get_by_role("alert")).to_have_text(
        "Seed must be a whole number from -9223372036854775808 to 9223372036854775807."
    )
    expect(page.locator("#seed")).to_be_focused()
    expect(page.locator("#seed")).to_have_attribute("aria-invalid", "true")
    assert not sent


@pytest.mark.parametrize("seed", [2**53 + 1, 2**63 - 1, -(2**63)])
def test_seeds_are_sent_to_the_last_digit(page, seed):
    page.fill("#seed", str(seed))
    with page.expect_request("**/*:predict") as sent:
        generate(page, "", 10)
    assert json.loads(sent.value.post_data)["inputs"]["seed"] == [seed]


def test_memory_cells_are_limited_before_the_first_text(page):
    expect(page.locator("#layers")).to_have_text("(0 to 1)")
    assert page.locator("#layer").get_attribute("max") == "1"
    assert page.locator("#unit").get_attribute("max") == "11"
    generate(page, "ab", 10)
    page.check("input[value=memory]")
    for name, most in [("unit", 11), ("layer", 1)]:
        page.fill(f"#{name}", str(most + 1))
        expect(page.get_by_role("alert")).to_have_text(
            f"{name.capitalize()} must be a whole number from 0 to {most}."
        )
        page.fill(f"#{name}", str(most))
        expect(page.get_by_role("alert")).to_be_hidden()


SETTINGS = {
    "prompt": "a\nb é&#=",
    "length": "60",
    "top_k": "3",
    "seed": str(2**62 + 1),
    "stop": "cc",
}


def settings_of(page):
    return {name: page.locator(f"#{name}").input_value() for name in SETTINGS}


def test_the_address_keeps_the_settings(page, server, browser):
    plain = page.url
    assert "#" not in plain
    for name, value in SETTINGS.items():
        page.locator(f"#{name}").fill(value)
    page.select_option("#version", "1")
    page.check("input[value=memory]")
    page.fill("#unit", "7")
    expect(page).to_have_url(re.compile("#model=letters&version=1&.*unit=7$"))
    with browser.new_context() as context:
        other = context.new_page()
        other.goto(page.url)
        expect(other.locator("#version")).to_have_value("1")
        assert settings_of(other) == SETTINGS
        expect(other.locator("input[value=memory]")).to_be_checked()
        expect(other.locator("#unit")).to_have_value("7")
        other.evaluate("location.hash = '#prompt=abc'")
        expect(other.locator("#prompt")).to_have_value("abc")
        expect(other.locator("#seed")).to_have_value("1")
        expect(other.locator("input[value=surprise]")).to_be_checked()


def test_the_address_is_bounded(page):
    page.fill("#prompt", "é" * 3000)
    expect(page.locator("#omitted")).to_contain_text("too long")
    assert "seed=1" in page.url and "prompt" not in page.url
    page.fill("#prompt", "a")
    expect(page).to_have_url(re.compile("prompt=a&"))
    expect(page.locator("#omitted")).to_be_hidden()


@pytest.mark.parametrize(
    "fragment,words", [("model=none", "model none"), ("version=9", "version 9")]
)
def test_an_address_may_name_what_is_gone(page, fragment, words):
    page.evaluate("fragment => { location.hash = fragment }", fragment)
    expect(page.get_by_role("alert")).to_contain_text(words)
    expect(page.locator("#model")).to_have_value("letters")
    generate(page, "ab", 10)


def test_an_example_is_a_prompt_that_the_model_takes(page):
    page.click("#example")
    expect(page.locator("#prompt")).not_to_have_value("")
    expect(page.locator("#generate")).to_be_enabled()
    prompt = page.input_value("#prompt")
    assert set(prompt) <= set("abc é\n")
    generate(page, prompt, 10)
    assert text_of(page).startswith(prompt)


def luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


COLOURS = """(names) => names.map((name) => {
  const element = document.createElement("p");
  element.style.color = `var(--${name})`;
  document.body.append(element);
  const { color } = getComputedStyle(element);
  element.remove();
  return color;
})"""


CONTRASTS = [
    ("surface", "accent", 4.5),  # the button
    ("edge", "surface", 3),  # of a field
    ("edge", "panel", 3),
    ("ink", "high", 4.5),
    ("ink", "low", 4.5),
    *[(front, back, 4.5) for front in ("ink", "faint", "accent") for back in ("surface", "panel")],
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_the_contrast_of_wcag(page, scheme):
    page.emulate_media(color_scheme=scheme)
    for front, back, least in CONTRASTS:
        dark, light = sorted(map(luminance, page.evaluate(COLOURS, [front, back])))
        assert (light + 0.05) / (dark + 0.05) >= least, (front, back)
