"""The sizes of an experiment."""

from typing import Literal

Scale = Literal["tiny", "small", "full"]
