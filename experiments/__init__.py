"""The experiments of the Grid LSTM's authors, rerun: `python -m experiments`."""
