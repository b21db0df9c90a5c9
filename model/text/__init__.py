"""Text: the vocabulary, code points and ids, and normalisation."""
