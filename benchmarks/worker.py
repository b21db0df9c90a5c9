"""A process that runs training steps of one contender.

It reads a number of steps per line from standard input and answers each line with the times of the
steps in seconds, as JSON.
"""

import argparse
import contextlib
import ctypes
import gc
import json
import os
import pathlib
import resource
import sys
import time
from typing import IO, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

LONG_STEP = 60
"""Seconds from which on a step counts as long, and runs without others in memory."""


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line.

    It is not one of Click, whose commands import this project's model, which peers must not.
    """
    program = "python -m benchmarks.worker"
    made = argparse.ArgumentParser(
        prog=program,
        description="Run training steps of one contender, as many as each line of the input says.",
        epilog=f"example:\n  {program} "
        """'["this project", "auto", "this_project", "make_step"]' '["grid", 2, 16, 4, 6]'""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("contender", type=json.loads, help="Fields of a Contender, as a JSON list.")
    made.add_argument("size", type=json.loads, help="Fields of a Size, as a JSON list.")
    return made


def main() -> None:
    """Runs the process."""
    arguments = parser().parse_args()
    with contextlib.suppress(OSError):  # if memory runs out, the kernel kills a contender
        pathlib.Path("/proc/self/oom_score_adj").write_text("1000")
    from benchmarks.contenders import Contender
    from benchmarks.problem import Size, make_problem

    contender = Contender(*arguments.contender)
    size = Size(*arguments.size)
    problem = make_problem(size)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with answers
    start = time.perf_counter()
    step = contender.make_step(size, problem)
    made = time.perf_counter() - start
    start = time.perf_counter()
    loss = step()
    first = time.perf_counter() - start
    usual = first
    if first < LONG_STEP:  # otherwise tracing and compilation are negligible
        start = time.perf_counter()
        step()
        usual = time.perf_counter() - start
    _release_memory()
    _answer(answers, made=made, first=first, usual=usual, loss=loss)
    for line in sys.stdin:
        times = []
        if usual < 1:
            step()  # faults in the memory that was released after the last turn
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        _release_memory()
        _answer(answers, times=times, peak=peak)


def _release_memory() -> None:
    """Returns memory that malloc keeps for the next step to the other contenders."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _answer(file: IO[str], **values: Any) -> None:
    print(json.dumps(values), file=file, flush=True)


if __name__ == "__main__":
    main()
