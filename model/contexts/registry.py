"""The registry of contexts, and the names by which a configuration chooses them.

Nothing here needs TensorFlow: a context is imported when a model is made.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..errors import InputError, nearest
from ..text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from .context import Context

MAX_SIZE = 4096
"""The largest size of a context."""

SIZES: dict[str, tuple[int, int]] = {
    "ngrams": (2, 8),
    "sentence": (0, 0),
    "document": (0, 0),
    "sentence_input": (0, 0),
    "sentence_output": (0, 0),
    "sentence_attention": (1, 256),
}
"""The smallest and the largest size of a context, 1 and `MAX_SIZE` for others; 0 for those without
a size."""

STEP_BY_STEP = ("sentence", "document")
"""What the names of contexts begin with that observe the core, so that it runs step by step."""


def _latent() -> "type[Context]":
    from .latent import LatentContext

    return LatentContext


def _ngrams() -> "type[Context]":
    from .ngrams import NgramContext

    return NgramContext


def _output() -> "type[Context]":
    from .output_conditioned import OutputContext

    return OutputContext


def _sentence() -> "type[Context]":
    from .sentences import SentenceContext

    return SentenceContext


def _document() -> "type[Context]":
    from .sentences import DocumentContext

    return DocumentContext


def _sentence_input() -> "type[Context]":
    from .sentences import SentenceInputContext

    return SentenceInputContext


def _sentence_output() -> "type[Context]":
    from .sentences import SentenceOutputContext

    return SentenceOutputContext


def _sentence_attention() -> "type[Context]":
    from .sentence_attention import SentenceAttentionContext

    return SentenceAttentionContext


def _sentence_net() -> "type[Context]":
    from .sentence_net import SentenceNetContext

    return SentenceNetContext


def _word() -> "type[Context]":
    from .word_conditioned import WordContext

    return WordContext


CONTEXTS: dict[str, Callable[[], "type[Context]"]] = {
    "latent": _latent,
    "ngrams": _ngrams,
    "output": _output,
    "word": _word,
    "sentence": _sentence,
    "document": _document,
    "sentence_input": _sentence_input,
    "sentence_output": _sentence_output,
    "sentence_attention": _sentence_attention,
    "sentence_net": _sentence_net,
}
"""The functions that import the class of a context."""


def parse_context(text: str) -> tuple[str, int]:
    """Returns the name of a context and its size, 0 for the size that it has by default.

    >>> parse_context("word:64")
    ('word', 64)

    Args:
      text: The name, or the name, a colon and the size.

    Raises:
      InputError: If there is no such context, it has no size, or the size is no number from the
        smallest to the largest.
    """
    name, colon, size = text.partition(":")
    if name not in CONTEXTS:
        raise InputError(f"contexts names {name!r}, which is no context{nearest(name, CONTEXTS)}")
    if not colon:
        return name, 0
    least, most = SIZES.get(name, (1, MAX_SIZE))
    if not most:
        raise InputError(
            f"contexts gives {name} the size {size!r}, and it has none; leave it out, as in {name}"
        )
    is_number = size.isascii() and size.isdigit() and len(size) < 10
    if not is_number or not least <= int(size) <= most:
        raise InputError(
            f"contexts gives {name} the size {size!r}; it must be a number from {least} to "
            f"{most}, as in {name}:{min(most, 64)}"
        )
    return name, int(size)


def check_contexts(contexts: Iterable[str]) -> None:
    """Checks what a configuration says of contexts.

    Args:
      contexts: The contexts, as `parse_context` takes them.

    Raises:
      InputError: If one is unknown, or named twice.
    """
    names = [parse_context(text)[0] for text in contexts]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"contexts names {name!r} {names.count(name)} times; name it once")
    waiting = [name for name in names if name.startswith(STEP_BY_STEP)]
    if "word" in names and waiting:
        # The loop over steps has no place for the loss of words.
        raise InputError(
            f"contexts names 'word' and {waiting[0]!r}, with which a model is trained step by "
            "step; leave out one of them"
        )


def check_vocabulary(contexts: Iterable[str], vocabulary: Vocabulary) -> None:
    """Checks that contexts can be had from texts of a vocabulary alone.

    Args:
      contexts: The contexts, as `parse_context` takes them.
      vocabulary: The vocabulary of the text.

    Raises:
      InputError: If it lacks characters that they need, or one is given from outside.
    """
    for text in contexts:
        name, _ = parse_context(text)
        context = CONTEXTS[name]()
        if context.is_given:
            raise InputError(
                f"contexts names {name!r}, which a text alone does not give; leave it out, as "
                "only a `SentenceModel` has what gives it"
            )
        context.check_vocabulary(vocabulary)
