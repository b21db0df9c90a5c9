"""The progress of long work: a bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import rich.console
import rich.progress

SECONDS_BETWEEN_LINES = 10.0

# Without a terminal, which would set a width, lines are not to be cut off.
console = rich.console.Console(
    highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 240
)
# What a command was asked for; `console` is for what it says of its work, and `-q` silences that.
output = rich.console.Console(
    highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 240
)


def print_warning(text: str) -> None:
    """Prints a warning of one line."""
    console.print(text, style="yellow", markup=False)


def task_bars() -> rich.progress.Progress:
    """Returns bars for the tasks of a benchmark, which are shown beside its output."""
    return rich.progress.Progress(
        *rich.progress.Progress.get_default_columns(),
        console=rich.console.Console(stderr=True),
        disable=console.quiet,
    )


@contextlib.contextmanager
def progress_bar(description: str, unit: str) -> Iterator[Callable[..., None]]:
    """Shows the progress of some work.

    Args:
      description: Name of the work.
      unit: Unit that is counted, in the plural.

    Yields:
      `progress(done, total, note="")`, which may be called as often as one likes; a total of 0
      stands for an unknown one, and the note is shown after the time left.
    """
    if not console.is_terminal:
        yield _lines(description, unit)
        return
    bar = rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TextColumn("{task.fields[rate]}"),
        rich.progress.TimeRemainingColumn(),
        rich.progress.TextColumn("{task.fields[note]}"),
        console=console,
    )
    rate = _Rate()
    with bar:
        task = bar.add_task(description, total=None, rate="", note="")

        def progress(done: int, total: int, note: str = "") -> None:
            speed = _speed(rate(done), unit)
            bar.update(task, completed=done, total=total or None, rate=speed, note=note)

        yield progress


def _lines(description: str, unit: str) -> Callable[..., None]:
    rate = _Rate()
    printed = time.monotonic()

    def progress(done: int, total: int, note: str = "") -> None:
        nonlocal printed
        per_second = rate(done)
        now = time.monotonic()
        if now - printed < SECONDS_BETWEEN_LINES:
            return
        printed = now
        left = f", {(total - done) / per_second:,.0f} s left" if total and per_second else ""
        share = f"{done / total:4.0%} " if total else ""
        console.print(f"{description} {share}{_speed(per_second, unit)}{left}  {note}")

    return progress


def _speed(per_second: float, unit: str) -> str:
    if not per_second:
        return ""
    if per_second >= 1:
        return f"{per_second:,.0f} {unit}/s"
    return f"{60 * per_second:.1f} {unit}/min"


class _Rate:
    """The units per second since the first call, which is not at 0 if work is resumed."""

    def __init__(self) -> None:
        self._start: tuple[float, int] | None = None

    def __call__(self, done: int) -> float:
        now = time.monotonic()
        if self._start is None:
            self._start = now, done
        elapsed = now - self._start[0]
        return (done - self._start[1]) / elapsed if elapsed else 0.0
