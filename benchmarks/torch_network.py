"""The network of the load test in PyTorch, as users of PyTorch would write it."""

import torch
import torch.nn.functional as F  # noqa: N812  its usual name


class GridLSTM(torch.nn.Module):
    """A 2-D grid with depth prioritised and all weights tied.

    Characters enter the hidden and the memory vectors.
    """

    def __init__(self, layers: int, units: int, vocabulary: int):
        """Initialises the weights at random.

        Args:
          layers: Number of layers.
          units: Width of the layers.
          vocabulary: Number of characters.
        """
        super().__init__()
        self.layers, self.units = layers, units
        self.embedding = torch.nn.Embedding(vocabulary + 1, 2 * units)
        self.time, self.depth = (torch.nn.Linear(2 * units, 4 * units) for _ in range(2))
        self.output = torch.nn.Linear(units, vocabulary)

    def lstm(
        self, linear: torch.nn.Linear, hidden: torch.Tensor, memory: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Computes one LSTM; memories are float32.

        Args:
          linear: Kernel and bias of the gates.
          hidden: Concatenated hidden vectors `[batch, 2 * units]`.
          memory: Memory vectors `[batch, units]`.

        Returns:
          New hidden and memory vectors `[batch, units]`.
        """
        i, f, o, g = linear(hidden).float().chunk(4, dim=-1)
        memory = torch.sigmoid(f) * memory + torch.sigmoid(i) * torch.tanh(g)
        return (torch.sigmoid(o) * torch.tanh(memory)).to(hidden.dtype), memory

    @torch.inference_mode()
    def generate(self, batch: int, characters: int) -> torch.Tensor:
        """Samples characters.

        Args:
          batch: Number of rows.
          characters: Number of characters per row.

        Returns:
          Ids `[batch, characters]`.
        """
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
