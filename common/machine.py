"""A description of the machine that a measurement was made on."""

import contextlib
import os
import pathlib
import platform


def machine() -> str:
    """Returns the processor and its number of cores."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    return f"{os.cpu_count()} x {name}"
