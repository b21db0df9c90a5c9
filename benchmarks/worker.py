"""A process that runs one contender's training steps when it is told to.

Reads a count of steps per line from standard input and answers each with their times in seconds, as
JSON; ends with its input.
"""

import contextlib
import ctypes
import gc
import json
import os
import pathlib
import resource
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

LONG_STEP = 60  # seconds


def main() -> None:
    """Arguments: a Contender and a Size, as JSON lists."""
    with contextlib.suppress(OSError):  # where memory runs out, a contender has to go
        pathlib.Path("/proc/self/oom_score_adj").write_text("1000")
    from benchmarks.contenders import Contender
    from benchmarks.problem import Size, make_problem

    contender = Contender(*json.loads(sys.argv[1]))
    size = Size(*json.loads(sys.argv[2]))
    problem = make_problem(size)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    begun = time.perf_counter()
    step = contender.make_step(size, problem)
    made = time.perf_counter()
    loss = step()
    first = time.perf_counter() - made
    usual = first
    if first < LONG_STEP:  # else tracing and compiling hardly count
        begun_again = time.perf_counter()
        step()
        usual = time.perf_counter() - begun_again
    _give_back_memory()
    _answer(answers, made=made - begun, first=first, usual=usual, loss=loss)
    for line in sys.stdin:
        times = []
        if usual < 1:
            step()  # touches the memory that was given back after the turn before
        for _ in range(int(line)):
            begun = time.perf_counter()
            step()
            times.append(time.perf_counter() - begun)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        _give_back_memory()
        _answer(answers, times=times, peak=peak)


def _give_back_memory() -> None:
    """What malloc holds for the next step would be missing for the other contenders'."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _answer(file, **values):
    print(json.dumps(values), file=file, flush=True)


if __name__ == "__main__":
    main()
