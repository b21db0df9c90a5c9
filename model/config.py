"""Names of the options that layers and models share, and checks of their values.

Nothing here needs TensorFlow, so that command lines can list the options without importing it.
"""

import numbers
from typing import Literal, get_args

from .errors import InputError

CharacterUnit = Literal["bytes", "unicode"]
OutputEquation = Literal["o*tanh(m)", "tanh(o*m)"]
Tied = Literal["none", "depth", "all"]
Connection = Literal["plain", "residual", "highway"]
DenseConnection = Literal["highway", "highway_layerwise", "residual", "plain"]
Execution = Literal["auto", "reference", "layerwise", "wavefront"]
ComputeType = Literal["auto", "float32", "bfloat16"]
Precision = Literal["float32", "bfloat16", "int8"]
Device = Literal["cpu", "accelerator"]
InstructionSet = Literal["amx", "avx512_bf16", "avx512", "other"]


def require_one_of(name: str, value: object, choices: object) -> None:
    """Checks that a value is one of those of a `Literal` type.

    Args:
      name: The name of the argument, for the message.
      value: The value of the argument.
      choices: The `Literal` type.

    Raises:
      InputError: If it is not.
    """
    choices = get_args(choices)
    if value not in choices:
        raise InputError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, choices))}")


def require_range(name: str, value: float, least: float, below: float) -> None:
    """Checks that least <= value < below.

    Args:
      name: The name of the argument, for the message.
      value: The value of the argument.
      least: The smallest valid value.
      below: The bound that the value must not reach.

    Raises:
      InputError: If the value is out of range.
    """
    if not least <= value < below:
        raise InputError(f"{name} is {value}; it must be at least {least} and below {below}")


def require_integer(name: str, value: object, least: int) -> int:
    """Checks that a value is an integer of at least `least`, and returns it as an `int`.

    Args:
      name: The name of the argument, for the message.
      value: The value of the argument, an integer of Python or of NumPy.
      least: The smallest valid value.

    Raises:
      InputError: If it is not.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise InputError(f"{name} is {value!r}; it must be an integer of at least {least}")
    return int(value)
