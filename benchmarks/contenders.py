"""Who takes part in a benchmark."""

import importlib
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.problem import Problem, Size

THIS = "this project"
CEILING = "largest product"


class Contender(NamedTuple):
    """One way to train a network.

    Attributes:
      name: for people; unique together with the dtype.
      dtype: of the products.
      module: of `benchmarks`, where it is written.
      function: in that module; takes size, problem and dtype and returns a training step.
      model: "grid" or "stacked", what it can train; "" for both.
      variant: Fields of a `planner.Variant` that the function takes in place of the dtype; None for
        a function that takes the dtype.
    """

    name: str
    dtype: str
    module: str
    function: str
    model: str = ""
    variant: tuple | None = None

    @property
    def label(self) -> str:
        """Name and dtype."""
        return f"{self.name}, {self.dtype}"

    def make_step(self, size: Size, problem: Problem) -> Callable[[], float]:
        """The training step, in this process."""
        module = importlib.import_module(f"benchmarks.{self.module}")
        function = getattr(module, self.function)
        if self.variant is None:
            return function(size, problem, self.dtype)
        from model.execution.planner import Variant  # the peers do not import TensorFlow

        return function(size, problem, Variant(*self.variant))


def contenders(model: str, dtype: str) -> list[Contender]:
    """This project in the given dtype, its peers in all that suit them, and the ceiling."""
    ours = dict.fromkeys((dtype, "float32"))
    table = [
        *((THIS, one, "this_project", "make_step", "") for one in ours),
        (
            "TensorFlow XLA, cell by cell",
            "float32",
            "tensorflow_peers",
            "make_cells",
            "grid",
        ),
        *_in_both("PyTorch, cell by cell", "torch_peers", "make_cells", "grid"),
        *_in_both("PyTorch wavefront", "torch_peers", "make_wavefront", "grid"),
        *_in_both("torch.nn.LSTM", "torch_peers", "make_lstm", "stacked"),
        *_in_both("keras.layers.LSTM", "tensorflow_peers", "make_keras_lstm", "stacked"),
        ("JAX lax.scan", "float32", "jax_peers", "make_scan", ""),
        *_in_both(CEILING, "tensorflow_peers", "make_ceiling", ""),
    ]
    return [one for one in map(Contender._make, table) if one.model in ("", model)]


def _in_both(name, module, function, model):
    return [(name, dtype, module, function, model) for dtype in ("float32", "bfloat16")]
