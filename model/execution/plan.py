"""The execution plan of a net: algorithm, compilation and data type."""

from typing import NamedTuple

from ..config import Execution
from .compilation import Compilation


class Plan(NamedTuple):
    """How a net is executed.

    Attributes:
      execution: The algorithm of a grid: "reference", "layerwise" or "wavefront".
      compilation: How it is compiled; its `jit` "step" asks the caller to compile the whole step.
      dtype: The compute dtype, "float32" or "bfloat16".
      reasons: Why the plan is as it is, one sentence each.
      remat_steps: The length, in time steps, of the segments whose activations the backward pass
        computes again (gradient checkpointing); 0 to store all. See `grid.checkpointing`.
    """

    execution: Execution
    compilation: Compilation
    dtype: str
    reasons: tuple[str, ...] = ()
    remat_steps: int = 0


PLAIN = Plan(
    execution="wavefront",
    compilation=Compilation(jit="none"),
    dtype="float32",
    reasons=("no XLA",),
)
"""The plan that every TensorFlow runs, also a stock TensorFlow Serving, which refuses XLA."""
