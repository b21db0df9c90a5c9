"""Cells: the functions that the dimensions of a block apply to their products W H."""
