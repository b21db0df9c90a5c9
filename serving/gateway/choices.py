"""One text of a completion: what of it is sent, and in which form."""

import codecs
from collections.abc import Sequence
from typing import Any, NamedTuple

from model.config import CharacterUnit
from serving.gateway.characters import shown, split
from serving.gateway.stops import StopFilter, Token

_LEAST = -9999.0  # stands for no probability at all, as JSON has no infinity


class Delta(NamedTuple):
    """What is added to a text.

    Attributes:
      text: The characters.
      tokens: The tokens, where log-probabilities are wanted; those of a character of several bytes
        may come before it.
      offsets: Position in the text of the character that each token belongs to.
      alternatives: Number of alternatives to report at each position; None for no
        log-probabilities.
      finish_reason: "stop" or "length" at the end of the text; None before.
    """

    text: str = ""
    tokens: Sequence[Token] = ()
    offsets: Sequence[int] = ()
    alternatives: int | None = None
    finish_reason: str | None = None

    @classmethod
    def join(cls, deltas: Sequence["Delta"]) -> "Delta":
        """Returns what all of some deltas add."""
        return cls(
            text="".join(delta.text for delta in deltas),
            tokens=[token for delta in deltas for token in delta.tokens],
            offsets=[offset for delta in deltas for offset in delta.offsets],
            alternatives=next(
                (one.alternatives for one in deltas if one.alternatives is not None), None
            ),
            finish_reason=deltas[-1].finish_reason if deltas else None,
        )

    def json(self, index: int) -> dict[str, Any]:
        """Returns the JSON values of a choice.

        Args:
          index: Number of the text in the completion.
        """
        return {
            "index": index,
            "text": self.text,
            "logprobs": self._log_probabilities(),
            "finish_reason": self.finish_reason,
        }

    def _log_probabilities(self) -> dict[str, Any] | None:
        count = self.alternatives
        if count is None:
            return None
        return {
            "tokens": [shown(token.character) for token in self.tokens],
            "token_logprobs": [_number(token.log_probability) for token in self.tokens],
            "top_logprobs": [_top(token, count) for token in self.tokens] if count else None,
            "text_offset": list(self.offsets),
        }


def _top(token: Token, count: int) -> dict[str, float]:
    """Returns the likeliest tokens and the token itself, the likeliest first."""
    values = {shown(character): _number(value) for character, value in token.alternatives[:count]}
    values.setdefault(shown(token.character), _number(token.log_probability))
    return values


def _number(value: float) -> float:
    return value if value > _LEAST else _LEAST


class Choice:
    """One text of a completion while it is generated.

    Attributes:
      prompt: The prompt.
      prompt_tokens: Number of tokens of the prompt.
    """

    def __init__(
        self,
        prompt: bytes,
        unit: CharacterUnit,
        stops: Sequence[bytes],
        count: int | None,
    ):
        """Begins a text.

        Args:
          prompt: The prompt.
          unit: What a character is.
          stops: Stop strings.
          count: Number of alternatives to report at each position; None for no log-probabilities.
        """
        self.prompt = prompt
        self._prompt_characters = split(prompt, unit)
        self.prompt_tokens = len(self._prompt_characters)
        self._count = count
        self._filter = StopFilter(stops)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    @property
    def has_stopped(self) -> bool:
        """Whether a stop string has ended the text."""
        return self._filter.has_stopped

    @property
    def generated_tokens(self) -> int:
        """Number of generated tokens, those of the stop string included."""
        return self._filter.read

    def echo(self, tokens: Sequence[Token]) -> Delta:
        """Returns the prompt, with which the text begins; no stop string is searched for in it.

        Args:
          tokens: Its tokens with their log-probabilities; empty where these are not wanted.
        """
        return self._delta(tokens or [Token(one, 0.0) for one in self._prompt_characters])

    def add(self, tokens: Sequence[Token]) -> Delta:
        """Returns what the next tokens add to the text.

        Args:
          tokens: The tokens that the model generated.
        """
        return self._delta(self._filter.feed(tokens))

    def finish(self) -> Delta:
        """Returns what is left at the end of the text."""
        delta = self._delta(self._filter.finish())
        reason = "stop" if self.has_stopped else "length"
        text = delta.text + self._decoder.decode(b"", final=True)
        return delta._replace(text=text, finish_reason=reason)

    def _delta(self, tokens: Sequence[Token]) -> Delta:
        parts, offsets = [], []
        for token in tokens:
            part = self._decoder.decode(token.character)
            pending, _ = self._decoder.getstate()
            begins_character = pending == token.character
            parts.append(part)
            # Where bytes before the token were no UTF-8, the part begins with what stands for them.
            before = len(part) if begins_character else max(len(part) - 1, 0)
            offsets.append(self._offset + before)
            self._offset += len(part)
        if self._count is None:
            return Delta("".join(parts))
        return Delta("".join(parts), list(tokens), offsets, self._count)
