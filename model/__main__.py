"""`python -m model explain`: how a net of a given size would be executed here, and why."""

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NoReturn, get_args

from . import __version__, completion
from .config import ComputeType, Device, Execution, InstructionSet
from .errors import InputError
from .language_model.config import Architecture

if TYPE_CHECKING:
    from .execution.plan import Plan


def positive(text: str) -> int:
    """Parses an integer of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


class Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """A formatter that shows defaults, and leaves the lines of an example as they are."""


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Prints the mistake and exits with status 2."""
        self.exit(2, f"error: {message}; see `{self.prog} --help`\n")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    program = f"python -m {__package__}"
    example = f"example:\n  {program} explain --layers 6 --units 1000"
    top = Parser(
        prog=program,
        description="Facts about the model.",
        epilog=example,
        formatter_class=Formatter,
    )
    top.add_argument("--version", action="version", version=f"grid-lstm {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    explain_parser = commands.add_parser(
        "explain",
        help="Print how a Grid LSTM, or a net it is compared with, would be trained, and why.",
        epilog=example,
        formatter_class=Formatter,
    )
    add = explain_parser.add_argument
    add(
        "--architecture",
        choices=get_args(Architecture),
        default="grid",
        help="Architecture of the net.",
    )
    add("--layers", type=positive, default=6, help="Number of layers.")
    add("--units", type=positive, default=1000, help="Width of each hidden and memory vector.")
    add("--batch", type=positive, default=50, help="Number of sequences in a batch.")
    add("--window", type=positive, default=50, help="Number of time steps of a window.")
    add("--execution", choices=get_args(Execution), default="auto", help="Algorithm of the grid.")
    add("--dtype", choices=get_args(ComputeType), default="auto", help="Data type of the products.")
    add("--device", choices=get_args(Device), help="Device to plan for; None for this machine's.")
    add(
        "--instruction_set",
        choices=get_args(InstructionSet),
        help="Instruction set to plan for; None for this machine's.",
    )
    add("--json", action="store_true", help="Print JSON in place of lines.")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line and returns the exit status; a user's mistake is one line and 2."""
    top = parser()
    if completion.answer(top):
        return 0
    options = vars(top.parse_args(arguments))
    if options.pop("command") is None:
        top.print_help()
        return 0
    as_json = options.pop("json")
    try:
        lines = list(explain(**options))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps(_grouped(lines), indent=1))
    else:
        for name, value in lines:
            print(f"{name:<28}{value}")
    return 0


def _grouped(lines: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Returns the values by name; a line without a name goes on with the one before it."""
    values: dict[str, list[str]] = {}
    last = ""
    for name, value in lines:
        last = name or last
        values.setdefault(last, []).append(value)
    return values


def explain(
    architecture: Architecture,
    layers: int,
    units: int,
    batch: int,
    window: int,
    execution: Execution,
    dtype: ComputeType,
    device: Device | None,
    instruction_set: InstructionSet | None,
) -> Iterator[tuple[str, str]]:
    """Yields the lines of `explain`, a name and a value each; the arguments are its options."""
    _import_tensorflow()
    from .execution.planner import choose

    plan = choose(
        units,
        layers,
        batch,
        execution,
        dtype,
        device,
        instruction_set,
        architecture=architecture,
    )
    yield "execution", plan.execution
    yield "products", plan.dtype
    yield "memories, weights", "float32"
    yield "compiled", _describe_compilation(plan)
    if plan.execution == "wavefront":
        yield from _describe_memory(plan, architecture, layers, units, batch, window)
    for number, reason in enumerate(plan.reasons):
        yield "" if number else "because", reason


def _import_tensorflow() -> None:
    """Imports TensorFlow without the notices that it writes to the standard error stream."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = os.dup(2)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _describe_compilation(plan: "Plan") -> str:
    if plan.execution != "wavefront":  # operations of TensorFlow, with no program of their own
        return "as the caller compiles it"
    shards = plan.compilation.batch_shards
    sharded = f"; {shards} shards of the batch side by side" if shards > 1 else ""
    if plan.compilation.jits_step:
        return f"the whole step, products included, by XLA{sharded}"
    return f"the gates by XLA; products are oneDNN's{sharded}"


def _describe_memory(
    plan: "Plan", architecture: Architecture, layers: int, units: int, batch: int, window: int
) -> Iterator[tuple[str, str]]:
    """Yields what the forward pass saves, without and with gradient checkpointing."""
    from .grid.checkpointing import square_root_segment
    from .grid.equations import GridEquations
    from .grid.wavefront.residuals import residual_size
    from .highway.recurrence import residual_size as highway_residual_size
    from .stacked.highway_lstm import HIGHWAY_LSTM
    from .stacked.recurrence import residual_size as stacked_residual_size

    is_grid = architecture == "grid"
    sizes = {
        "grid": residual_size(GridEquations()),
        "rhn": highway_residual_size(depth=1),
        "highway_lstm": stacked_residual_size(HIGHWAY_LSTM),
    }
    computed, memories = sizes.get(architecture, stacked_residual_size())
    width = 2 if plan.dtype == "bfloat16" else 4
    block_bytes = (computed * width + memories * 4) * units
    blocks = window * layers
    if is_grid and plan.compilation.jits_step:
        blocks = (window + layers - 1) * min(window, layers)
    yield (
        "saved for the backward pass",
        f"{block_bytes * blocks * batch / 1e6:,.0f} MB, {block_bytes} bytes for each of {blocks} "
        f"blocks and {batch} rows",
    )
    segment = square_root_segment(window)
    state_layers = 1 if architecture == "rhn" else layers
    boundaries = 8 * units * state_layers * -(-window // segment)
    total = (block_bytes * segment * layers + boundaries) * batch
    yield "", f"{total / 1e6:,.0f} MB with remat_steps={segment}"


if __name__ == "__main__":
    sys.exit(main())
