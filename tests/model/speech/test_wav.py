"""WAV files: samples equal to those of other readers, and a sentence for each way to be wrong."""

import io
import struct
import subprocess
import wave

import numpy as np
import pytest
import tensorflow as tf
from seeds import generator

from model.errors import InputError
from model.speech.wav import decode_wavs, read_wav, wav_samples
from model.speech.wav_headers import WavLimits, wav_headers
from model.speech.wav_problems import are_valid, describe

LIMITS = WavLimits(8_000, min_samples=200, max_seconds=2)
CONVERT = "; convert it, as by `ffmpeg -i in -ac 1 -ar 8000 -c:a pcm_s16le out.wav`"
AGAIN = "; record or copy it again"


def chunk(name, content):
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def wav_file(samples=1_000, channels=1, rate=8_000, bits=16, kind=1, before=b"", after=b""):
    """A WAV file of random samples."""
    content = generator().integers(0, 256, samples * channels * bits // 8, np.uint8).tobytes()
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", kind, channels, rate, rate * block, block, bits)
    chunks = before + chunk(b"fmt ", fmt) + after + chunk(b"data", content)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def written_by_python(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


NOTE = chunk(b"LIST", b"INFOan odd number of bytes!")


@pytest.mark.parametrize(
    "content",
    [wav_file, lambda: wav_file(after=NOTE), lambda: wav_file() + NOTE],
    ids=["plain", "with a chunk before the samples", "with a chunk behind"],
)
def test_samples_are_those_of_pythons_reader(content):
    content = content()
    with wave.open(io.BytesIO(content)) as file:
        integers = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    (found,) = decode_wavs({"a.wav": content}, LIMITS)
    np.testing.assert_array_equal(found, integers / 2**15)


def test_samples_are_those_of_tensorflow():
    content = wav_file(after=chunk(b"LIST", b"an even number"))
    expected = tf.audio.decode_wav(content).audio.numpy()[:, 0]
    (found,) = decode_wavs({"a.wav": content}, LIMITS)
    np.testing.assert_array_equal(found, expected)


def test_a_batch_is_read_in_a_graph_as_in_memory():
    contents = [wav_file(200), wav_file(1_000, after=NOTE), wav_file(16_000, before=NOTE)]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def read(files):
        headers = wav_headers(files)
        return are_valid(headers, LIMITS), *wav_samples(files, headers)

    valid, values, lengths = read(tf.constant(contents))
    assert valid.numpy().all() and lengths.numpy().tolist() == [200, 1_000, 16_000]
    expected = decode_wavs(dict(zip("abc", contents, strict=True)), LIMITS)
    for row, samples in zip(values.numpy(), expected, strict=True):
        np.testing.assert_array_equal(row[: len(samples)], samples)
        assert not row[len(samples) :].any()


def test_a_file_of_another_writer_is_read(tmp_path):
    samples = generator().integers(-(2**15), 2**15, 500)
    found = read_wav(str(written_by_python(tmp_path / "a.wav", samples)), LIMITS)
    np.testing.assert_array_equal(found, samples / 2**15)


def cut(content, size):
    return content[:size]


WRONG = {
    "empty": (lambda: b"", f"is empty, 0 bytes{AGAIN}"),
    "no audio": (lambda: b"\x89PNG\r\n" * 9, f"is no WAV file: RIFF is not at byte 0{CONVERT}"),
    "another RIFF file": (
        lambda: wav_file().replace(b"WAVE", b"AVI "),
        f"is no WAV file: WAVE is not at byte 8{CONVERT}",
    ),
    "a few bytes": (
        lambda: cut(wav_file(), 9),
        f"is truncated: it ends at byte 9, before its samples{AGAIN}",
    ),
    "half a format": (
        lambda: cut(wav_file(), 30),
        f"is truncated: it ends at byte 30, before its samples{AGAIN}",
    ),
    "half a note": (
        lambda: cut(wav_file(after=NOTE), 50),
        f"is truncated: it ends at byte 50, before its samples{AGAIN}",
    ),
    "no samples' chunk": (
        lambda: cut(wav_file(), 36),
        f"has no chunk of samples from byte 12 to byte 36{CONVERT}",
    ),
    "samples without a format": (
        lambda: wav_file().replace(b"fmt ", b"junk"),
        f"has no format before its samples at byte 44{CONVERT}",
    ),
    "half of the samples": (
        lambda: cut(wav_file(), 1_000),
        f"is truncated: it ends at byte 1000, its samples at byte 2044{AGAIN}",
    ),
    "A-law": (
        lambda: wav_file(bits=8, kind=6),
        f"has samples of format 6 (byte 20), not 1, PCM{CONVERT}",
    ),
    "24 bits": (
        lambda: wav_file(bits=24),
        f"has samples of 24 bits (byte 34), not 16{CONVERT}",
    ),
    "floats behind a note": (
        lambda: wav_file(bits=32, kind=3, before=NOTE),
        f"has samples of format 3 (byte {20 + len(NOTE)}), not 1, PCM{CONVERT}",
    ),
    "stereo": (lambda: wav_file(channels=2), f"has 2 channels (byte 22), not one{CONVERT}"),
    "another rate": (
        lambda: wav_file(rate=44_100),
        f"has 44100 samples per second (byte 24), not 8000{CONVERT}",
    ),
    "half a sample": (
        lambda: wav_file().replace(struct.pack("<I", 2_000), struct.pack("<I", 1_999)),
        f"has 1999 bytes of samples at byte 44, which are 2 each{AGAIN}",
    ),
    "too short": (
        lambda: wav_file(199),
        "has 199 samples at byte 44; record at least 200",
    ),
    "too long": (
        lambda: wav_file(16_001 + 8_000),
        "lasts 3.0 seconds (samples at byte 44), the limit is 2; cut it",
    ),
    "an endless stream": (
        lambda: wav_file().replace(struct.pack("<I", 2_000), b"\xff\xff\xff\xff"),
        f"is truncated: it ends at byte 2044, its samples at byte {2**32 - 1 + 44}{AGAIN}",
    ),
    "a chunk of 4 GiB": (
        lambda: wav_file(before=b"junk\xff\xff\xff\xff"),
        f"is truncated: it ends at byte 2052, before its samples{AGAIN}",
    ),
    "many empty chunks": (
        lambda: wav_file(before=64 * chunk(b"junk", b"")),
        f"has no chunk of samples from byte 12 to byte 524{CONVERT}",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_with_its_place_and_remedy(name):
    content, sentence = WRONG[name]
    with pytest.raises(InputError) as caught:
        decode_wavs({"good.wav": wav_file(), "bad.wav": content()}, LIMITS)
    assert str(caught.value) == f"bad.wav {sentence}"


def test_bytes_of_any_kind_are_described_or_valid():
    """Files cut or changed anywhere never fail in another way; TensorFlow reads what is valid."""
    random = generator()
    whole = wav_file(before=NOTE)
    contents = [whole[:size] for size in random.integers(0, len(whole), 100)]
    for _ in range(400):
        changed = bytearray(whole)
        changed[random.integers(0, 100)] = random.integers(0, 256)
        contents.append(bytes(changed))
    headers = wav_headers(tf.constant(contents))
    valid = are_valid(headers, LIMITS).numpy()
    described = describe(headers, LIMITS).numpy()
    assert 0 < valid.sum() < len(contents)
    assert ((described == b"") == valid).all()
    whole_files = enumerate(np.array(contents, object)[valid])
    for samples in decode_wavs({str(number): content for number, content in whole_files}, LIMITS):
        assert LIMITS.min_samples <= len(samples) <= LIMITS.max_samples


def test_a_file_is_measured_before_it_is_read(tmp_path):
    path = tmp_path / "large.wav"
    subprocess.run(["truncate", "--size=1T", path], check=True)
    with pytest.raises(InputError, match=r"has 1,099,511,627,776 bytes, .* 97,536 at most; cut it"):
        read_wav(str(path), LIMITS)
    with pytest.raises(InputError, match=r"cannot be read \(No such file or directory\); name a"):
        read_wav(str(tmp_path / "none.wav"), LIMITS)
    with pytest.raises(InputError, match="cannot be read"):
        read_wav(str(tmp_path), LIMITS)
