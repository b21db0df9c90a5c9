"""Initial values: of each layer for itself, and no two variables alike."""

import itertools

import keras
import numpy as np
import pytest

from model.layers.grid_lstm import GridLSTM
from model.layers.grid_lstm_nd import GridLSTMND
from model.layers.grid_lstm_sides import GridLSTMSides
from model.layers.recurrent_highway import RecurrentHighway
from model.layers.stacked_lstm import StackedLSTM
from model.words.character_embedding import CharacterWordEmbedding


@pytest.mark.parametrize("initializer", ["glorot_uniform", "orthogonal"])
@pytest.mark.parametrize("seed", [None, 3])
def test_each_layer_is_initialized_by_itself(initializer, seed):
    """A kernel has the bounds, or the orthogonality, of one layer, however many there are."""
    make = {
        "glorot_uniform": keras.initializers.GlorotUniform,
        "orthogonal": keras.initializers.Orthogonal,
    }[initializer]
    stacked = StackedLSTM(16, 6, kernel_initializer=make(seed=seed))
    grid = GridLSTM(16, 6, recurrent_initializer=make(seed=seed), project_inputs=False)
    stacked.build((None, None, 16))
    grid.build((None, None, 32))
    for kernels in (stacked.kernel, *(one.kernel for one in grid.block_weights)):
        kernels = kernels.numpy()
        assert kernels.shape == (6, 32, 64) and len(np.unique(kernels[:, 0, 0])) == 6
        for kernel in kernels:
            if initializer == "orthogonal":
                np.testing.assert_allclose(kernel @ kernel.T, np.eye(32), atol=1e-5)
            else:
                assert np.abs(kernel).max() == pytest.approx(np.sqrt(6 / 96), rel=0.02)


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("kind", ["uniform", "orthogonal"])
@pytest.mark.parametrize("name", ["grid", "volume", "sides", "stacked", "rhn", "words"])
def test_no_two_variables_begin_alike(name, kind, seed):
    """An initializer of Keras draws the same numbers at each call."""
    make = {
        "uniform": keras.initializers.RandomUniform,
        "orthogonal": keras.initializers.Orthogonal,
    }[kind]
    inputs = {"kernel_initializer": make(seed=seed)}
    both = {**inputs, "recurrent_initializer": make(seed=None if seed is None else seed + 100)}
    layer, shape = {
        "grid": (GridLSTM(6, 2, cells=("lstm_peephole",) * 2, mogrifier_rounds=4, **both), [5]),
        "volume": (GridLSTMND(6, 2, **both), [3, 5]),
        "sides": (GridLSTMSides(6, **both), [5]),
        "stacked": (StackedLSTM(6, 2, cell="lstm_peephole", **inputs), [6]),
        "rhn": (RecurrentHighway(6, depth=2, **inputs), [6]),
        "words": (CharacterWordEmbedding(9, **inputs), []),
    }[name]
    if name == "sides":
        layer.build([(None, 4, 5)] * 2)
    else:
        layer.build((None, None, *shape))
    drawn = [np.array(one) for one in layer.trainable_variables]
    drawn = [one for one in drawn if len(np.unique(one)) > 2]  # no zeros and no ones
    assert len(drawn) >= 2
    # The sizes may differ, and the scale with them: the signs of the first numbers tell.
    for one, two in itertools.combinations(drawn, 2):
        count = min(one.size, two.size)
        if count >= 10:
            assert np.any(np.sign(one.ravel()[:count]) != np.sign(two.ravel()[:count]))
        else:
            assert np.any(one.ravel()[:count] != two.ravel()[:count])
