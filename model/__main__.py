"""`python -m model explain`: how a net of a given size would be executed here, and why."""

from typing import get_args

import click

from model import command_line
from model.config import ComputeType, Device, Execution, GridEquations, Kind, Processor


@click.group(cls=command_line.Commands, context_settings=command_line.CONTEXT)
def commands():
    """Facts about the model."""


@commands.command()
@click.option("--kind", type=click.Choice(get_args(Kind)), default="grid", show_default=True)
@click.option("--layers", type=click.IntRange(1), default=6, show_default=True)
@click.option("--units", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=50, show_default=True)
@click.option("--window", type=click.IntRange(1), default=50, show_default=True)
@click.option(
    "--execution",
    type=click.Choice(get_args(Execution)),
    default="auto",
    show_default=True,
)
@click.option(
    "--dtype",
    type=click.Choice(get_args(ComputeType)),
    default="auto",
    show_default=True,
)
@click.option("--device", type=click.Choice(get_args(Device)), help="Default: this one's.")
@click.option(
    "--processor",
    type=click.Choice(get_args(Processor)),
    help="What the processor multiplies with. Default: this one's.",
)
def explain(kind, layers, units, batch, window, execution, dtype, device, processor):
    """Print how a 2-D Grid LSTM, or a stacked one, would be trained, and why."""
    import rich.console
    import rich.table

    from model.execution import choose

    plan = choose(units, layers, batch, execution, dtype, device, processor, kind=kind)
    table = rich.table.Table(show_header=False, box=None)
    table.add_row("execution", plan.execution)
    table.add_row("products", plan.dtype)
    table.add_row("memories, weights", "float32")
    table.add_row("compiled", _compiled(plan))
    if plan.execution != "reference":
        for name, kept in _kept(plan, kind, layers, units, batch, window):
            table.add_row(name, kept)
    for number, reason in enumerate(plan.reasons):
        table.add_row("" if number else "because", reason)
    rich.console.Console(soft_wrap=True).print(table)


def _compiled(plan):
    if plan.execution == "reference":
        return "as the caller compiles it"
    parts = plan.compilation.parts
    beside = f"; {parts} groups of batch rows side by side" if parts > 1 else ""
    if plan.compilation.whole:
        return f"the whole step, products included, by XLA{beside}"
    return f"the gates by XLA; products are oneDNN's{beside}"


def _kept(plan, kind, layers, units, batch, window):
    """What the forward pass keeps, with and without recomputation."""
    from model.recompute import square_root_piece
    from model.stacked import KEPT_NUMBERS
    from model.tape import kept_numbers

    computed, memories = kept_numbers(GridEquations()) if kind == "grid" else KEPT_NUMBERS
    width = 2 if plan.dtype == "bfloat16" else 4
    each = (computed * width + memories * 4) * units
    blocks = window * layers
    if kind == "grid" and plan.compilation.whole:
        blocks = (window + layers - 1) * min(window, layers)
    yield (
        "kept for the backward pass",
        f"{each * blocks * batch / 1e6:,.0f} MB, {each} bytes for each of {blocks} blocks and "
        f"{batch} rows",
    )
    piece = square_root_piece(window)
    less = (each * piece + 8 * units * -(-window // piece)) * layers * batch
    yield "", f"{less / 1e6:,.0f} MB with recompute={piece}"


if __name__ == "__main__":
    command_line.main(commands)
