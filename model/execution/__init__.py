"""Execution: how a net is compiled and which plan is the fastest."""
