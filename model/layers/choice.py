"""Chooses how a Keras layer evaluates its grid, where nobody else has."""

from typing import Any

import tensorflow as tf

from ..config import Execution
from ..errors import InputError
from ..execution import planner
from ..execution.compilation import OPERATIONS, is_in_xla
from ..execution.plan import Plan
from ..grid.equations import GridEquations
from ..grid.layerwise import is_layerwise
from ..shapes import is_known


def choose_plan(
    execution: Execution,
    equations: GridEquations,
    extents: tuple[int | tf.Tensor, ...],
    units: int,
    batch: int | None,
    dtype: Any,
    training: bool,
    remat_steps: int,
) -> Plan:
    """Returns a plan that runs wherever the layer is called, and fast on this machine.

    Within an XLA program all is part of it. Outside of one, only training compiles gates by
    themselves: what infers goes into a SavedModel or to a converter, which may know no XLA.

    Args:
      execution: The algorithm that the layer was created with.
      equations: The equations of the blocks.
      extents: The number of blocks along each dimension; a scalar tensor where it is not known.
      units: The width of the vectors.
      batch: The number of batch rows; None where it is not known.
      dtype: The compute dtype.
      training: Whether a gradient will be taken.
      remat_steps: The length of the segments of gradient checkpointing; 0 for none.
    """
    in_xla = is_in_xla()
    # What `tf.vectorized_map` makes of a wavefront of unknown length corrupts memory.
    if execution == "auto" or (execution == "wavefront" and not is_known(extents) and not in_xla):
        execution = _algorithm(equations, extents, bool(training and remat_steps))
    if execution != "wavefront":
        return Plan(execution, OPERATIONS, dtype)
    if not (training or in_xla):
        return Plan(execution, OPERATIONS, dtype)
    layers = extents[-1]
    assert isinstance(layers, int)
    plan = planner.choose(units, layers, batch, execution, dtype, jits_step=in_xla)
    return plan._replace(compilation=plan.compilation._replace(vectorizes=True))


def check_execution(execution: str, remat_steps: int, equations: GridEquations) -> None:
    """Checks that an algorithm evaluates a grid, and computes segments again where it is told to.

    Args:
      execution: The algorithm, or "auto".
      remat_steps: The length of the segments of gradient checkpointing; 0 for none.
      equations: The equations of the blocks.

    Raises:
      InputError: If it does not.
    """
    if execution == "layerwise" and not is_layerwise(equations):
        rounds = f" and mogrifier_rounds {equations.mogrifier_rounds}"
        raise InputError(
            f"execution is 'layerwise', which a grid of {len(equations.cells)} dimensions with "
            f"priority {equations.priority}{rounds * bool(equations.mogrifier_rounds)} cannot do; "
            "use 'auto'"
        )
    if remat_steps and execution in ("layerwise", "reference"):
        raise InputError(
            f"remat_steps is {remat_steps}, and execution {execution!r} keeps all activations; use "
            "'auto', or leave remat_steps out"
        )


def _algorithm(
    equations: GridEquations, extents: tuple[int | tf.Tensor, ...], remat: bool
) -> Execution:
    """Returns the fastest algorithm of those that can evaluate a grid."""
    if remat and len(extents) > 1:
        return "wavefront"
    if len(extents) == 1 or (is_known(extents) and len(extents) == 2 and extents[0] == 1):
        return "reference"  # each hyperplane is one block
    on_accelerator = planner.visible_device() == "accelerator"
    if is_layerwise(equations) and not (on_accelerator and is_known(extents)):
        return "layerwise"
    return "wavefront" if is_known(extents) else "reference"
