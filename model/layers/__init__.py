"""Keras layers: Grid LSTMs over sequences and over N dimensions, and their rivals."""

import keras

from ..errors import InputError

if keras.backend.backend() != "tensorflow":
    raise InputError(
        f"Keras runs on {keras.backend.backend()!r}, and these layers on TensorFlow alone; set "
        "KERAS_BACKEND=tensorflow before Keras is imported"
    )

from .grid_lstm import GridLSTM
from .grid_lstm_cell import GridLSTMCell
from .grid_lstm_nd import GridLSTMND
from .grid_lstm_sides import GridLSTMSides
from .recurrent_highway import RecurrentHighway
from .stacked_dense import StackedDense
from .stacked_lstm import StackedLSTM

__all__ = [
    "GridLSTM",
    "GridLSTMCell",
    "GridLSTMND",
    "GridLSTMSides",
    "RecurrentHighway",
    "StackedDense",
    "StackedLSTM",
]
