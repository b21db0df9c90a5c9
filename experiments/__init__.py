"""Experiments from the literature on Grid LSTM: `python -m experiments`."""
