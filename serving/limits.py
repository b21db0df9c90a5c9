"""Limits of what a request may contain, shared by the graph, the servers and the clients."""

MAX_LENGTH = 10_000
"""Largest number of characters of a prompt or a scored text, and of a generated text."""

MAX_STOP = 16
"""Largest number of characters of a stop string; `model.language_model.sampling` has the same."""

MAX_ALTERNATIVES = 20
"""Largest number of alternatives reported for each generated character."""

MAX_INSPECTED = 1000
"""Largest number of characters of an inspected text."""

MAX_INSPECTED_VALUES = 2**25
"""Largest number of memories and gates in the answer to an inspection."""

MAX_REQUEST_ROWS = 1024
"""Largest number of texts of a request whatever the size of the batches in the graph."""

MAX_RECORDINGS = 16
"""Largest number of recordings of a request, and of a merged batch."""

MAX_RECORDING_SECONDS = 60
"""Largest duration that a recognizer may be exported for, in seconds."""

MAX_SEARCH_WIDTH = 1024
"""Largest width of the beam search of a recognizer."""

MAX_PIECE_SECONDS = 2.0
"""Largest duration of a piece of a stream, in seconds. Pieces are not merged, so that as many are
computed at once as a server has threads."""

MAX_MESSAGE_BYTES = 1 << 30
"""Largest size of a gRPC message, in bytes: of answers, and of requests to other servers."""

DEFAULT_GRPC_REQUEST_BYTES = 16 << 20
"""Default of the largest size of a gRPC request to the embedded server, in bytes."""

DEFAULT_REST_REQUEST_BYTES = 8 << 20
"""Default of the largest size of the body of a REST request, in bytes."""

DEFAULT_MEMORY_BYTES = 2 << 30
"""Default of the memory that all requests to the embedded server may take together, in bytes."""

MAX_ELEMENTS = 2**26
"""Largest number of elements of an input tensor."""

MAX_REPEATED_ELEMENTS = 1 << 16
"""Largest number of elements of an input tensor that gives fewer values, the last of which stands
for the others."""

MAX_DIMENSIONS = 32
"""Largest number of dimensions of an input tensor. TensorFlow's conversion of strings from NumPy
has room for this many, and ends the process beyond."""

MAX_CONNECTIONS = 5000
"""Largest number of open connections of a kind; fewer where fewer files may be open."""

MAX_VERSION = 2**63 - 1
"""Largest number of a version, as the protocol has int64."""

MAX_ROWS = 64
"""Default of the largest number of rows of a request, that of the batches in the graph."""
