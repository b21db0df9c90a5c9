"""Messages of errors in the graph, without what TensorFlow adds to them."""

import re

_ASSERTION = re.compile(r"assertion failed: \[(.*?)\](?:\s*\[\[|\s*$)", re.DOTALL)
_ESCAPE = re.compile(r"\\([\\'\"])")


def plain(message: str) -> str:
    """Returns the sentence that a check of the graph failed with.

    Of an error that no check has raised this is the last line that names no node.

    Example:

      >>> plain("Graph execution error: assertion failed: [length -1 is negative] [[{{n}}]]")
      'length -1 is negative'

    Args:
      message: Message of an error that TensorFlow raised.
    """
    if found := _ASSERTION.search(message):
        return _ESCAPE.sub(r"\1", found[1])
    lines = [line.strip() for line in message.splitlines()]
    told = [line for line in lines if line and not line.startswith(("[[", "Graph execution"))]
    return told[-1].split(" [[")[0].strip() if told else "unknown error"
