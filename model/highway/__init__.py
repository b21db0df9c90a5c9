"""Recurrent highway networks."""
