"""What texts cost compressors: the growth of the compressed size, whatever the distance."""

import lzma

import pyppmd
import pytest
import zstandard
from conftest import words
from seeds import derived_seed, generator

from pipeline.baselines import compressors
from pipeline.baselines.compressors import PPMD_ORDERS, ppmd_bytes, xz_bytes, zstd_bytes


@pytest.fixture
def texts():
    text = words(derived_seed("compressors"), 60_000).encode()
    return text[:50_000], text[50_000:]


def growth(size, before, text):
    return size(before + text) - size(before)


def test_costs_are_what_the_compressed_size_grows_by(texts):
    def xz(content):
        return len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME))

    def zstd(content):
        return len(zstandard.ZstdCompressor(level=22).compress(content))

    assert abs(xz_bytes(*texts) - growth(xz, *texts)) <= 4  # its blocks are padded
    assert zstd_bytes(*texts) == pytest.approx(growth(zstd, *texts), rel=0.01)


@pytest.mark.parametrize("order", [PPMD_ORDERS[0], 6, PPMD_ORDERS[-1]])
def test_ppmd_tells_both_sizes_in_one_pass(texts, order):
    def ppmd(content):
        packed = pyppmd.compress(content, max_order=order, mem_size=1 << 26, variant="I")
        assert pyppmd.decompress(packed, max_order=order, mem_size=1 << 26, variant="I") == content
        return len(packed)

    assert abs(ppmd_bytes(*texts, order) - growth(ppmd, *texts)) <= 7


@pytest.mark.parametrize("cost", [xz_bytes, zstd_bytes, lambda *texts: ppmd_bytes(*texts, 6)])
def test_what_was_read_long_before_is_remembered(cost):
    block = generator().bytes(5_000)
    before = block + generator().bytes(700_000)
    assert cost(before, block) < 0.5 * len(block)
    assert cost(before, generator().bytes(5_000)) > 0.9 * len(block)


def test_ppmd_has_memory_for_all_contexts(monkeypatch):
    """It would forget all of them otherwise, without a word."""
    for letters in (2, 20, 256):
        text = bytes(generator().integers(0, letters, 60_000, "uint8"))
        costs = [ppmd_bytes(text, text, order) for order in (4, 16)]
        monkeypatch.setattr(compressors, "PPMD_MEMORY_PER_BYTE", 4000)
        assert [ppmd_bytes(text, text, order) for order in (4, 16)] == costs
        monkeypatch.undo()


def test_the_memory_of_ppmd_is_bounded():
    assert compressors.ppmd_memory(10**9) == 1 << 31
    assert compressors.ppmd_memory(1) == 1 << 20
