"""The networks in PyTorch: as most users would write them, and hand-optimised."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.utils.checkpoint

from benchmarks.problem import CLIP_VALUE, LEARNING_RATE, RHO, Problem, Size, pieces


def _parameters(problem: Problem) -> list[torch.nn.Parameter]:
    values = (*problem.kernels, *problem.biases, *problem[2:5])
    return [torch.nn.Parameter(torch.from_numpy(value)) for value in values]


def _training_step(
    parameters: list[torch.nn.Parameter],
    loss_of: Callable[[torch.Tensor], torch.Tensor],
    ids: np.ndarray,
    dtype: str,
) -> Callable[[], float]:
    """Returns a function that takes one step of RMSprop and returns the loss."""
    optimizer = torch.optim.RMSprop(parameters, lr=LEARNING_RATE, alpha=RHO, foreach=True)
    characters = torch.from_numpy(ids).long()

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = loss_of(characters)
        loss.backward()
        torch.nn.utils.clip_grad_value_(parameters, CLIP_VALUE, foreach=True)
        optimizer.step()
        return loss.item()

    return step


def _cross_entropy(
    outputs: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor, ids: torch.Tensor
) -> torch.Tensor:
    logits = (outputs @ kernel).float() + bias
    return torch.nn.functional.cross_entropy(logits, ids[:, 1:].t().reshape(-1))


def make_cells(size: Size, problem: Problem, dtype: str) -> Callable[[], float]:
    """Returns a training step with loops over time and layers, autograd, and autocast for bfloat16.

    Args:
      size: Size of the network.
      problem: Weights and text.
      dtype: Dtype of the products.
    """
    parameters = _parameters(problem)
    time_kernel, depth_kernel, time_bias, depth_bias, embedding, output_kernel, output_bias = (
        parameters
    )
    units = size.units

    def lstm(
        hidden: torch.Tensor, memory: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        gates = torch.addmm(bias, hidden, kernel)
        i, f, o = gates[:, : 3 * units].sigmoid().chunk(3, 1)
        memory = f * memory + i * gates[:, 3 * units :].tanh()
        return o * memory.tanh(), memory

    def loss_of(ids: torch.Tensor) -> torch.Tensor:
        read = embedding[ids[:, :-1].t()]
        hiddens = [torch.zeros(size.batch, units)] * size.layers
        memories = list(hiddens)
        outputs = []
        for step in range(size.window):
            hidden, memory = read[step].chunk(2, 1)
            for layer in range(size.layers):
                h_concat = torch.cat([hiddens[layer], hidden], 1)
                hiddens[layer], memories[layer] = lstm(
                    h_concat, memories[layer], time_kernel, time_bias
                )
                h_concat = torch.cat([hiddens[layer], hidden], 1)
                hidden, memory = lstm(h_concat, memory, depth_kernel, depth_bias)
            outputs.append(hidden)
        return _cross_entropy(torch.cat(outputs), output_kernel, output_bias, ids)

    return _training_step(parameters, loss_of, problem.ids, dtype)


def make_wavefront(size: Size, problem: Problem, dtype: str) -> Callable[[], float]:
    """Returns a hand-optimised training step with the schedule of this project.

    It computes anti-diagonals without rows outside of the grid, casts kernels once per step and
    gates in place where possible; in its hand-written gradient, each weight's is one product.

    Args:
      size: Size of the network.
      problem: Weights and text.
      dtype: Dtype of the products.
    """
    parameters = _parameters(problem)
    *weights, embedding, output_kernel, output_bias = parameters
    compute = getattr(torch, dtype)
    piece = size.window // pieces(size)

    def run(read: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden, memory = read.chunk(2, 1)
        return _Wavefront.apply(size.batch, hidden.to(compute), memory, *state, *weights)

    def loss_of(ids: torch.Tensor) -> torch.Tensor:
        rows = size.layers * size.batch
        state = [torch.zeros(rows, size.units, dtype=compute), torch.zeros(rows, size.units)]
        with torch.autocast("cpu", enabled=False):
            read = embedding[ids[:, :-1].t().reshape(-1)].split(piece * size.batch)
            outputs = []
            for part in read:
                if len(read) == 1:
                    top, *state = run(part, *state)
                else:
                    top, *state = torch.utils.checkpoint.checkpoint(
                        run, part, *state, use_reentrant=False
                    )
                outputs.append(top)
            logits = torch.cat(outputs) @ output_kernel.to(compute)
        return torch.nn.functional.cross_entropy(
            logits.float() + output_bias, ids[:, 1:].t().reshape(-1)
        )

    return _training_step(parameters, loss_of, problem.ids, dtype)


class _Wavefront(torch.autograd.Function):
    """Computes all blocks of a grid; rows are (layer, batch row)."""

    @staticmethod
    def forward(
        ctx: Any,
        batch: int,
        hidden: torch.Tensor,
        memory: torch.Tensor,
        time_hidden: torch.Tensor,
        time_memory: torch.Tensor,
        time_kernel: torch.Tensor,
        depth_kernel: torch.Tensor,
        time_bias: torch.Tensor,
        depth_bias: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        layers, steps = len(time_hidden) // batch, len(hidden) // batch
        dtype = hidden.dtype
        kernels = time_kernel.to(dtype), depth_kernel.to(dtype)
        biases = time_bias.to(dtype), depth_bias.to(dtype)
        time_hidden, time_memory = time_hidden.clone(), time_memory.clone()
        depth_hidden, depth_memory = time_hidden[:0], time_memory[:0]
        residuals, outputs = [], []
        for diagonal in range(steps + layers - 1):
            first, end = max(0, diagonal - steps + 1), min(layers, diagonal + 1)
            rows = slice(first * batch, end * batch)
            if diagonal < steps:
                at = slice(diagonal * batch, (diagonal + 1) * batch)
                depth_hidden = torch.cat([hidden[at], depth_hidden])
                depth_memory = torch.cat([memory[at], depth_memory])
            count = (end - first) * batch
            depth_hidden, depth_memory = depth_hidden[:count], depth_memory[:count]
            old_memory = time_memory[rows].clone()
            time_inputs = torch.cat([time_hidden[rows], depth_hidden], 1)
            time_gates = torch.addmm(biases[0], time_inputs, kernels[0])
            time_hidden[rows], time_memory[rows] = _gates(time_gates, old_memory)
            depth_inputs = torch.cat([time_hidden[rows], depth_hidden], 1)
            depth_gates = torch.addmm(biases[1], depth_inputs, kernels[1])
            residuals.append(
                (time_inputs, old_memory, time_gates, depth_inputs, depth_memory, depth_gates)
            )
            depth_hidden, depth_memory = _gates(depth_gates, depth_memory)
            if end == layers:
                outputs.append(depth_hidden[-batch:])
        ctx.residuals, ctx.kernels, ctx.extents = residuals, kernels, (layers, batch, steps)
        return torch.cat(outputs), time_hidden, time_memory

    @staticmethod
    def backward(
        ctx: Any,
        gradient: torch.Tensor,
        d_time_hidden: torch.Tensor,
        d_time_memory: torch.Tensor,
    ) -> tuple[torch.Tensor | None, ...]:
        (layers, batch, steps), (time_kernel, depth_kernel) = ctx.extents, ctx.kernels
        units = gradient.shape[1]
        d_time_hidden, d_time_memory = d_time_hidden.clone(), d_time_memory.clone()
        d_depth_hidden, d_depth_memory = d_time_hidden[:0], d_time_memory[:0]
        none = torch.zeros(batch, units)
        time_kernel, depth_kernel = time_kernel.t(), depth_kernel.t()
        time_gates, depth_gates, d_hidden, d_memory = [], [], [], []
        for diagonal in range(steps + layers - 2, -1, -1):
            first, end = max(0, diagonal - steps + 1), min(layers, diagonal + 1)
            rows = slice(first * batch, end * batch)
            if end == layers:
                step = diagonal - layers + 1
                at = slice(step * batch, (step + 1) * batch)
                d_depth_hidden = torch.cat([d_depth_hidden, gradient[at]])
                d_depth_memory = torch.cat([d_depth_memory, none])
            _, old_memory, time_activations, _, below, depth_activations = ctx.residuals[diagonal]
            dz, d_depth_memory = _gates_gradient(
                depth_activations, below, d_depth_hidden, d_depth_memory
            )
            depth_gates.append(dz)
            d_inputs = dz @ depth_kernel
            d_new = d_time_hidden[rows] + d_inputs[:, :units]
            dz, d_old = _gates_gradient(time_activations, old_memory, d_new, d_time_memory[rows])
            time_gates.append(dz)
            d_concat = dz @ time_kernel
            d_time_hidden[rows], d_time_memory[rows] = d_concat[:, :units], d_old
            d_depth_hidden = d_inputs[:, units:] + d_concat[:, units:]
            if first == 0:
                d_hidden.append(d_depth_hidden[:batch])
                d_memory.append(d_depth_memory[:batch])
                d_depth_hidden, d_depth_memory = d_depth_hidden[batch:], d_depth_memory[batch:]
        weight_gradients = []
        for which, gates in ((0, time_gates), (3, depth_gates)):
            inputs = torch.cat([entry[which] for entry in ctx.residuals])
            gates = torch.cat(gates[::-1])
            weight_gradients.append(
                ((inputs.t() @ gates).float(), gates.sum(0, dtype=torch.float32))
            )
        (time_kernel, time_bias), (depth_kernel, depth_bias) = weight_gradients
        entering = torch.cat(d_hidden[::-1]), torch.cat(d_memory[::-1])
        state = d_time_hidden, d_time_memory
        return None, *entering, *state, time_kernel, depth_kernel, time_bias, depth_bias


def _gates(gates: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Applies the gates' nonlinearities in place; returns the new hidden and memory vectors."""
    units = memory.shape[1]
    i, f, o = gates[:, : 3 * units].sigmoid_().chunk(3, 1)
    g = gates[:, 3 * units :].tanh_()
    memory = torch.addcmul(f * memory, i, g)
    return o * memory.tanh().to(gates.dtype), memory


def _gates_gradient(
    activations: torch.Tensor,
    memory: torch.Tensor,
    d_hidden: torch.Tensor,
    d_memory: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the gradients of the gates before their nonlinearities, and of the old memory."""
    units = memory.shape[1]
    i, f, o, g = activations.float().chunk(4, 1)
    d_hidden = d_hidden.float()
    squashed = torch.addcmul(f * memory, i, g).tanh_()
    d_memory = torch.addcmul(d_memory, d_hidden * o, 1 - squashed * squashed)
    gates = torch.empty_like(activations)
    torch.mul(d_memory * g, i * (1 - i), out=_part(gates, 0, units))
    torch.mul(d_memory * memory, f * (1 - f), out=_part(gates, 1, units))
    torch.mul(d_hidden * squashed, o * (1 - o), out=_part(gates, 2, units))
    torch.mul(d_memory * i, 1 - g * g, out=_part(gates, 3, units))
    return gates, d_memory * f


def _part(gates: torch.Tensor, which: int, units: int) -> torch.Tensor:
    return gates[:, which * units : (which + 1) * units]


def make_lstm(size: Size, problem: Problem, dtype: str) -> Callable[[], float]:
    """Returns a training step of `torch.nn.LSTM`.

    Args:
      size: Size of the network.
      problem: Weights and text.
      dtype: Dtype of the products.
    """
    net = torch.nn.LSTM(size.units, size.units, size.layers)
    units = size.units

    def order(values: np.ndarray) -> torch.Tensor:  # i, f, o, g to i, f, g, o, and transposed
        i, f, o, g = torch.from_numpy(values).t().reshape(4, units, -1)
        return torch.cat([i, f, g, o])

    with torch.no_grad():
        for layer, (kernel, bias) in enumerate(zip(problem.kernels, problem.biases, strict=True)):
            getattr(net, f"weight_ih_l{layer}").copy_(order(kernel[:units]))
            getattr(net, f"weight_hh_l{layer}").copy_(order(kernel[units:]))
            getattr(net, f"bias_ih_l{layer}").copy_(order(bias[None])[:, 0])
            getattr(net, f"bias_hh_l{layer}").zero_()
    rest = [torch.nn.Parameter(torch.from_numpy(value)) for value in problem[2:5]]
    embedding, output_kernel, output_bias = rest

    def loss_of(ids: torch.Tensor) -> torch.Tensor:
        outputs, _ = net(embedding[ids[:, :-1].t()])
        return _cross_entropy(outputs.reshape(-1, units), output_kernel, output_bias, ids)

    return _training_step([*net.parameters(), *rest], loss_of, problem.ids, dtype)
