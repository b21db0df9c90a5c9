"""The scales at which an experiment can run."""

from typing import Literal

Scale = Literal["tiny", "small", "full"]
