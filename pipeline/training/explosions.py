"""Losses that are no numbers any more, or beyond all sense."""

import math

from model.errors import InputError


def explosion(loss: float, done: int, norm: float | None = None) -> InputError:
    """Returns the error for a loss that exploded.

    Args:
      loss: Loss, in nats.
      done: Number of steps done.
      norm: Norm of the gradient. Default: that of a validation, which has none.
    """
    gradient = "" if norm is None else f" (gradient norm {norm:.3g})"
    return InputError(
        f"the loss exploded to {loss:.3g} nats{gradient} at step {done}; try a lower "
        "--learning_rate, or --clip_norm 1"
    )


def require_finite(loss: float, done: int, norm: float | None = None) -> float:
    """Returns a loss that is a number.

    Args:
      loss: Loss, in nats.
      done: Number of steps done.
      norm: Norm of the gradient. Default: none.

    Raises:
      InputError: If the loss or the norm is infinite or no number.
    """
    if not math.isfinite(loss) or not (norm is None or math.isfinite(norm)):
        raise explosion(loss, done, norm)
    return loss
