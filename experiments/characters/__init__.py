"""Character models: cores, depths, contexts and regularisation compared on texts."""
