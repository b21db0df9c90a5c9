"""Plots the learning curves of each execution: `python -m benchmarks.learning_curves`."""

import dataclasses
import pathlib

import click
import numpy as np

from common import command_line
from common.commands import TensorFlowCommand
from common.pictures import save_svg
from common.progress import progress_bar
from model.config import ComputeType, Execution
from pipeline.preset_files import load_preset
from pipeline.settings import Settings

EXECUTIONS: tuple[tuple[Execution, ComputeType], ...] = (
    ("reference", "float32"),
    ("wavefront", "float32"),
    ("wavefront", "bfloat16"),
)
SMOOTHED = 20
"""Number of steps of the moving average."""


def learn(
    text: bytes, preset: Settings, execution: Execution, dtype: ComputeType, steps: int
) -> np.ndarray:
    """Returns the loss of every step in nats per character, from the same initial weights.

    Args:
      text: Text to train on.
      preset: Settings of model and training.
      execution: Execution of the net.
      dtype: Dtype of the products.
      steps: Number of steps.
    """
    import tensorflow as tf

    from pipeline.training.learner import Learner

    characters, ids = np.unique(np.frombuffer(text, np.uint8), return_inverse=True)
    config = preset.training
    streams = ids[: len(ids) // config.batch_size * config.batch_size]
    streams = streams.reshape(config.batch_size, -1).astype(np.int32)
    epoch = streams.shape[1] // config.window
    config = dataclasses.replace(config, execution=execution, dtype=dtype)
    strategy = tf.distribute.MirroredStrategy(["cpu:0"])
    learner = Learner(strategy, preset.model, len(characters), config, epoch, steps)
    state, losses = learner.initial_state(), []
    with progress_bar(f"{execution}, {dtype}", "steps") as progress:
        for step in range(steps):
            at = step % epoch * config.window
            window = tf.constant(streams[:, at : at + config.window])
            result, state = learner.train(window, state, tf.constant(step, tf.int64))
            losses.append(float(result.loss))
            progress(step + 1, steps, f"loss {losses[-1]:.3f}")
    return np.array(losses)


def plot(curves: dict[str, np.ndarray], title: str, path: pathlib.Path) -> None:
    """Plots the curves, and their ratios to the first.

    Args:
      curves: Losses of every step, by name.
      title: Title of the plot.
      path: Path of the SVG.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(8, 6), height_ratios=(2, 1), sharex=True, layout="constrained"
    )
    styles = (("#b8bec6", 5.0, "-"), ("#1a6fb5", 1.8, "-"), ("#d9662b", 1.4, (0, (4, 3))))
    kernel = np.ones(SMOOTHED) / SMOOTHED
    smooth = {name: np.convolve(losses, kernel, "valid") for name, losses in curves.items()}
    first = next(iter(smooth.values()))
    for (name, losses), (color, width, dashes) in zip(smooth.items(), styles, strict=True):
        steps = np.arange(len(losses)) + SMOOTHED
        style = {"color": color, "linewidth": width, "linestyle": dashes}
        above.plot(steps, losses, label=name, **style)
        below.plot(steps, 100 * (losses / first - 1), **style)
    above.set_ylabel(f"nats per character, mean of {SMOOTHED} steps")
    above.set_title(title, loc="left", fontsize=10)
    above.legend(frameon=False)
    below.set_ylabel("% off the reference")
    below.set_xlabel("step")
    for panel in (above, below):
        panel.spines[["top", "right"]].set_visible(False)
    save_svg(figure, path, f"Learning curves of {title}, in each execution.")
    pyplot.close(figure)


@click.command(
    cls=TensorFlowCommand, example="python -m benchmarks.learning_curves README.md --steps 200"
)
@click.argument("corpus", type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path))
@click.option(
    "--preset", default="demo", show_default=True, help="Preset of the model and its training."
)
@click.option(
    "--steps",
    type=click.IntRange(SMOOTHED),
    default=500,
    show_default=True,
    help="Number of training steps of each curve.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    default=pathlib.Path("runs/benchmarks/learning_curves.svg"),
    show_default=True,
    help="SVG file for the plot.",
)
def main(corpus: pathlib.Path, preset: str, steps: int, output: pathlib.Path) -> None:
    """Train on CORPUS, a text file, in every execution, and plot the losses."""
    settings, text = load_preset(preset), corpus.read_bytes()
    curves = {
        f"{execution}, {dtype}": learn(text, settings, execution, dtype, steps)
        for execution, dtype in EXECUTIONS
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    model = settings.model
    plot(curves, f"{corpus.name}, {model.architecture} {model.layers}x{model.units}", output)


if __name__ == "__main__":
    command_line.main(main, resumes=False)
