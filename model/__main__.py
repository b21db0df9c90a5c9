"""`python -m model explain`: how a net of a given size would be executed here, and why."""

import os

import click

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@click.group()
def main():
    """Facts about the model."""


@main.command()
@click.option("--layers", type=click.IntRange(1), default=6, show_default=True)
@click.option("--units", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=50, show_default=True)
@click.option("--window", type=click.IntRange(1), default=50, show_default=True)
@click.option(
    "--execution",
    type=click.Choice(["auto", "wavefront", "reference"]),
    default="auto",
    show_default=True,
)
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
)
@click.option("--device", type=click.Choice(["cpu", "accelerator"]), help="Default: this one's.")
@click.option(
    "--processor",
    type=click.Choice(["amx", "avx512_bf16", "other"]),
    help="What the processor multiplies bfloat16 with. Default: this one's.",
)
def explain(layers, units, batch, window, execution, dtype, device, processor):
    """Print how a 2-D Grid LSTM would be trained, and why."""
    import rich.console
    import rich.table

    from model.config import GridEquations
    from model.execution import choose
    from model.recompute import square_root_piece
    from model.tape import kept_numbers

    plan = choose(units, layers, batch, execution, dtype, device, processor)
    computed, memories = kept_numbers(GridEquations())
    width = 2 if plan.dtype == "bfloat16" else 4
    each = (computed * width + memories * 4) * units
    blocks = window * layers
    if plan.compilation.whole:
        blocks = (window + layers - 1) * min(window, layers)
    piece = square_root_piece(window)
    if plan.execution == "reference":
        compiled = "as the caller compiles it"
    elif plan.compilation.whole:
        compiled = "the whole step, products included, by XLA"
    else:
        compiled = "the gates by XLA; products are oneDNN's"
        if plan.compilation.parts > 1:
            compiled += f"; {plan.compilation.parts} groups of batch rows side by side"
    table = rich.table.Table(show_header=False, box=None)
    table.add_row("execution", plan.execution)
    table.add_row("products", plan.dtype)
    table.add_row("memories, weights", "float32")
    table.add_row("compiled", compiled)
    if plan.execution != "reference":
        table.add_row(
            "kept for the backward pass",
            f"{each * blocks * batch / 1e6:,.0f} MB, {each} bytes for each of {blocks} blocks and "
            f"{batch} rows",
        )
        less = (each * piece + 8 * units * -(-window // piece)) * layers * batch
        table.add_row("", f"{less / 1e6:,.0f} MB with recompute={piece}")
    for number, reason in enumerate(plan.reasons):
        table.add_row("" if number else "because", reason)
    rich.console.Console(soft_wrap=True).print(table)


if __name__ == "__main__":
    main()
