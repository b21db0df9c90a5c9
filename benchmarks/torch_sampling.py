"""A process that samples the network of the load test in PyTorch.

It reads `batch characters` per line from standard input, generates, and answers each line with the
seconds that it took, as JSON.
"""

import argparse
import json
import sys
import time


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    program = "python -m benchmarks.torch_sampling"
    made = argparse.ArgumentParser(
        prog=program,
        description="Sample in PyTorch, as many rows and characters as each line of the input "
        "says.",
        epilog=f"example:\n  echo 1 100 | {program} 2 128 205 float32",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("layers", type=int, help="Number of layers.")
    made.add_argument("units", type=int, help="Width of the layers.")
    made.add_argument("vocabulary", type=int, help="Number of characters.")
    made.add_argument("dtype", choices=["float32", "bfloat16"], help="Dtype of the weights.")
    return made


def main() -> None:
    """Runs the process."""
    arguments = parser().parse_args()
    import torch

    from benchmarks.torch_network import GridLSTM

    net = GridLSTM(arguments.layers, arguments.units, arguments.vocabulary)
    net = net.to(getattr(torch, arguments.dtype)).eval()
    net.generate(1, 2)
    print(json.dumps(0.0), flush=True)
    for line in sys.stdin:
        batch, characters = map(int, line.split())
        start = time.perf_counter()
        net.generate(batch, characters)
        print(json.dumps(time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main()
