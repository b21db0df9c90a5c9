"""The stacked LSTM, the baseline of the Grid LSTM, as a function of tensors."""
