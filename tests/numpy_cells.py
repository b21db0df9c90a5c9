"""The cells in NumPy and float64, written from the equations of the papers, and nets of them."""

import numpy as np

GATES = {
    "lstm": "ifog",
    "lstm_peephole": "ifog",
    "lstm_no_input_gate": "fog",
    "lstm_no_forget_gate": "iog",
    "lstm_no_output_gate": "ifg",
    "lstm_no_input_activation": "ifog",
    "lstm_no_output_activation": "ifog",
    "lstm_coupled_gates": "iog",
    "lstm_full_gate_recurrence": "ifog",
}
"""The gates of the LSTM's variants, in the order of the columns of the kernel."""
PLAIN = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0), "identity": lambda z: z}


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def gru(h_concat, own, kernel, bias, hidden):
    """Cho et al. with the reset gate after the product, as Keras's `reset_after=True` has it."""
    units = hidden.shape[-1]
    w_z, w_r, w_n = np.split(kernel, 3, axis=1)
    b_z, b_r, b_n, b_u = np.split(bias, 4)
    rows = slice(own * units, (own + 1) * units)
    others = np.delete(np.arange(len(kernel)), np.arange(len(kernel))[rows])
    z = sigmoid(h_concat @ w_z + b_z)
    r = sigmoid(h_concat @ w_r + b_r)
    reset = r * (h_concat[:, rows] @ w_n[rows] + b_u)
    n = np.tanh(h_concat[:, others] @ w_n[others] + b_n + reset)
    new = (1 - z) * n + z * hidden
    return new, new


def lstm(name, z, memory, parameters):
    """Greff et al., the vanilla LSTM and its variants; without peepholes for the cell "lstm"."""
    gates = GATES[name]
    z = dict(zip(gates, np.split(z, len(gates), axis=1), strict=True))
    units = z["g"].shape[1]
    c, old_gates = memory[:, :units], memory[:, units:]
    p = dict.fromkeys("ifo", np.zeros(units))
    if parameters:
        names = [gate for gate in "ifo" if gate in gates]
        p.update(zip(names, np.split(parameters[0], len(names)), strict=True))
    if name == "lstm_full_gate_recurrence":
        for to, gate in enumerate("ifo"):
            for at in range(3):
                old = old_gates[:, at * units : (at + 1) * units]
                block = parameters[1][at * units : (at + 1) * units, to * units : (to + 1) * units]
                z[gate] = z[gate] + old @ block
    i = sigmoid(z["i"] + p["i"] * c) if "i" in gates else 1.0
    f = sigmoid(z["f"] + p["f"] * c) if "f" in gates else 1.0
    if name == "lstm_coupled_gates":
        f = 1 - i
    g = z["g"] if name == "lstm_no_input_activation" else np.tanh(z["g"])
    new = f * c + i * g
    o = sigmoid(z["o"] + p["o"] * new) if "o" in gates else 1.0
    hidden = o * (new if name == "lstm_no_output_activation" else np.tanh(new))
    if name == "lstm_full_gate_recurrence":
        new = np.concatenate([new, i, f, o], axis=1)
    return hidden, new


def step(name, h_concat, own, weights, memory):
    """One update of a cell.

    Args:
      name: The name of the cell.
      h_concat: The hidden vectors H, `[batch, vectors * units]`.
      own: The index of the cell's own vector in H.
      weights: Kernel, bias and the cell's own parameters, of one layer.
      memory: The memory that enters, `[batch, width]`.
    """
    kernel, bias, *parameters = weights
    if name == "gru":
        return gru(h_concat, own, kernel, bias, memory)
    z = h_concat @ kernel + bias
    if name in PLAIN:
        return PLAIN[name](z), memory
    return lstm(name, z, memory, parameters)


def grid(cells, bottom, time_weights, depth_weights, time_width):
    """The top of a 2-D grid with depth priority and zero states, `[steps, batch, units]`.

    Args:
      cells: The names of the cells of time and of depth.
      bottom: The hidden and memory vectors that enter, `[steps, batch, width]` each.
      time_weights: The weights of time, `[layers, ...]` each.
      depth_weights: The weights of depth.
      time_width: The width of the memory of time.
    """
    steps, batch, units = bottom[0].shape
    layers = len(time_weights[0])
    states = [(np.zeros((batch, units)), np.zeros((batch, time_width))) for _ in range(layers)]
    tops = []
    for at in range(steps):
        h_depth, m_depth = bottom[0][at], bottom[1][at]
        for layer in range(layers):
            h_time, m_time = states[layer]
            of_time, of_depth = (
                [one[layer] for one in weights] for weights in (time_weights, depth_weights)
            )
            h_concat = np.concatenate([h_time, h_depth], axis=1)
            h_time, m_time = step(cells[0], h_concat, 0, of_time, m_time)
            states[layer] = h_time, m_time
            h_concat = np.concatenate([h_time, h_depth], axis=1)
            h_depth, m_depth = step(cells[1], h_concat, 1, of_depth, m_depth)
        tops.append(h_depth)
    return np.stack(tops)


def grid_of_sides(cells, entering, weights, extents, priority=(), keep=None):
    """The hidden and memory vectors that leave each side of a grid of any dimensions.

    Args:
      cells: The names of the cells of the dimensions; the last is depth.
      entering: Per dimension the hidden and memory vectors that enter, `[*others, batch, width]`.
      weights: Per dimension the kernel, the bias and parameters, `[layers | 1, ...]` each.
      extents: The number of blocks along each dimension.
      priority: The dimensions that are computed last, in order.
      keep: The mask, `[*extents without depth, batch]`; None for no mask.
    """
    count = len(extents)
    moving = [(np.array(hidden), np.array(memory)) for hidden, memory in entering]
    stages = [[k for k in range(count) if k not in priority], *([k] for k in priority)]
    for at in np.ndindex(*extents):
        lines = [at[:k] + at[k + 1 :] for k in range(count)]
        hidden = [moving[k][0][lines[k]].copy() for k in range(count)]
        memory = [moving[k][1][lines[k]].copy() for k in range(count)]
        for stage in stages:
            h_concat = np.concatenate(hidden, axis=1)
            for k in stage:
                own = [one[at[-1] if len(one) > 1 else 0] for one in weights[k]]
                hidden[k], memory[k] = step(cells[k], h_concat, k, own, memory[k])
        for k in range(count):
            kept = True if keep is None or k == count - 1 else keep[at[:-1]][:, None]
            for vectors, new in zip(moving[k], (hidden[k], memory[k]), strict=True):
                vectors[lines[k]] = np.where(kept, new, vectors[lines[k]])
    return moving


def stacked(cell, inputs, weights, width):
    """The outputs of a stacked net from zero states, `[steps, batch, units]`."""
    steps, batch, units = inputs.shape
    hidden = inputs
    for layer in range(len(weights[0])):
        h_time, memory = np.zeros((batch, units)), np.zeros((batch, width))
        outputs = []
        for at in range(steps):
            h_concat = np.concatenate([hidden[at], h_time], axis=1)
            h_time, memory = step(cell, h_concat, 1, [one[layer] for one in weights], memory)
            outputs.append(h_time)
        hidden = np.stack(outputs)
    return hidden


def central_differences(function, arrays, epsilon=1e-5):
    """The gradients of a function of nothing by arrays, which are changed in place and back."""
    gradients = []
    for array in arrays:
        gradient = np.empty_like(array)
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + epsilon
            above = function()
            array[index] = value - epsilon
            gradient[index] = (above - function()) / (2 * epsilon)
            array[index] = value
        gradients.append(gradient)
    return gradients
