"""The page between two sentences, in a real browser."""

import numpy as np
import pytest
import servers
from playwright.sync_api import expect
from seeds import generator

from model.language_model.config import ModelConfig
from model.sentences.config import SentenceModelConfig
from model.sentences.sentence_model import SentenceModel
from model.text.word_vocabulary import WordVocabulary
from serving.graph.export_sentence_model import export_sentence_model

VOCABULARY = WordVocabulary(("cats", "dogs", "sleep", "naïve"))
COUNT = 17  # sentences that the page asks for


@pytest.fixture(scope="module")
def sentence_server(tmp_path_factory):
    servers.require_embedded()
    core = ModelConfig(architecture="stacked", layers=1, units=5)
    model = SentenceModel(SentenceModelConfig(core, core, latent=3), VOCABULARY.size)
    model.set_weights([2 * generator().normal(size=one.shape) for one in model.weights])
    path = tmp_path_factory.mktemp("sentences")
    export_sentence_model(model, VOCABULARY, str(path / "1"), max_words=5)
    with servers.running(*servers.of(path, "lines"), name="lines", fresh=True) as running:
        yield running


@pytest.mark.slow
def test_the_slider_goes_through_the_sentences_of_the_server(sentence_server, browser):
    page = browser.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(sentence_server.url("/playground/sentences.html"))
    expect(page.locator("#model option")).to_have_text(["lines"])
    page.fill("#first", "cats sleep")
    page.fill("#second", "naïve dogs")
    page.click("#interpolate")
    inputs = {
        "first": ["cats sleep"],
        "second": ["naïve dogs"],
        "count": np.array([COUNT], np.int32),
    }
    found, _ = servers.predict(sentence_server.channel, "interpolate", inputs, name="lines")
    texts = [text.decode() for text in found["texts"][0]]
    expect(page.locator("#place")).to_be_enabled()
    for place in (0, 8, COUNT - 1):
        page.locator("#place").fill(str(place))
        assert page.locator("#sentence").text_content() == texts[place]
        expect(page.locator("#share")).to_have_text(f"{round(100 * place / (COUNT - 1))}%")
    page.fill("#first", "cats " * 6)
    page.click("#interpolate")
    expect(page.locator("#problem")).to_contain_text("6 words, of which 5 are allowed")
    page.close()
    assert not complaints
