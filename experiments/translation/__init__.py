"""Translation by grids, beside LSTM encoder-decoders."""
