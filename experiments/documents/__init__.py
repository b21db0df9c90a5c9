"""Language models over documents, which are told the sentence before."""
