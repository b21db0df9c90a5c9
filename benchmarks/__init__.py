"""Benchmarks of this project beside its peers, as ratios within one run."""
