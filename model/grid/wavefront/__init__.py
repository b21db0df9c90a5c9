"""The wavefront: a grid evaluated along its hyperplanes, with a hand-written gradient."""
