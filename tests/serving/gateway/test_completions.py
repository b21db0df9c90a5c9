"""Completions as the OpenAI API has them, by its own client, against the gRPC client's texts."""

import asyncio

import numpy as np
import openai
import pytest
from gateways import running_gateway
from seeds import generator
from servers import of, running

from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from model.text.code_points import TextVocabulary
from serving.client import Address, Client, SamplingParams
from serving.graph.export import export

LETTERS = "abc é\n"


@pytest.fixture(scope="module")
def code_points(tmp_path_factory):
    """A gateway in front of a model whose characters are code points, and a gRPC client of it."""
    path = tmp_path_factory.mktemp("unicode")
    vocabulary = TextVocabulary.of("unicode", map(ord, "abé€\n"))
    model = CharacterModel(ModelConfig(layers=1, units=8), vocabulary.size)
    export(model, vocabulary, str(path / "1"))
    with (
        running(*of(path)) as server,
        running_gateway(server.address) as gateway,
        Client(Address(server.address, "letters")) as grpc_client,
    ):
        yield gateway, grpc_client


def seed():
    return int(generator().integers(1, 2**62))


def complete(openai_client, prompt, **options):
    return openai_client.completions.create(model="letters", prompt=prompt, **options)


def joined(stream):
    """The text and the last finish reason of a stream of one text."""
    chunks = [chunk.choices[0] for chunk in stream if chunk.choices]
    return "".join(chunk.text for chunk in chunks), chunks[-1].finish_reason


def test_the_text_is_that_of_the_grpc_client(openai_client, grpc_client):
    first = seed()
    params = SamplingParams(temperature=0.7, top_p=0.9, seed=first)
    prompts = ["abc", "é a", ""]
    expected = [text.text for text in grpc_client.generate(prompts, 150, params)]
    answer = complete(
        openai_client, prompts, max_tokens=150, temperature=0.7, top_p=0.9, seed=first
    )
    assert [choice.text for choice in answer.choices] == [
        text.decode("utf-8", "replace") for text in expected
    ]
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    assert answer.usage.prompt_tokens == 3 + 4 + 0  # é is two bytes
    assert answer.usage.completion_tokens == 450
    assert (answer.object, answer.model) == ("text_completion", "letters")


def test_a_stream_is_the_text_at_once(openai_client):
    options = {"max_tokens": 100, "seed": seed(), "stream": True}
    chunks = list(complete(openai_client, "ab", stream_options={"include_usage": True}, **options))
    whole = complete(openai_client, "ab", **{**options, "stream": False}).choices[0]
    assert "".join(c.choices[0].text for c in chunks[:-1]) == whole.text
    assert [c.choices[0].finish_reason for c in chunks[:-1]] == [None] * (len(chunks) - 2) + [
        "length"
    ]
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 100


def test_the_first_character_of_a_stream_comes_at_once(code_points):
    """Of bytes, the first could be a part of a character and wait for the second piece."""
    gateway, _ = code_points
    with gateway.client() as client:
        chunks = complete(client, "ab", max_tokens=100, seed=seed(), stream=True)
        first, second, *_ = (chunk.choices[0].text for chunk in chunks)
    assert len(first) == 1 < len(second)


def test_many_streams_side_by_side_are_those_alone(openai_client, gateway):
    first = seed()

    async def text(other, number):
        stream = await other.completions.create(
            model="letters", prompt="a b", max_tokens=60, seed=first + number, stream=True
        )
        return "".join([chunk.choices[0].text async for chunk in stream])

    async def together():
        async with gateway.async_client() as other:
            return await asyncio.gather(*(text(other, number) for number in range(64)))

    answer = complete(openai_client, "a b", max_tokens=60, seed=first, n=64)
    assert asyncio.run(together()) == [choice.text for choice in answer.choices]
    assert len({choice.text for choice in answer.choices}) > 32


def test_without_a_seed_texts_differ_and_with_the_largest_they_go_on(openai_client, grpc_client):
    texts = {complete(openai_client, "a", max_tokens=30).choices[0].text for _ in range(3)}
    assert len(texts) == 3
    answer = complete(openai_client, "a", max_tokens=9, seed=2**63 - 1, n=2)
    expected = grpc_client.generate(["a", "a"], 9, SamplingParams(seed=2**63 - 1))
    assert [c.text.encode() for c in answer.choices] == [
        text.text.decode("utf-8", "replace").encode() for text in expected
    ]


@pytest.mark.slow
def test_tokens_are_the_characters_of_the_model(openai_client, code_points):
    numbers = list("é b".encode())
    options = {"max_tokens": 20, "seed": seed()}
    texts = [
        choice.text
        for prompt in ("é b", numbers, [numbers])
        for choice in complete(openai_client, prompt, **options).choices
    ]
    assert len(set(texts)) == 1 and len(texts) == 3
    gateway, grpc_client = code_points
    with gateway.client() as other:
        answer = complete(other, [0xE9, 0x20AC], max_tokens=40, seed=5, logprobs=0, echo=True)
        (expected,) = grpc_client.generate(["é€"], 40, SamplingParams(seed=5))
        assert answer.choices[0].text == "é€" + expected.text.decode()
        assert answer.choices[0].logprobs.tokens == list(answer.choices[0].text)
        assert answer.choices[0].logprobs.text_offset == list(range(42))
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (2, 40)
        with pytest.raises(openai.BadRequestError, match="55296 is no token"):
            complete(other, [0xD800])
    with pytest.raises(openai.BadRequestError, match="256 is no token; this model's tokens are b"):
        complete(openai_client, [256])


def test_a_text_ends_before_the_first_of_several_stop_strings(openai_client, grpc_client):
    first = seed()
    (text,) = grpc_client.generate(["abc"], 300, SamplingParams(seed=first))
    whole = text.text
    for _ in range(12):
        cuts = generator().integers(0, 250, 4)
        stops = [whole[at : at + int(generator().integers(1, 40))] for at in cuts]
        stops = [stop.decode("utf-8", "ignore") for stop in stops]
        stops = [stop for stop in stops if stop and stop.encode() in whole]
        if not stops:
            continue
        ends = [whole.find(stop.encode()) + len(stop.encode()) for stop in stops]
        end = min(ends)
        longest = max(len(stop.encode()) for stop, at in zip(stops, ends, strict=True) if at == end)
        expected = whole[: end - longest].decode("utf-8", "replace")
        options = {"max_tokens": 300, "seed": first, "stop": stops}
        answer = complete(openai_client, "abc", **options)
        assert (answer.choices[0].text, answer.choices[0].finish_reason) == (expected, "stop")
        assert answer.usage.completion_tokens == end
        assert joined(complete(openai_client, "abc", stream=True, **options)) == (expected, "stop")


def test_a_stop_string_in_the_prompt_is_no_end(openai_client, grpc_client):
    (text,) = grpc_client.generate(["c\nc"], 40, SamplingParams(seed=3))
    missing = next(one for one in ("cac", "bb\nb", "aaaa") if one.encode() not in text.text)
    answer = complete(openai_client, missing, max_tokens=5, seed=3, stop=missing, echo=True)
    assert answer.choices[0].text.startswith(missing)
    assert answer.choices[0].finish_reason == "length"


def test_log_probabilities_are_those_of_the_signatures(openai_client, grpc_client):
    prompt = "".join(generator().choice(list(LETTERS), 150))
    size = len(prompt.encode())
    answer = complete(openai_client, prompt, max_tokens=30, seed=7, logprobs=2, echo=True)
    choice = answer.choices[0]
    (text,) = grpc_client.generate([prompt], 30, SamplingParams(seed=7, alternatives=2))
    (score,) = grpc_client.score([prompt])
    values = choice.logprobs.token_logprobs
    np.testing.assert_allclose(values[:size], score.log_probabilities, rtol=1e-5)
    np.testing.assert_allclose(values[size:], text.log_probabilities, rtol=1e-5)
    assert choice.text == (prompt.encode() + text.text).decode("utf-8", "replace")
    for position in (0, 1, 17, 64, size - 1):  # the states at the ends of blocks are the text's
        beginning = prompt.encode()[:position]
        (next_one,) = grpc_client.generate([beginning], 1, SamplingParams(alternatives=2))
        likeliest = dict(
            zip(
                next_one.alternatives[0].tolist(),
                next_one.alternative_log_probabilities[0].tolist(),
                strict=True,
            )
        )
        shown = {
            name.replace("bytes:", ""): value
            for name, value in choice.logprobs.top_logprobs[position].items()
        }
        for character, value in likeliest.items():
            name = ascii(character)[2:-1] if character[0] > 127 else character.decode()
            assert shown[name] == pytest.approx(value, abs=1e-5)
        assert len(shown) in (2, 3)
    streamed = list(complete(openai_client, prompt, max_tokens=30, seed=7, logprobs=2, stream=True))
    parts = [value for c in streamed for value in c.choices[0].logprobs.token_logprobs]
    np.testing.assert_allclose(parts, values[size:], rtol=1e-5)


def test_offsets_lead_to_the_characters_of_the_text(openai_client):
    logprobs, text = None, ""
    for number in range(20):  # until a text holds the character of two bytes, whole
        choice = complete(
            openai_client, "é", max_tokens=40, seed=number, logprobs=1, echo=True
        ).choices[0]
        logprobs, text = choice.logprobs, choice.text
        if "é" in text[1:]:
            break
    assert logprobs.tokens[:2] == ["bytes:\\xc3", "bytes:\\xa9"]
    assert logprobs.text_offset[:2] == [0, 0]
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        shown = text[offset]
        assert shown == token if not token.startswith("bytes:") else shown in "é\ufffd"


def test_nothing_to_generate_is_an_answer(openai_client):
    answer = complete(openai_client, ["ab", "c"], max_tokens=0, echo=True)
    assert [choice.text for choice in answer.choices] == ["ab", "c"]
    assert answer.usage.completion_tokens == 0
    assert joined(complete(openai_client, "ab", max_tokens=0, stream=True)) == ("", "length")


def test_temperature_0_and_top_p_0_take_the_likeliest(openai_client, grpc_client):
    (text,) = grpc_client.generate(["ab"], 20, SamplingParams(temperature=0.0))
    expected = text.text.decode("utf-8", "replace")
    assert complete(openai_client, "ab", max_tokens=20, temperature=0).choices[0].text == expected
    assert complete(openai_client, "ab", max_tokens=20, top_p=0).choices[0].text == expected


def test_models_are_listed(openai_client):
    assert [one.id for one in openai_client.models.list()] == ["letters"]
    assert openai_client.models.retrieve("letters").object == "model"
    with pytest.raises(openai.NotFoundError, match="there is no model 'others'"):
        openai_client.models.retrieve("others")
