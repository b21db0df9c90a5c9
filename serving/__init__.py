"""Everything that answers requests: the exported SavedModel, a server and a client."""
