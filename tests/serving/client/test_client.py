"""The client library and the command line against a real server."""

import asyncio
import shutil
import time

import pytest
from commands import run_module
from servers import of, running

from serving.client import Address, AsyncClient, Client, SamplingParams
from serving.client.launch import free_port


@pytest.fixture
def address(server):
    return Address(server.address, "letters")


def test_a_stream_is_the_text_at_once(address):
    params = SamplingParams(temperature=0.9, seed=5, alternatives=2)
    with Client(address) as client:
        (whole,) = client.generate(["abc"], 45, params)
        pieces = list(client.stream("abc", 45, params, piece_length=10))
        assert b"".join(piece.text for piece in pieces) == whole.text
        assert [len(piece.log_probabilities) for piece in pieces] == [1, 10, 10, 10, 10, 4]
        assert all(piece.alternatives.shape[1] == 2 for piece in pieces)
        stopped = list(client.stream("abc", 45, params._replace(stop=whole.text[20:24])))
        assert b"".join(piece.text for piece in stopped) == whole.text[:24]
        assert stopped[-1].stopped


def test_streams_side_by_side_are_those_alone(address):
    async def together():
        async with AsyncClient(address) as client:

            async def text(seed):
                params = SamplingParams(seed=seed)
                return b"".join([piece.text async for piece in client.stream("a", 30, params)])

            scores = await client.score(["abc"])
            return await asyncio.gather(*map(text, range(8))), scores

    texts, scores = asyncio.run(together())
    with Client(address) as client:
        for seed, text in enumerate(texts):
            assert client.generate(["a"], 30, SamplingParams(seed=seed))[0].text == text
        assert client.score(["abc"])[0].bits_per_character == scores[0].bits_per_character


def test_a_stream_outlives_a_new_version_and_a_killed_server(base_path, tmp_path):
    shutil.copytree(base_path / "1", tmp_path / "1")
    with running(*of(tmp_path)) as server, Client(Address(server.address, "letters")) as client:
        pieces = client.stream("ab", 60, piece_length=4)
        read = len(next(pieces).log_probabilities)
        shutil.copytree(base_path / "1", tmp_path / ".2")
        (tmp_path / ".2").rename(tmp_path / "2")
        while client.available_versions() != [2]:
            time.sleep(0.1)
        read += len(next(pieces).log_probabilities)
        server.kill()
        with running(*of(tmp_path), port=server.port):
            assert read + sum(len(piece.log_probabilities) for piece in pieces) == 60


def test_the_command_line_streams_what_it_samples(address):
    ask = ("serving", "sample", "--server", address.server, "--model_name", "letters",
           "--prompt", "abc", "--length", 20, "--seed", 3)  # fmt: skip
    at_once, streamed = run_module(*ask), run_module(*ask, "--stream")
    assert at_once.returncode == 0 and at_once.stdout == streamed.stdout
    assert at_once.stdout.startswith("abc")
    scored = run_module(
        "serving", "score", "--server", address.server, "--model_name", "letters", "abc é"
    )
    assert scored.stdout.endswith(" bits per character\n")


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["--prompt", "abz"], "0x7A"),
        (["--stream", "--prompt", "abz"], "0x7A"),
        (["--length", "10001"], "over the limit of 10000"),
        (["--timeout", "0.0001"], "DEADLINE_EXCEEDED"),
        (["--model_name", "none"], "Servable not found"),
    ],
)
def test_refusals_are_one_line(address, arguments, words):
    names = () if "--model_name" in arguments else ("--model_name", "letters")
    refused = run_module("serving", "sample", "--server", address.server, *names, *arguments)
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert words in refused.stderr


def test_no_server_is_one_line():
    refused = run_module("serving", "sample", "--server", f"127.0.0.1:{free_port()}")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
    assert "no server answers" in refused.stderr
