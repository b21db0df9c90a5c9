"""Language models over words, whose inputs are a table of words or their characters."""
