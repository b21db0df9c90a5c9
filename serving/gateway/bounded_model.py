"""The base of all requests in JSON: what they may hold is bounded before any of it is looked at.

Pydantic describes every field and item that is wrong, and a body may hold a million of them.
"""

from typing import Any

import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict

MAX_FIELDS = 50
"""Largest number of fields of an object."""


class BoundedModel(BaseModel):
    """An object without fields other than its own."""

    model_config = ConfigDict(strict=True, extra="forbid")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _require_few_fields(cls, values: Any) -> Any:
        if isinstance(values, dict) and len(values) > MAX_FIELDS:
            raise ValueError(f"has {len(values)} fields; give at most {MAX_FIELDS}")
        return values


def at_most(count: int) -> BeforeValidator:
    """Returns the check that a mapping has few entries, which is made before any entry is.

    Of lists, `max_length` of a field is checked before their items; of mappings it is not.

    Args:
      count: Largest number of entries.
    """

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > count:
            raise ValueError(f"has {len(value)} entries; give at most {count}")
        return value

    return BeforeValidator(check)
