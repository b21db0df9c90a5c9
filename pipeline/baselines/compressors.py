"""What a text costs compressors that have read another text before.

A compressor that has read the training text predicts what follows as a model does, and goes on
learning from it. The cost of a text is the growth of the compressed size,
size(before + text) - size(before), so headers do not count.
"""

import lzma

import pyppmd
import zstandard

XZ_SMALLEST_DICTIONARY = 1 << 12
PPMD_ORDERS = range(2, 17)
"""The orders of PPMd; a context has as many bytes."""
PPMD_MEMORY = 1 << 31
"""Most memory of PPMd's model, in bytes. Beyond it the model would start afresh."""
PPMD_MEMORY_PER_BYTE = 128
"""Memory that suffices for a text without repetitions at the highest order; most take a third."""
SMALLEST_MEMORY = 1 << 20


def xz_bytes(before: bytes, text: bytes) -> int:
    """Returns what a text costs `xz -9e`, with a dictionary that covers both texts.

    >>> xz_bytes(b"abc" * 1000, b"abc" * 1000) < 20
    True

    Args:
      before: Text that is compressed before it.
      text: The text.

    Returns:
      The number of bytes.
    """
    both = before + text
    filters = [
        {
            "id": lzma.FILTER_LZMA2,
            "preset": 9 | lzma.PRESET_EXTREME,
            "dict_size": max(1 << len(both).bit_length(), XZ_SMALLEST_DICTIONARY),
        }
    ]

    def size(content: bytes) -> int:
        return len(lzma.compress(content, lzma.FORMAT_XZ, lzma.CHECK_NONE, filters=filters))

    return size(both) - size(before)


def zstd_bytes(before: bytes, text: bytes) -> int:
    """Returns what a text costs `zstd --ultra -22`, with a window that covers both texts.

    >>> zstd_bytes(b"abc" * 1000, b"abc" * 1000) < 20
    True

    Args:
      before: Text that is compressed before it.
      text: The text.

    Returns:
      The number of bytes.
    """
    both = before + text
    parameters = zstandard.ZstdCompressionParameters.from_level(
        22,
        source_size=len(both),
        window_log=max(len(both).bit_length(), zstandard.WINDOWLOG_MIN),
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    return len(compressor.compress(both)) - len(compressor.compress(before))


def ppmd_bytes(before: bytes, text: bytes, order: int) -> int:
    """Returns what a text costs PPMd, variant I, with memory for the contexts of both texts.

    That memory is bounded by `PPMD_MEMORY`; a model that fills it starts afresh. The encoder writes
    as it reads, so one pass tells both sizes, but for the last bytes that its arithmetic coder
    still holds, seven at most.

    >>> ppmd_bytes(b"abc" * 1000, b"abc" * 1000, order=4) < 20
    True

    Args:
      before: Text that is compressed before it.
      text: The text.
      order: Number of bytes of the longest contexts, one of `PPMD_ORDERS`.

    Returns:
      The number of bytes.
    """
    encoder = pyppmd.Ppmd8Encoder(order, ppmd_memory(len(before) + len(text)))
    encoder.encode(before)
    return len(encoder.encode(text))


def ppmd_memory(size: int) -> int:
    """Returns the bytes of memory that PPMd may take for a text of this size, in bytes."""
    return min(max(PPMD_MEMORY_PER_BYTE * size, SMALLEST_MEMORY), PPMD_MEMORY)
