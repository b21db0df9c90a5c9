"""Grid LSTM and stacked LSTM character models: the mathematics, the layers and the sampling."""

import os

# TensorFlow asks this when it is imported, and by itself leaves products to oneDNN only on
# processors with VNNI; nets of 96 units train 1.4 times as fast with it on others, too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
