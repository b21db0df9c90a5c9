"""Limits of what a request may contain, shared by the graph, the servers and the clients."""

MAX_LENGTH = 10_000
"""Largest number of characters of a prompt or a scored text, and of a generated text."""

MAX_STOP = 16
"""Largest number of characters of a stop string; `model.language_model.sampling` has the same."""

MAX_ALTERNATIVES = 20
"""Largest number of alternatives reported for each generated character."""

MAX_INSPECTED = 1000
"""Largest number of characters of an inspected text."""

MAX_MESSAGE_BYTES = 1 << 30
"""Largest size of a gRPC message or of the body of a REST request, in bytes."""

MAX_ELEMENTS = 2**26
"""Largest number of elements of an input tensor."""

MAX_CONNECTIONS = 5000
"""Largest number of open REST connections; idle ones are closed after two minutes."""
