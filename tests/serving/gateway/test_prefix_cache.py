"""The states of prompts' beginnings: read once, and the same text with them and without."""

import shutil

import numpy as np
import pytest
from gateways import running_gateway
from seeds import generator
from servers import AVAILABLE, of, own_flags, running, states, wait_until

from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from serving.client import Address, Client, SamplingParams
from serving.gateway.prefix_cache import BLOCK
from serving.graph.export import export

LETTERS = list("abc é\n")


def prompt(size):
    return "".join(generator().choice(LETTERS, size))


def choices(gateway, prompts, **options):
    """The choices of a completion with log-probabilities, of which the seed is always the same."""
    options = {"max_tokens": 40, "seed": 11, "logprobs": 2, **options}
    with gateway.client() as client:
        return client.completions.create(model="letters", prompt=prompts, **options).choices


def counted(gateway, name, label):
    """The value of a counter of the cache."""
    return gateway.metrics().get(f"gateway_{name}_total{{{label}}}", 0.0)


@pytest.fixture(scope="module")
def uncached(server):
    with running_gateway(server.address, "--cache_bytes=0") as gateway:
        yield gateway


def test_texts_are_those_without_the_cache(gateway, uncached):
    beginning = prompt(5 * BLOCK)
    prompts = [beginning + prompt(size) for size in (0, 1, BLOCK - 1, BLOCK, 3 * BLOCK)]
    expected = [choices(uncached, one) for one in prompts]
    read = [choices(gateway, one) for one in prompts]
    found = [choices(gateway, one) for one in prompts]
    assert counted(gateway, "cache_lookups", 'result="hit"') >= 2 * len(prompts) - 1
    for (without,), (first,), (second,) in zip(expected, read, found, strict=True):
        assert second == first
        assert second.text == without.text
        # A matrix product of few rows of 12 numbers rounds differently from one of many.
        np.testing.assert_allclose(
            second.logprobs.token_logprobs, without.logprobs.token_logprobs, rtol=1e-5
        )


def test_a_common_beginning_is_read_once(gateway):
    beginning = "".join(generator().choice(list("abc \n"), 4 * BLOCK))
    before = counted(gateway, "prompt_characters", 'source="model"')
    rows = choices(gateway, [beginning + prompt(20) for _ in range(8)], logprobs=None)
    assert len(rows) == 8
    read = counted(gateway, "prompt_characters", 'source="model"') - before
    assert read == 4 * BLOCK
    hits = counted(gateway, "cache_lookups", 'result="hit"')
    choices(gateway, beginning + "b")
    assert counted(gateway, "cache_lookups", 'result="hit"') == hits + 1


def test_memory_is_bounded_and_a_text_the_same_after_its_states_are_gone(server):
    limit = 5000  # some states of 68 numbers
    with running_gateway(server.address, f"--cache_bytes={limit}") as small:
        first = prompt(6 * BLOCK)
        expected = choices(small, first)
        for _ in range(4):
            choices(small, prompt(6 * BLOCK))
            assert 0 < small.metrics()["gateway_cache_bytes"] <= limit
        assert choices(small, first) == expected


@pytest.mark.slow
def test_states_of_another_version_are_not_used(vocabulary, base_path, tmp_path):
    """Neither after a newer version has come, nor where another has the number of an old one."""
    path = tmp_path / "letters"
    shutil.copytree(base_path / "1", path / "1")
    text = prompt(3 * BLOCK)
    other = CharacterModel(ModelConfig(layers=2, units=12), vocabulary.size)
    for weight in other.weights:
        weight.assign(generator().normal(size=weight.shape))
    poll = own_flags("--file_system_poll_wait_seconds=1")

    def direct(server):
        with Client(Address(server.address, "letters")) as client:
            (text_of_server,) = client.generate([text], 40, SamplingParams(seed=11))
            return text_of_server.text.decode("utf-8", "replace")

    with running(*of(path), *poll) as server, running_gateway(server.address) as gateway:
        old = choices(gateway, text)[0].text
        assert old == direct(server)
        export(other, vocabulary, str(tmp_path / "new"))
        shutil.copytree(tmp_path / "new", path / "2")
        wait_until(lambda: states(server.channel).get(2) == AVAILABLE)
        wait_until(lambda: choices(gateway, text)[0].text == direct(server) != old)
        shutil.rmtree(path / "2")
        shutil.rmtree(path / "1")
        shutil.copytree(tmp_path / "new", path / "1")
        port = server.port
        server.kill()
        with running(*of(path), port=port) as again:
            # Version 1 is another model than the one whose states the cache has.
            assert choices(gateway, text)[0].text == direct(again) != old
