"""Requests for the signatures of a recognizer of speech."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from serving.client.client import Client
from serving.limits import DEFAULT_GRPC_REQUEST_BYTES, MAX_RECORDINGS
from serving.protocol import to_bytes_array

MAX_BYTES = DEFAULT_GRPC_REQUEST_BYTES // 2
"""Bytes of the recordings of a request, unless a single one has more."""


class Recognized(NamedTuple):
    """What is recognized in a recording.

    Attributes:
      text: The text.
      times: Middle of the frame in which each character begins, in seconds.
      log_probability: ln p of the text given the recording.
    """

    text: str
    times: tuple[float, ...]
    log_probability: float


class AudioFormat(NamedTuple):
    """What recordings must be.

    Attributes:
      sample_rate: Number of samples per second.
      max_seconds: Largest duration, in seconds.
    """

    sample_rate: int
    max_seconds: float


def recognize(client: Client, recordings: Sequence[bytes]) -> list[Recognized]:
    """Recognizes what is said in recordings, as many in each request as it may have.

    Args:
      client: Client of the model.
      recordings: Contents of WAV files, of one channel of 16-bit PCM.

    Raises:
      ServerError: If the server answers with an error, as for a file that is no WAV file.
    """
    found = []
    for part in _requests(recordings, min(MAX_RECORDINGS, client.address.max_rows)):
        outputs = client.call("recognize", {"audio": to_bytes_array(part)})
        rows = (outputs[name] for name in ("text", "times", "log_probability"))
        for text, times, log_probability in zip(*rows, strict=True):
            said = tuple(float(time) for time in times if time >= 0)
            found.append(Recognized(text.decode("utf-8"), said, float(log_probability)))
    return found


def _requests(recordings: Sequence[bytes], most: int) -> Iterator[list[bytes]]:
    """Yields the recordings of each request: as many as it may have, in rows and in bytes.

    Args:
      recordings: The recordings.
      most: Largest number of rows.
    """
    part: list[bytes] = []
    size = 0
    for one in recordings:
        if part and (len(part) == most or size + len(one) > MAX_BYTES):
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one)
    if part:
        yield part


def audio_format(client: Client) -> AudioFormat:
    """Returns what recordings must be.

    Args:
      client: Client of the model.

    Raises:
      ServerError: If the server answers with an error.
    """
    outputs = client.call("spectrogram", {"audio": to_bytes_array([])})
    return AudioFormat(int(outputs["sample_rate"]), float(outputs["max_seconds"]))
