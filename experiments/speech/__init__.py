"""Spoken digits, alone and in a row, by nets over time and frequency."""
