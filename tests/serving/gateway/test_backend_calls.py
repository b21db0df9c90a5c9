"""What the gateway asks a model server for: a backend that answers by itself counts the calls."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2

from serving.gateway.errors import ApiError
from serving.gateway.metrics import Metrics
from serving.gateway.models import Models, ServedModel
from serving.gateway.prefix_cache import BLOCK, PrefixCache, _borders
from serving.gateway.prompt_scores import PromptScorer
from serving.tensors import fill_proto

MODEL = ServedModel("letters", 1, "bytes")


class Backend:
    """A model server whose state is the text that was read, and which counts its calls."""

    def __init__(self):
        self.blocks = []
        self.running = self.most = 0
        self.proceed = asyncio.Event()

    async def predict(self, request, wait_for_ready=False):
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.proceed.wait()
            await asyncio.sleep(0.01)
        finally:
            self.running -= 1
        (prompt,) = request.inputs["prompt"].string_val
        self.blocks.append(bytes(prompt))
        before = request.inputs["state"].string_val if "state" in request.inputs else []
        response = predict_pb2.PredictResponse()
        text = b"".join(before) + bytes(prompt)
        fill_proto(response.outputs["state"], np.array([text], object))
        return response


def read_all(prompts, release):
    """Reads prompts at once; returns the backend, the cache and what was read."""

    async def run():
        backend = Backend()
        cache = PrefixCache(backend, 1 << 20, Metrics())
        tasks = [asyncio.create_task(cache.read(MODEL, prompt)) for prompt in prompts]
        await release(backend)
        return backend, cache, await asyncio.gather(*tasks)

    return asyncio.run(run())


def block(letter):
    return letter * BLOCK


def test_of_a_common_beginning_each_block_is_read_once_and_the_rest_at_once():
    prompts = [block(b"a") + block(b"b") + block(bytes([letter])) * 2 for letter in b"cdefgh"]

    async def release(backend):
        backend.proceed.set()

    backend, _, found = read_all(prompts, release)
    assert sorted(backend.blocks) == sorted(
        [block(b"a"), block(b"b"), *(block(bytes([one])) for one in b"cdefgh" for _ in range(2))]
    )
    for prompt, prefix in zip(prompts, found, strict=True):
        assert prefix.text == prompt
        assert prefix.state.string_val[0] == prompt  # the state is that of its own text
    assert backend.most == len(prompts)


def test_who_shares_nothing_that_is_missing_waits_for_nobody():
    async def run():
        backend = Backend()
        cache = PrefixCache(backend, 1 << 20, Metrics())
        backend.proceed.set()
        await cache.read(MODEL, block(b"a"))
        backend.proceed.clear()
        slow = asyncio.create_task(cache.read(MODEL, block(b"a") + block(b"b")))
        await asyncio.sleep(0)
        known = await asyncio.wait_for(cache.read(MODEL, block(b"a") + b"c"), 10)
        assert known.text == block(b"a") and not slow.done()
        backend.proceed.set()
        assert (await slow).text == block(b"a") + block(b"b")

    asyncio.run(run())


def test_no_block_stands_for_two():
    """A hash of a hash and a block is not that of a block which begins with that hash."""
    first, second = block(b"\xe4"), block(b"b")
    digest = next(iter(_borders(MODEL, first))).key[2]
    joined = digest + second
    keys = {border.key for border in _borders(MODEL, joined + block(b"c"))}
    assert not keys & {border.key for border in _borders(MODEL, first + second)}


def test_an_error_that_several_have_keeps_nothing_of_them():
    async def run():
        models = Models(Versions(), lambda: ["letters"])
        for _ in range(3):
            with pytest.raises(ApiError) as raised:
                await models.get("letters")
        return raised.traceback

    assert sum(frame.name == "get" for frame in asyncio.run(run())) == 1


class Versions:
    """A model server that says which versions it has, slowly, or that it has none."""

    def __init__(self):
        self.calls = 0
        self.fails = True

    async def available_versions(self, name):
        self.calls += 1
        await asyncio.sleep(0.01)
        if self.fails:
            raise ApiError(504, "the model server took too long", grpc_code="DEADLINE_EXCEEDED")
        return [3]

    async def predict(self, request, wait_for_ready=False):
        raise ApiError(
            400, "the vocabulary lacks the character 0xC3", None, None, "INVALID_ARGUMENT"
        )


def test_all_that_wait_for_a_server_that_hangs_have_its_one_answer():
    async def run():
        backend = Versions()
        models = Models(backend, lambda: ["letters"])
        found = await asyncio.gather(
            *(models.get("letters") for _ in range(20)), return_exceptions=True
        )
        assert [one.status for one in found] == [504] * 20
        assert backend.calls == 1
        backend.fails = False
        await asyncio.sleep(1.1)
        assert (await models.get("letters")) == ServedModel("letters", 3, "bytes")

    asyncio.run(run())


def test_names_of_models_may_change():
    async def run():
        names, backend = ["letters"], Versions()
        backend.fails = False
        models = Models(backend, lambda: names)
        with pytest.raises(ApiError, match="there is no model 'digits'; use one of letters"):
            await models.get("digits")
        names[:] = ["digits"]
        assert (await models.get("digits")).version == 3
        with pytest.raises(ApiError, match="there is no model 'letters'"):
            models.require("letters")

    asyncio.run(run())


def test_what_is_no_character_model_is_asked_once_a_second():
    calls = []

    async def available_versions(name):
        return [3]

    async def predict(request, wait_for_ready=False):
        calls.append(request.model_spec.signature_name)
        raise ApiError(
            400, 'Serving signature key "score" not found.', grpc_code="FAILED_PRECONDITION"
        )

    async def run():
        backend = SimpleNamespace(available_versions=available_versions, predict=predict)
        models = Models(backend, lambda: ["letters"])
        for _ in range(5):
            with pytest.raises(ApiError, match="is no character model"):
                await models.get("letters")

    asyncio.run(run())
    assert calls == ["score"]


@pytest.mark.parametrize("max_rows", [32, 64])
def test_alternatives_are_asked_for_in_as_many_rows_as_there_may_be(max_rows):
    """And where one of the requests is refused the others end, and the refusal is the answer."""
    rows, ended = [], []

    async def predict(request, wait_for_ready=False):
        response = predict_pb2.PredictResponse()
        if request.model_spec.signature_name == "score":
            outputs = {"bits_per_character": [1.0], "log_probabilities": [[-np.log(2)] * 160]}
        elif request.inputs["length"].int_val[0]:
            rows.append(len(request.inputs["prompt"].string_val))
            try:
                await asyncio.sleep(0.01 * len(rows))
            finally:
                ended.append(len(rows))
            raise ApiError(429, "busy", grpc_code="RESOURCE_EXHAUSTED")
        else:
            outputs = {
                "text": [b""], "stopped": [False], "characters": [0], "state": [[0.0] * 3],
                "log_probabilities": np.zeros([1, 0]),
                "alternatives": np.zeros([1, 0, 0], object),
                "alternative_log_probabilities": np.zeros([1, 0, 0]),
            }  # fmt: skip
        for name, value in outputs.items():
            fill_proto(response.outputs[name], _as_array(value))
        return response

    async def run():
        backend = SimpleNamespace(predict=predict)
        scorer = PromptScorer(backend, Models(backend, lambda: [MODEL.name]), max_rows)
        with pytest.raises(ApiError) as raised:
            await scorer.tokens(MODEL, b"a" * 160, 1)
        assert raised.value.status == 429

    asyncio.run(run())
    groups = -(-9 // (max_rows // 16))
    assert len(rows) == len(ended) == 1 + groups  # the first block by itself
    assert max(rows) == max_rows and rows[0] == 16


def _as_array(value):
    array = np.array(value)
    if array.dtype.kind in "SO":
        return np.array(value, object)
    return array.astype(np.float32) if array.dtype.kind == "f" else array
