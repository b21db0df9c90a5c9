"""Errors that a server answers with."""

import re

import click
import tensorflow as tf

from serving.messages import plain

_CODE_NAMES = {value: name for name, value in vars(tf.errors).items() if name.isupper()}

_TOO_MANY_ROWS = re.compile(r"Task size (\d+) is larger than maximum input batch size (\d+)")


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
    """Returns the answer to a request that failed in the graph."""
    message = plain(error.message)
    if found := _TOO_MANY_ROWS.search(message):
        message = (
            f"the request has {found[1]} rows, over the model's limit of {found[2]}; send them in "
            "several requests, or push the model with a larger --max_batch_size"
        )
    return RequestError(_CODE_NAMES.get(error.error_code, "UNKNOWN"), message)
