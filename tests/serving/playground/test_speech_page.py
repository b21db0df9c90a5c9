"""The page for speech, in a real browser."""

import keras
import numpy as np
import pytest
import servers
from playwright.sync_api import expect
from recordings import tones, wav_of
from seeds import generator

from model.speech.log_mel import LogMel
from model.speech.recognizer import Recognizer
from serving.graph.export_recognizer import export_recognizer

RATE = 8000


def wav(seconds=1.5, channels=1, rate=RATE):
    """The content of a WAV file of tones."""
    samples = tones(int(rate * seconds), rate, every=rate // 4)
    return wav_of(np.stack([samples] * channels, axis=1), rate)


@pytest.fixture(scope="module")
def speech_server(tmp_path_factory):
    servers.require_embedded()
    spread = keras.initializers.RandomNormal(stddev=3.0, seed=int(generator().integers(1000)))
    net = keras.Sequential(
        [keras.Input([None, 40]), keras.layers.Dense(5, kernel_initializer=spread)]
    )
    recognizer = Recognizer(net, "abcd", LogMel(RATE), np.full(40, -5.0), np.full(40, 3.0))
    path = tmp_path_factory.mktemp("speech")
    export_recognizer(recognizer, str(path / "1"), max_seconds=3)
    with servers.running(*servers.of(path, "letters"), name="letters", fresh=True) as running:
        yield running


@pytest.fixture
def page(speech_server, browser):
    """The page, which must not throw."""
    with browser.new_context(permissions=["microphone"]) as context:
        page = context.new_page()
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(speech_server.url("/playground/speech.html"))
        expect(page.locator("#model option")).to_have_text(["letters"])
        yield page
        assert not complaints


def give(page, name, content):
    page.set_input_files("#file", {"name": name, "mimeType": "audio/wav", "buffer": content})


@pytest.mark.slow
def test_a_file_is_recognized_as_the_server_does(page, speech_server):
    content = wav()
    found, _ = servers.predict(
        speech_server.channel, "recognize", {"audio": np.array([content], object)}, name="letters"
    )
    text = found["text"][0].decode()
    give(page, "letters.wav", content)
    expect(page.locator("#said")).to_have_text(text)
    expect(page.locator("#times span")).to_have_text(list(text))
    expect(page.locator("#duration")).to_have_text("1.50 s")
    size = page.evaluate("[...['width', 'height'].map((name) => spectrogram[name])]")
    assert size == [LogMel(RATE).frames(12_000), 40]
    places = page.evaluate("[...times.children].map((mark) => parseFloat(mark.style.left))")
    # The browser's samples are a little different, and may move a label by a frame of 10 ms.
    assert places == pytest.approx(100 * found["times"][0] / 1.5, abs=100 * 0.011 / 1.5)


@pytest.mark.slow
def test_any_sound_that_the_browser_reads_is_converted(page):
    give(page, "stereo.wav", wav(channels=2, rate=44_100))
    expect(page.locator("#heard")).to_be_visible()
    expect(page.locator("#duration")).to_have_text("1.50 s")
    expect(page.locator("#problem")).to_be_hidden()


@pytest.mark.slow
def test_what_cannot_be_read_is_said(page):
    give(page, "no.wav", b"no sound")
    expect(page.locator("#problem")).to_contain_text("no sound that this browser can read")
    give(page, "long.wav", wav(seconds=4))
    expect(page.locator("#problem")).to_contain_text("lasts 4.0 seconds, and the model takes 3.0")
    give(page, "short.wav", wav(seconds=0.01))
    expect(page.locator("#problem")).to_contain_text("has 80 samples at byte 44; record at least")
    give(page, "right.wav", wav())
    expect(page.locator("#heard")).to_be_visible()
    expect(page.locator("#problem")).to_be_hidden()


@pytest.mark.slow
def test_of_files_that_are_chosen_at_once_the_last_one_is_shown(page):
    for seconds in (2.9, 0.5, 1.25):
        give(page, "some.wav", wav(seconds=seconds))
    expect(page.locator("#duration")).to_have_text("1.25 s")
    page.wait_for_load_state("networkidle")
    expect(page.locator("#duration")).to_have_text("1.25 s")
    expect(page.locator("#problem")).to_be_hidden()


@pytest.mark.slow
def test_a_recording_is_recognized(page):
    page.click("#record")
    expect(page.locator("#record")).to_have_text("Stop")
    page.wait_for_timeout(700)
    page.click("#record")
    expect(page.locator("#heard")).to_be_visible()
    expect(page.locator("#record")).to_have_text("Record")
    expect(page.locator("#problem")).to_be_hidden()


@pytest.mark.slow
def test_a_recording_ends_by_itself_as_long_as_the_model_takes(page):
    page.click("#record")
    expect(page.locator("#record")).to_have_text("Stop")
    expect(page.locator("#record")).to_have_text("Record")
    expect(page.locator("#heard, #problem").locator("visible=true")).to_have_count(1)
