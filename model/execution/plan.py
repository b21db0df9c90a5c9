"""How a net is executed."""

from typing import NamedTuple

from ..config import Execution
from .compilation import Compilation


class Plan(NamedTuple):
    """How a net is executed.

    Attributes:
      execution: "reference" or "wavefront".
      compilation: of the wavefront; `whole` asks the caller to compile the step with XLA.
      dtype: "float32" or "bfloat16", the compute dtype.
      reasons: why, one sentence each.
      recompute: steps of a sequence whose tape is held at once, see `recompute`; 0 for all.
    """

    execution: Execution
    compilation: Compilation
    dtype: str
    reasons: tuple[str, ...]
    recompute: int = 0


PLAIN = Plan("wavefront", Compilation(whole=False, gates=False), "float32", ("no XLA",))
"""What every TensorFlow runs, a stock TensorFlow Serving, which refuses XLA, included."""
