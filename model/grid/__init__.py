"""Grids of LSTM blocks as pure functions of tensors."""
