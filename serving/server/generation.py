"""Generation in pieces, between which a request that nobody waits for ends.

The `generate` signature returns all that a text leaves, its state, so that a text in pieces is the
text at once (`serving.client.stream`). The server cuts long texts itself: TensorFlow cannot be told
to stop, as it would stop the rows of other requests in the same batch as well.
"""

import time
from collections.abc import Callable, Mapping

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2

from serving.generate_inputs import GENERATE_INPUTS
from serving.limits import MAX_LENGTH
from serving.server import request_scope

GENERATE = "generate"
"""Name of the signature that can resume a text."""

PIECE_SECONDS = 0.25
"""Time that each piece is to take, for which a client that has gone occupies a thread.

Each piece costs a call of the session, about as much as 20 characters of a small model.
"""

FIRST_LENGTH = 16
"""Characters of each row in the first piece that a version generates."""

_LENGTHS = range(8, 257, 8)  # of pieces; multiples of the chunks in which the graph merges
_LONGEST_FIRST = 64  # the pieces before may have been of other requests, with fewer rows

_INPUTS = {row.name for row in GENERATE_INPUTS}
_BY_POSITION = {"log_probabilities", "alternatives", "alternative_log_probabilities"}
_OUTPUTS = {"text", "characters", "stopped", "state", *_BY_POSITION}

NEEDED = {"characters", "stopped", "state"}
"""Outputs of a piece that the next one needs."""

Arrays = Mapping[str, np.ndarray]


def can_resume(signatures: Mapping[str, meta_graph_pb2.SignatureDef], name: str) -> bool:
    """Returns whether the texts of a signature can be generated in pieces.

    They can by `generate` itself, and by a signature with fewer of its inputs and outputs, whose
    other inputs have the defaults of `generate`.

    Args:
      signatures: SignatureDefs of a model, by name.
      name: Name of the signature.
    """
    generate = signatures.get(GENERATE)
    if generate is None or set(generate.inputs) != _INPUTS or set(generate.outputs) != _OUTPUTS:
        return False
    inputs, outputs = signatures[name].inputs, signatures[name].outputs
    return {"prompt", "length"} <= set(inputs) <= _INPUTS and set(outputs) <= _OUTPUTS


class PieceLength:
    """The length of pieces of texts that take `PIECE_SECONDS`, as those before them did.

    All requests of a version share it: they take turns, so each takes longer where there are many.
    """

    def __init__(self) -> None:
        """Begins with a length that takes no longer with a large model."""
        self._length = FIRST_LENGTH

    @property
    def first(self) -> int:
        """The number of characters of each row in the first piece of a request."""
        return min(self._length, _LONGEST_FIRST)

    def next(self, length: int, seconds: float) -> int:
        """Returns the number of characters of each row in the next piece.

        Args:
          length: The number of characters of each row in the last piece.
          seconds: The time that the last piece took.
        """
        fitting = int(length * PIECE_SECONDS / max(seconds, 1e-9))
        self._length = _LENGTHS[min(max(fitting // _LENGTHS.step, 1), len(_LENGTHS)) - 1]
        return self._length


def is_long(arrays: Arrays, piece: PieceLength) -> bool:
    """Returns whether a request is for more than one piece, and valid as far as that concerns.

    Args:
      arrays: Inputs of the request.
      piece: Length of the pieces.
    """
    lengths, prompts = arrays["length"], arrays["prompt"]
    if lengths.ndim != 1 or prompts.ndim != 1:
        return False
    rows = len(prompts)
    if not rows or len(lengths) not in (1, rows):
        return False
    return bool(lengths.min() >= 0 and piece.first < lengths.max() <= MAX_LENGTH)


def in_pieces(
    generate: Callable[[Arrays], dict[str, np.ndarray]], arrays: Arrays, piece: PieceLength
) -> dict[str, np.ndarray]:
    """Generates texts piece by piece.

    Args:
      generate: Function that runs the `generate` signature, for `NEEDED` and other outputs.
      arrays: Inputs of a request for which `is_long` is true.
      piece: Length of the pieces.

    Returns:
      The same outputs, as one call would return them.

    Raises:
      RequestError: If a piece is refused, the deadline passes, or the client goes.
    """
    rows = len(arrays["prompt"])
    left = np.broadcast_to(arrays["length"], [rows])
    inputs = dict(arrays)
    pieces: list[dict[str, np.ndarray]] = []
    length = piece.first
    while not pieces or left.any():
        request_scope.check()
        inputs["length"] = np.minimum(left, length).astype(np.int32)
        begun = time.perf_counter()
        pieces.append(generate(inputs))
        length = piece.next(int(inputs["length"].max()), time.perf_counter() - begun)
        inputs["prompt"] = np.full([rows], b"", object)
        inputs["state"] = pieces[-1]["state"]
        # Exports of version 1.0 forget that a row has stopped while others go on.
        pieces[-1]["stopped"] |= pieces[-1]["characters"] < inputs["length"]
        left = np.where(pieces[-1]["stopped"], 0, left - inputs["length"])
    return _joined(pieces)


def _joined(pieces: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns the outputs of one call for those of its pieces.

    A row that is complete adds nothing to later pieces, so the columns of all rows line up.
    """
    parts = {name: [piece[name] for piece in pieces] for name in pieces[0]}
    joined = {
        "characters": np.sum(parts["characters"], axis=0, dtype=np.int32),
        "stopped": np.any(parts["stopped"], axis=0),
        "state": parts["state"][-1],
    }
    if "text" in parts:
        texts = zip(*parts["text"], strict=True)
        joined["text"] = np.array([b"".join(text) for text in texts], object)
    for name in parts.keys() & _BY_POSITION:
        joined[name] = np.concatenate(parts[name], axis=1)
    return joined
