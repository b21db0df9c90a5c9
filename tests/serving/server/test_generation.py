"""Texts in pieces: how long the pieces are."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import inputs

from serving.base_path import version_paths
from serving.server import generation
from serving.server.generation import FIRST_LENGTH, PIECE_SECONDS, PieceLength
from serving.server.servable import Servable


@pytest.mark.parametrize(
    "length,seconds,following",
    [
        (16, PIECE_SECONDS, 16),
        (16, PIECE_SECONDS / 3, 48),
        (20, PIECE_SECONDS, 16),  # whole chunks, and rather too short
        (64, 100 * PIECE_SECONDS, 8),
        (64, 0.0, 256),
    ],
)
def test_a_piece_is_as_long_as_the_last_ones_pace_allows(length, seconds, following):
    assert PieceLength().next(length, seconds) == following


def test_requests_begin_at_the_pace_of_those_before_them():
    piece = PieceLength()
    assert piece.first == FIRST_LENGTH
    assert piece.next(16, PIECE_SECONDS / 2) == 32
    assert piece.first == 32
    assert piece.next(32, PIECE_SECONDS / 6) == 192
    assert piece.first == 64  # the next request may have more rows
    assert piece.next(192, 24 * PIECE_SECONDS) == 8
    assert piece.first == 8


def test_what_fits_into_the_first_piece_is_not_cut():
    piece = PieceLength()
    arrays = {"prompt": np.array([b"a", b"b"], object), "length": np.array([FIRST_LENGTH, 3])}
    assert not generation.is_long(arrays, piece)
    assert generation.is_long({**arrays, "length": np.array([FIRST_LENGTH + 1])}, piece)
    piece.next(16, PIECE_SECONDS / 2)
    assert not generation.is_long({**arrays, "length": np.array([FIRST_LENGTH + 1])}, piece)


def test_pieces_have_the_outputs_that_are_asked_for_and_no_others(base_path):
    """What is computed and dropped would take memory that is not reserved."""
    (path,) = version_paths(str(base_path)).values()
    observed = []
    servable = Servable(path, "letters", 1, None, lambda *call: observed.append(call))
    call, fetched = servable._call, []

    def record(signature, arrays, outputs):
        fetched.append(set(outputs))
        return call(signature, arrays, outputs)

    servable._call = record
    protos = {name: tf.make_tensor_proto(value) for name, value in inputs(["a", "b"], 40).items()}
    found = servable.predict("generate", protos, ["text"])
    assert set(found) == {"text"} and [len(text) for text in found["text"]] == [40, 40]
    assert len(fetched) > 1 and set(map(frozenset, fetched)) == {
        frozenset({"text", "characters", "stopped", "state"})
    }
    assert len(observed) == 1
    whole = servable.predict("generate", protos, [])
    np.testing.assert_array_equal(whole["text"], found["text"])
    assert whole["log_probabilities"].shape == (2, 40)
