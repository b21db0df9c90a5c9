"""Keras layers: Grid LSTMs over sequences and over N dimensions, and the stacked LSTM."""

from .grid_lstm import GridLSTM
from .grid_lstm_cell import GridLSTMCell
from .grid_lstm_nd import GridLSTMND
from .stacked_lstm import StackedLSTM

__all__ = ["GridLSTM", "GridLSTMCell", "GridLSTMND", "StackedLSTM"]
