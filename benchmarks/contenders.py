"""The contenders of the benchmark of training steps."""

import importlib
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.problem import Problem, Size

THIS = "this project"
CEILING = "largest product"


class Contender(NamedTuple):
    """One implementation of a training step.

    Attributes:
      name: Name, unique together with the dtype.
      dtype: Dtype of the products.
      module: Name of the module of `benchmarks` that implements it.
      function: Name of a function in that module, which takes size, problem and dtype and returns a
        training step.
      model: "grid" or "stacked" for what it can train; "" for both. Default "".
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
        """The name and the dtype, for people."""
        return f"{self.name}, {self.dtype}"

    def make_step(self, size: Size, problem: Problem) -> Callable[[], float]:
        """Returns the training step, which runs in this process.

        Args:
          size: Size of the network.
          problem: Weights and text.
        """
        module = importlib.import_module(f"benchmarks.{self.module}")
        function = getattr(module, self.function)
        if self.variant is None:
            return function(size, problem, self.dtype)
        from model.execution.planner import Variant  # the peers do not import TensorFlow

        return function(size, problem, Variant(*self.variant))


def contenders(model: str, dtype: str) -> list[Contender]:
    """Returns the contenders for a model: this project, its peers, and the largest product.

    Args:
      model: "grid" or "stacked".
      dtype: Dtype of this project's products, which also runs in float32; peers run in all dtypes
        that they support.
    """
    own_dtypes, both = tuple(dict.fromkeys((dtype, "float32"))), ("float32", "bfloat16")
    table = [
        (THIS, own_dtypes, "this_project.make_step", ""),
        ("TensorFlow XLA, cell by cell", ("float32",), "tensorflow_peers.make_cells", "grid"),
        ("PyTorch, cell by cell", both, "torch_peers.make_cells", "grid"),
        ("PyTorch wavefront", both, "torch_peers.make_wavefront", "grid"),
        ("torch.nn.LSTM", both, "torch_peers.make_lstm", "stacked"),
        ("keras.layers.LSTM", both, "tensorflow_peers.make_keras_lstm", "stacked"),
        ("JAX lax.scan", ("float32",), "jax_peers.make_scan", ""),
        (CEILING, both, "tensorflow_peers.make_ceiling", ""),
    ]
    chosen = []
    for name, dtypes, path, trains in table:
        module, function = path.split(".")
        if trains in ("", model):
            chosen += [
                Contender(name=name, dtype=each, module=module, function=function, model=trains)
                for each in dtypes
            ]
    return chosen
