"""The requests of the OpenAI API for completions, checked and bounded."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

import pydantic
from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema

from serving.gateway.bounded_model import BoundedModel, at_most
from serving.gateway.characters import encode
from serving.gateway.options import MAX_CHOICES, MAX_NAME, MAX_STOP_BYTES, MAX_STOPS
from serving.limits import MAX_ALTERNATIVES, MAX_LENGTH

Prompt = bytes | list[int]
"""A prompt as a model server takes it, or tokens whose meaning depends on the model."""

_SHAPES = "a string, a list of strings, a list of tokens, or a list of lists of tokens"


def _prompts(value: Any) -> list[Prompt]:
    """Returns the prompts of a request, each a text or a list of tokens."""
    if value is None:
        return [b""]
    if isinstance(value, str):
        return [_text(value)]
    if not isinstance(value, list) or not value:
        raise ValueError(f"is none; give {_SHAPES}")
    if _are_tokens(value):
        return [_bounded(value)]
    if len(value) > MAX_CHOICES:
        raise ValueError(f"has {len(value)} entries; give at most {MAX_CHOICES}")
    if all(isinstance(one, str) for one in value):
        return [_text(one) for one in value]
    if all(isinstance(one, list) and _are_tokens(one) for one in value):
        return [_bounded(one) for one in value]
    raise ValueError(f"is none; give {_SHAPES}")


def _are_tokens(value: list) -> bool:
    return all(type(one) is int for one in value)


def _bounded(tokens: list[int]) -> list[int]:
    if len(tokens) > MAX_LENGTH:
        raise ValueError(f"has {len(tokens)} tokens; give at most {MAX_LENGTH}")
    return tokens


def _text(text: str) -> bytes:
    if len(text) > MAX_LENGTH:
        raise ValueError(f"has {len(text)} characters; give at most {MAX_LENGTH}")
    return encode(text)


def _stops(value: Any) -> list[bytes]:
    """Returns the stop strings of a request."""
    if value is None:
        return []
    strings = [value] if isinstance(value, str) else value
    if not isinstance(strings, list) or not all(isinstance(one, str) for one in strings):
        raise ValueError("is none; give a string, or a list of strings")
    if len(strings) > MAX_STOPS:
        raise ValueError(f"has {len(strings)} strings; give at most {MAX_STOPS}")
    if any(len(one) > MAX_STOP_BYTES for one in strings):
        raise ValueError(f"has a string of more than {MAX_STOP_BYTES} bytes; give a shorter one")
    if not all(strings):
        raise ValueError("has an empty string, which is everywhere; leave it out")
    stops = [encode(one) for one in strings]
    if max(map(len, stops), default=0) > MAX_STOP_BYTES:
        raise ValueError(f"has a string of more than {MAX_STOP_BYTES} bytes; give a shorter one")
    return stops


_PROMPT_SCHEMA = {
    "description": f"Text to continue: {_SHAPES}. A token is a character of the model: a byte, or "
    "a Unicode code point. Without it a text begins from nothing.",
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        {"type": "null"},
    ],
}
_STOP_SCHEMA = {
    "description": f"String, or up to {MAX_STOPS} strings, before the first of which the text "
    "ends.",
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}, "maxItems": MAX_STOPS},
        {"type": "null"},
    ],
}


class StreamOptions(BoundedModel):
    """Options of a stream.

    Attributes:
      include_usage: Whether the last event says how many tokens there were.
    """

    include_usage: bool | None = None
    include_obfuscation: bool | None = Field(default=None, description="Ignored.")


class CompletionRequest(BoundedModel):
    """A request to continue prompts, as the OpenAI API has it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": "stdlib", "prompt": "def ", "max_tokens": 100, "seed": 1}]
        },
    )

    model: str = Field(max_length=MAX_NAME, description="Name of the model.")
    prompt: Annotated[
        list[bytes | list[int]], PlainValidator(_prompts), WithJsonSchema(_PROMPT_SCHEMA)
    ] = Field(default=[b""])
    max_tokens: int = Field(
        default=16, ge=0, le=MAX_LENGTH, description="Number of characters to add."
    )
    temperature: float = Field(
        default=1.0,
        ge=0,
        le=2,
        allow_inf_nan=False,
        description="Divisor of the logits; 0 takes the likeliest character.",
    )
    top_p: float = Field(
        default=1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Probability mass of the likeliest characters to draw from.",
    )
    top_k: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        description="Number of likeliest characters to draw from, 0 for all; the OpenAI API has "
        "no such field.",
    )
    stop: Annotated[list[bytes], PlainValidator(_stops), WithJsonSchema(_STOP_SCHEMA)] = Field(
        default=[]
    )
    seed: int | None = Field(
        default=None,
        ge=-(2**63),
        le=2**63 - 1,
        description="Seed of the first text; text i has `seed + i`. The same seed gives the same "
        "text. Without it a seed is drawn.",
    )
    n: int = Field(default=1, ge=1, le=MAX_CHOICES, description="Number of texts for each prompt.")
    echo: bool = Field(default=False, description="Whether a text begins with its prompt.")
    logprobs: int | None = Field(
        default=None,
        ge=0,
        le=MAX_ALTERNATIVES,
        description="Number of likeliest characters to report at each position.",
    )
    stream: bool = Field(
        default=False, description="Whether to send the text as it comes, as server-sent events."
    )
    stream_options: StreamOptions | None = None
    best_of: int | None = Field(default=None, description="Only the value of `n`.")
    frequency_penalty: float | None = Field(default=None, description="Only 0.")
    presence_penalty: float | None = Field(default=None, description="Only 0.")
    logit_bias: Annotated[dict[str, float] | None, at_most(0)] = Field(
        default=None, description="Only empty."
    )
    suffix: str | None = Field(default=None, max_length=0, description="Only empty.")
    user: str | None = Field(default=None, max_length=1000, description="Ignored.")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, values: Any) -> Any:
        """Gives a field that is null its default, as the API does."""
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}

    @pydantic.field_validator("frequency_penalty", "presence_penalty")
    @classmethod
    def _refuse_penalty(cls, value: float) -> float:
        if value != 0:
            raise ValueError("is not supported; leave it out")
        return value

    @pydantic.model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.best_of is not None and self.best_of != self.n:
            raise ValueError(f"best_of is {self.best_of} and n {self.n}; leave best_of out")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options are for streams; leave them out, or set stream")
        if len(self.prompt) * self.n > MAX_CHOICES:
            raise ValueError(
                f"{len(self.prompt)} prompts times n {self.n} are more than {MAX_CHOICES} texts; "
                "send several requests"
            )
        return self


def problem(errors: Sequence[Any]) -> tuple[str, str | None]:
    """Returns the message of a request that is invalid, and the name of the field at fault.

    Args:
      errors: What pydantic found, of which the first counts.
    """
    first = errors[0]
    names = [str(part) for part in first["loc"] if part != "body"]
    name = ".".join(names)[:MAX_NAME] or None
    if first["type"] == "json_invalid":
        return "the body is not JSON; send a JSON object", None
    if first["type"] == "extra_forbidden":
        return f"unknown field {name}; leave it out", name
    if first["type"] == "missing":
        return f"{name or 'the body'} is missing; give it", name
    message = str(first.get("ctx", {}).get("error", first["msg"]))
    if first["type"] == "value_error":
        return (f"{name} {message}" if name else message), name
    return f"{name or 'the body'}: {message[0].lower()}{message[1:]}", name
