"""Reproductions of the experiments of the Grid LSTM's authors: `python -m experiments`."""
