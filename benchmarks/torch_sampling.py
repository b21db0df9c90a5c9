"""Sampling the same network in PyTorch, as its own users write it; a process of its own.

Reads `batch characters` per line from standard input, generates, and answers each with the seconds
it took, as JSON; ends with its input.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F  # noqa: N812  its usual name


class GridLSTM(torch.nn.Module):
    """2-D, depth prioritised, all weights tied, characters entering hidden and memory vectors."""

    def __init__(self, layers: int, units: int, vocabulary: int):
        super().__init__()
        self.layers, self.units = layers, units
        self.embedding = torch.nn.Embedding(vocabulary + 1, 2 * units)
        self.time, self.depth = (torch.nn.Linear(2 * units, 4 * units) for _ in range(2))
        self.output = torch.nn.Linear(units, vocabulary)

    def lstm(self, linear, hidden, memory):
        """One LSTM; memories stay in float32."""
        i, f, o, g = linear(hidden).float().chunk(4, dim=-1)
        memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        return (torch.sigmoid(o) * torch.tanh(memory)).to(hidden.dtype), memory

    @torch.inference_mode()
    def generate(self, batch: int, characters: int) -> torch.Tensor:
        """Draws characters one after the other."""
        dtype = self.time.weight.dtype
        hidden = [torch.zeros(batch, self.units, dtype=dtype)] * self.layers
        memory = [torch.zeros(batch, self.units)] * self.layers
        ids = torch.full([batch], self.output.out_features)
        drawn = []
        for _ in range(characters):
            below, below_memory = self.embedding(ids).chunk(2, dim=-1)
            below_memory = below_memory.float()
            for layer in range(self.layers):
                hidden[layer], memory[layer] = self.lstm(
                    self.time, torch.cat([hidden[layer], below], dim=-1), memory[layer]
                )
                below, below_memory = self.lstm(
                    self.depth, torch.cat([hidden[layer], below], dim=-1), below_memory
                )
            probabilities = F.softmax(self.output(below).float(), dim=-1)
            ids = torch.multinomial(probabilities, 1)[:, 0]
            drawn.append(ids)
        return torch.stack(drawn, dim=1)


def main() -> None:
    """Arguments: layers, units, vocabulary size and dtype."""
    *sizes, dtype = sys.argv[1:]
    net = GridLSTM(*map(int, sizes)).to(getattr(torch, dtype)).eval()
    net.generate(1, 2)
    print(json.dumps(0.0), flush=True)
    for line in sys.stdin:
        batch, characters = map(int, line.split())
        begun = time.perf_counter()
        net.generate(batch, characters)
        print(json.dumps(time.perf_counter() - begun), flush=True)


if __name__ == "__main__":
    main()
