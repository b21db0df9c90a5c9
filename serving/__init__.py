"""Serving of character models: the exported SavedModel, the embedded server and the clients."""
