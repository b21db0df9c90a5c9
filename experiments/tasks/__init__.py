"""Nets that Keras fits to tasks: parity, addition, memorisation, images and lines of code."""
