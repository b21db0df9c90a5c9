"""Text: vocabularies of characters and of words, code points and ids, and normalisation."""
