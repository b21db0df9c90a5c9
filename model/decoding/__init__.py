"""Decoding: all layers at one time step, with kernels packed for it."""
