"""The client library and the command line against a real server."""

import asyncio
import json
import shutil
import time

import grpc
import numpy as np
import pytest
from commands import run_module
from conftest import inputs
from servers import of, predict, rest, running
from tensorflow_serving.apis import predict_pb2

from common.errors import UserError
from serving import limits
from serving.client import Address, AsyncClient, Client, SamplingParams, ServerError
from serving.client.launch import free_port
from serving.client.stream import Stream
from serving.protocol import generate_request
from serving.tensors import fill_proto


@pytest.fixture
def address(server):
    return Address(server.address, "letters")


@pytest.mark.slow
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


def test_a_longer_list_is_several_requests(address, server):
    prompts = ["ab"] * (2 * limits.MAX_ROWS + 3)
    params = SamplingParams(seed=2**63 - 70)  # goes on from the smallest number
    with Client(address) as client, Client(address._replace(max_rows=50)) as other:
        texts = client.generate(prompts, 5, params)
        assert [text.text for text in texts] == [t.text for t in other.generate(prompts, 5, params)]
        assert len({text.text for text in texts}) > limits.MAX_ROWS
        (alone,) = client.generate(["ab"], 5, params._replace(seed=-(2**63) + 30))
        assert texts[100].text == alone.text
        assert len(client.score(prompts)) == len(client.embed(prompts)) == len(prompts)
        assert client.generate([], 5) == client.score([]) == [] == client.embed([]).tolist()

    async def together():
        async with AsyncClient(address) as client:
            return await client.generate(prompts, 5, params), await client.score(prompts)

    again, scores = asyncio.run(together())
    assert [text.text for text in again] == [text.text for text in texts]
    assert len(scores) == len(prompts)


def test_a_request_without_rows_is_refused(server):
    with pytest.raises(grpc.RpcError, match="prompt has no rows; give at least one"):
        predict(server.channel, "generate", inputs([]))


@pytest.mark.parametrize("over_rest", [False, True])
def test_a_request_with_too_many_rows_says_how_many_it_may_have(server, over_rest):
    prompts = ["a"] * (limits.MAX_ROWS + 1)
    words = "the request has 65 rows, over the model's limit of 64; send them in several requests"
    if over_rest:
        columns = {"inputs": {"prompt": prompts, "length": [1]}}
        code, said = rest(server, "/v1/models/letters:predict", columns)
        assert code == 400 and words in said["error"]
        return
    with pytest.raises(grpc.RpcError) as refused:
        predict(server.channel, "generate", inputs(prompts))
    assert refused.value.code().name == "INVALID_ARGUMENT" and words in refused.value.details()


def test_a_piece_of_a_stream_has_a_character():
    with pytest.raises(ValueError, match="piece_length is 0; it must be at least 1"):
        Stream("letters", "a", 10, 0, SamplingParams())


def test_what_another_version_reads_is_cut_by_the_characters_of_the_model():
    """A code point of Chinese has three bytes."""
    stream = Stream("letters", "漢" * 9_000, 10, 5, SamplingParams())
    response = predict_pb2.PredictResponse()
    response.model_spec.version.value = 1
    outputs = {
        "text": np.array(["字".encode()], object),
        "log_probabilities": np.zeros([1, 1], np.float32),
        "characters": np.array([1], np.int32),
        "stopped": np.array([False]),
        "alternatives": np.zeros([1, 1, 0], object),
        "alternative_log_probabilities": np.zeros([1, 1, 0], np.float32),
        "state": np.zeros([1, 3], np.float32),
    }
    for name, value in outputs.items():
        fill_proto(response.outputs[name], value)
    stream.advance(response)
    assert stream.retry_with_other_version("NOT_FOUND")
    (read,) = stream.request.inputs["prompt"].string_val
    assert read.decode() == "漢" * 9_000 + "字"


def test_the_metadata_are_those_of_the_version_of_the_address(address):
    with Client(address._replace(version=7)) as client, pytest.raises(ServerError, match="7"):
        client.metadata()


def test_numbers_that_no_input_holds_are_refused():
    for length, params in ((2**31, SamplingParams()), (1, SamplingParams(seed=2**63))):
        with pytest.raises(UserError, match="is no int"):
            generate_request("letters", ["a"], length, params)
    with pytest.raises(UserError, match="is no version of a model"):
        generate_request("letters", ["a"], 1, version=2**63)


@pytest.mark.slow
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
        "serving", "score", "--server", address.server, "--model_name", "letters", "--text", "abc é"
    )
    assert scored.stdout.endswith(" bits per character\n")


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["--prompt", "abz"], "0x7A"),
        (["--stream", "--prompt", "abz"], "0x7A"),
        (["--length", "10001"], "over the limit of 10000"),
        (["--length", "99999999999"], "length 99999999999 is no int32"),
        (["--seed", "9" * 30], "is no int64"),
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


def test_files_of_any_length_are_scored(address, tmp_path):
    long = "abc \u00e9\n" * 3000
    (tmp_path / "long.txt").write_text(long)
    (tmp_path / "short.txt").write_text("abc\n\nccc")
    (tmp_path / "line.txt").write_text("abc\n" + "abc " * 5000 + "\nab")
    server = ("--server", address.server, "--model_name", "letters", "--json")
    done = run_module("serving", "score", *server, tmp_path / "long.txt", tmp_path / "short.txt")
    assert done.returncode == 0, done.stderr
    whole, short = map(json.loads, done.stdout.splitlines())
    assert whole["characters"] == len(long.encode()) and short["characters"] == 8
    with Client(address) as client:
        (expected,) = client.score([long[:3000]])
    assert whole["bits_per_character"] == pytest.approx(expected.bits_per_character, rel=0.02)
    lines = run_module("serving", "score", *server, "--by_line", tmp_path / "short.txt")
    rows = [json.loads(line) for line in lines.stdout.splitlines()]
    assert [(row["line"], row["characters"]) for row in rows] == [(1, 3), (2, 0), (3, 3)]
    assert rows[1]["bits_per_character"] is None
    lines = run_module("serving", "score", *server, "--by_line", tmp_path / "line.txt")
    rows = [json.loads(line) for line in lines.stdout.splitlines()]
    assert [(row["line"], row["characters"]) for row in rows] == [(1, 3), (2, 20_000), (3, 2)]
    missing = run_module("serving", "score", *server, "nowhere.txt")
    assert missing.returncode == 2 and "nowhere.txt cannot be read" in missing.stderr


def test_several_samples_have_seeds_of_their_own(address, tmp_path):
    (tmp_path / "prompt.txt").write_text("ab")
    server = ("--server", address.server, "--model_name", "letters", "--length", "9")
    arguments = ("--prompt_file", tmp_path / "prompt.txt", "--num_samples", "2", "--seed", "5")
    several = run_module("serving", "sample", *server, *arguments).stdout.rstrip("\n")
    alone = [
        run_module("serving", "sample", *server, "--prompt", "ab", "--seed", seed).stdout
        for seed in (5, 6)
    ]
    assert several == "\n\f\n".join(text.removesuffix("\n") for text in alone).rstrip("\n")
    printed = run_module("serving", "sample", *server, *arguments, "--json").stdout
    rows = [json.loads(line) for line in printed.splitlines()]
    assert [(row["prompt"], row["seed"]) for row in rows] == [("ab", 5), ("ab", 6)]
    texts = [row["text"].encode("utf-8", "surrogateescape") for row in rows]
    assert [f"ab{text.decode(errors='replace')}\n" for text in texts] == alone
    refused = run_module("serving", "sample", *server, "--json", "--stream")
    assert refused.returncode == 2 and "give either --stream or --json" in refused.stderr


def test_the_score_of_a_text_is_printed_as_json(address):
    server = ("--server", address.server, "--model_name", "letters", "--text", "abc")
    shown = run_module("serving", "score", *server).stdout
    told = json.loads(run_module("serving", "score", *server, "--json").stdout)
    assert shown == f"{told['bits_per_character']:.4f} bits per character\n"
