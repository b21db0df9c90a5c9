"""Contexts: what a character model is told besides the last character."""
