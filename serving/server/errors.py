"""Errors that a server answers with."""

import click
import tensorflow as tf

_CODE_NAMES = {value: name for name, value in vars(tf.errors).items() if name.isupper()}


class RequestError(Exception):
    """A request that cannot be answered.

    Attributes:
      code: Name of the gRPC status code, such as "INVALID_ARGUMENT".
      message: Message for the client, in one line.
    """

    def __init__(self, code: str, message: str):
        """Stores the name of a gRPC status code and a message."""
        super().__init__(message)
        self.code = code
        self.message = message


def from_unexpected(error: Exception) -> RequestError:
    """Returns the answer to a request that ended in an unexpected error, and logs its type."""
    click.echo(f"internal error: {type(error).__name__}", err=True)
    return RequestError("INTERNAL", "internal error")


def from_op_error(error: tf.errors.OpError) -> RequestError:
    """Returns the answer to a request that failed in the graph.

    Its message is the first failed assertion, or else the last line of the error, without the names
    of nodes that TensorFlow adds.
    """
    lines = [line.strip() for line in error.message.splitlines()]
    assertions = [line for line in lines if "assertion failed" in line]
    plain = [line for line in lines if line and not line.startswith(("[[", "Graph execution"))]
    message = (assertions or plain[-1:] or ["unknown"])[0].split(" [[")[0].strip()
    return RequestError(_CODE_NAMES.get(error.error_code, "UNKNOWN"), message)
