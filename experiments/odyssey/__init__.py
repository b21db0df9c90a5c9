"""The search space odyssey: variants of the LSTM, and the grid, by random search."""
