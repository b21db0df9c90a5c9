"""Grid LSTM and stacked LSTM character models: the mathematics, the layers and the sampling."""
