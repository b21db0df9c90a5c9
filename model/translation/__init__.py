"""Translation by grids over the words of two sentences."""
