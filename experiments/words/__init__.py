"""Language models over words, with a table of words or from their characters."""
