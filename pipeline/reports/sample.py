"""The text that a run prints at its end, asked of a server as any client would."""

import sys

from common.progress import console
from pipeline import orchestration
from pipeline.store import lineage
from serving.client.launch import running_server
from serving.protocol import Choices


def print_sample(served: orchestration.Served, prompt: str, length: int) -> None:
    """Serves the newest version and prints a text it writes, asked for over gRPC."""
    if not lineage.pushed_versions(served.base_path):
        return
    with running_server(served.model_name, served.base_path) as client:
        (version,) = client.available_versions()
        (text,) = client.generate([prompt], length, Choices(temperature=0.8))
    console.print(f"\n{served.model_name}, version {version}, over gRPC:\n", markup=False)
    sys.stdout.flush()
    sys.stdout.buffer.write(prompt.encode("utf-8", "surrogateescape") + text.text + b"\n")
    sys.stdout.flush()
