"""How requests fail."""

import click
import tensorflow as tf

_NAMES = {value: name for name, value in vars(tf.errors).items() if name.isupper()}


class RequestError(Exception):
    """A request that cannot be answered; `code` is the name of a gRPC status code."""

    def __init__(self, code: str, text: str):
        super().__init__(text)
        self.code = code
        self.message = text


def unexpected(error: Exception) -> RequestError:
    """What to tell a client of an error that nobody thought of; the log has its type in a line."""
    click.echo(f"internal error: {type(error).__name__}", err=True)
    return RequestError("INTERNAL", "internal error")


def of_graph(error: tf.errors.OpError) -> RequestError:
    """What a graph refused, in one line, without the nodes that TensorFlow puts around it."""
    lines = [line.strip() for line in error.message.splitlines()]
    assertions = [line for line in lines if "assertion failed" in line]
    plain = [line for line in lines if line and not line.startswith(("[[", "Graph execution"))]
    text = (assertions or plain[-1:] or ["unknown"])[0].split(" [[")[0].strip()
    return RequestError(_NAMES.get(error.error_code, "UNKNOWN"), text)
