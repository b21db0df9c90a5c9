"""The LSTM with peepholes and its variants, with a hand-written backward pass.

They are those of Greff et al., "LSTM: a search space odyssey" (arXiv 1503.04069). The variant
without peepholes (NP) is the cell "lstm" of `lstm`.
"""

import dataclasses

import tensorflow as tf

from ..config import OutputEquation
from .cell import Cell, CellOutput, CellParameter, Parameters
from .lstm import concat_gates


@dataclasses.dataclass(frozen=True)
class VanillaLSTM:
    """The LSTM with peepholes, the "vanilla" LSTM of Greff et al., and what a variant leaves out.

        i = sigmoid(z_i + p_i * c),  f = sigmoid(z_f + p_f * c),  g = tanh(z_g)
        c' = f * c + i * g
        o = sigmoid(z_o + p_o * c')
        h' = o * tanh(c')

    z = W H + b holds the gates that the variant has, in the order i, f, o, g. A missing gate is 1,
    and its peephole is missing, too. The methods have the arguments of `cell.Forward`,
    `cell.Backward` and `cell.ParameterGradients`; parameters are the peepholes, `[gates * units]`
    in the order i, f, o, and with `gate_recurrence` the matrix R, `[3 * units, 3 * units]`.

    Attributes:
      sigmoid_gates: The gates i, f, o that have weights of their own. Default "ifo".
      is_coupled: Whether f = 1 - i. Default False.
      input_activation: Whether g is tanh(z_g); otherwise it is z_g. Default True.
      output_activation: Whether h' is o * tanh(c'); otherwise it is o * c'. Default True.
      gate_recurrence: Whether z_i, z_f and z_o also receive the gates of the step before, [i, f, o]
        R, which the memory then carries after c. Default False.
    """

    sigmoid_gates: str = "ifo"
    is_coupled: bool = False
    input_activation: bool = True
    output_activation: bool = True
    gate_recurrence: bool = False

    @property
    def gates(self) -> str:
        """The gates with weights of their own, and the candidate g."""
        return self.sigmoid_gates + "g"

    @property
    def memory_size(self) -> int:
        """The width of the memory, in multiples of `units`: c, and with R also i, f, o."""
        return 4 if self.gate_recurrence else 1

    @property
    def parameters(self) -> tuple[CellParameter, ...]:
        """The peepholes, and R with `gate_recurrence`."""
        peephole = CellParameter("peephole", (len(self.sigmoid_gates),))
        return (peephole, CellParameter("gate_kernel", (3, 3)))[: 1 + self.gate_recurrence]

    def forward(
        self,
        preactivations: tf.Tensor,
        bias: tf.Tensor,
        memory: tf.Tensor,
        parameters: Parameters,
        output_equation: OutputEquation = "o*tanh(m)",
    ) -> CellOutput:
        """Computes one update; the equations of the class are its own, whatever the grid's."""
        del output_equation
        dtype = memory.dtype
        z = self._split(tf.cast(preactivations, dtype) + tf.cast(bias, dtype), self.gates)
        old, *_ = self._split_memory(memory)
        peephole = self._split(tf.cast(parameters[0], dtype), self.sigmoid_gates)
        if self.gate_recurrence:
            recurrent = tf.matmul(memory[..., old.shape[-1] :], tf.cast(parameters[1], dtype))
            for name, part in self._split(recurrent, "ifo").items():
                z[name] += part
        gate = {
            name: tf.sigmoid(z[name] + peephole[name] * old)
            for name in self.sigmoid_gates
            if name != "o"
        }
        gate["g"] = tf.tanh(z["g"]) if self.input_activation else z["g"]
        new = self._new_memory(gate, old)
        if "o" in self.sigmoid_gates:
            gate["o"] = tf.sigmoid(z["o"] + peephole["o"] * new)
        hidden = _times(gate.get("o"), tf.tanh(new) if self.output_activation else new)
        new_memory = new
        if self.gate_recurrence:
            new_memory = tf.concat([new, gate["i"], gate["f"], gate["o"]], axis=-1)
        activations = concat_gates([gate[name] for name in self.gates])
        compute_dtype = preactivations.dtype
        return CellOutput(
            hidden=tf.cast(hidden, compute_dtype),
            memory=new_memory,
            activations=tf.cast(activations, compute_dtype),
        )

    def backward(
        self,
        activations: tf.Tensor,
        memory: tf.Tensor,
        parameters: Parameters,
        d_hidden: tf.Tensor,
        d_memory: tf.Tensor,
        output_equation: OutputEquation = "o*tanh(m)",
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the gradients of the preactivations and of the memory that entered."""
        del output_equation
        d_z, d_old, _ = self._gradients(activations, memory, parameters, d_hidden, d_memory)
        if self.gate_recurrence:
            d_gates = concat_gates([d_z[name] for name in "ifo"])
            kernel = tf.cast(parameters[1], memory.dtype)
            d_old = tf.concat([d_old, tf.matmul(d_gates, kernel, transpose_b=True)], axis=-1)
        d_preactivations = concat_gates([d_z[name] for name in self.gates])
        return tf.cast(d_preactivations, activations.dtype), d_old

    def parameter_gradients(
        self,
        activations: tf.Tensor,
        memory: tf.Tensor,
        parameters: Parameters,
        d_hidden: tf.Tensor,
        d_memory: tf.Tensor,
        output_equation: OutputEquation = "o*tanh(m)",
    ) -> Parameters:
        """Computes the gradients of the peepholes and of R, summed over rows `[rows, width]`."""
        del output_equation
        d_z, _, new = self._gradients(activations, memory, parameters, d_hidden, d_memory)
        old, *_ = self._split_memory(memory)
        sums = [
            tf.reduce_sum(d_z[name] * (new if name == "o" else old), axis=0)
            for name in self.sigmoid_gates
        ]
        d_peephole = tf.concat(sums, axis=-1)
        if not self.gate_recurrence:
            return (d_peephole,)
        d_gates = concat_gates([d_z[name] for name in "ifo"])
        old_gates = memory[:, old.shape[-1] :]
        return d_peephole, tf.matmul(old_gates, d_gates, transpose_a=True)

    def _gradients(
        self,
        activations: tf.Tensor,
        memory: tf.Tensor,
        parameters: Parameters,
        d_hidden: tf.Tensor,
        d_memory: tf.Tensor,
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        """Computes dL/dz by gate, dL/dc without the part by R, and c' once more."""
        dtype = memory.dtype
        gate = self._split(tf.cast(activations, dtype), self.gates)
        peephole = self._split(tf.cast(parameters[0], dtype), self.sigmoid_gates)
        old, *_ = self._split_memory(memory)
        d_new, *d_new_gates = self._split_memory(d_memory)
        d_gate = dict(zip("ifo", d_new_gates, strict=False))
        d_hidden = tf.cast(d_hidden, dtype)
        new = self._new_memory(gate, old)
        squashed = tf.tanh(new) if self.output_activation else new
        d_squashed = _times(gate.get("o"), d_hidden)
        d_new += d_squashed * (1 - squashed * squashed) if self.output_activation else d_squashed
        d_z = {}
        if "o" in self.sigmoid_gates:
            d_output_gate = d_hidden * squashed + d_gate.get("o", 0.0)
            d_z["o"] = d_output_gate * gate["o"] * (1 - gate["o"])
            d_new += peephole["o"] * d_z["o"]
        d_gate["i"] = d_gate.get("i", 0.0) + d_new * (
            gate["g"] - old if self.is_coupled else gate["g"]
        )
        d_gate["f"] = d_gate.get("f", 0.0) + d_new * old
        d_old = _times(self._forget_gate(gate), d_new)
        for name in self.sigmoid_gates.replace("o", ""):
            d_z[name] = d_gate[name] * gate[name] * (1 - gate[name])
            d_old += peephole[name] * d_z[name]
        d_candidate = _times(gate.get("i"), d_new)
        d_z["g"] = d_candidate * (1 - gate["g"] ** 2) if self.input_activation else d_candidate
        return d_z, d_old, new

    def _forget_gate(self, gate: dict[str, tf.Tensor]) -> tf.Tensor | None:
        return 1 - gate["i"] if self.is_coupled else gate.get("f")

    def _new_memory(self, gate: dict[str, tf.Tensor], old: tf.Tensor) -> tf.Tensor:
        """Computes c' = f * c + i * g."""
        return _times(self._forget_gate(gate), old) + _times(gate.get("i"), gate["g"])

    def _split(self, values: tf.Tensor, gates: str) -> dict[str, tf.Tensor]:
        """Splits `[..., gates * units]` into the vectors of the gates, by their letters."""
        units = values.shape[-1] // len(gates)
        return dict(zip(gates, tf.split(values, [units] * len(gates), axis=-1), strict=True))

    def _split_memory(self, memory: tf.Tensor) -> list[tf.Tensor]:
        """Splits the memory into c and, with `gate_recurrence`, the gates i, f, o."""
        return [memory] if self.memory_size == 1 else tf.split(memory, self.memory_size, axis=-1)


def _times(gate: tf.Tensor | None, values: tf.Tensor) -> tf.Tensor:
    """Multiplies by a gate, where None stands for a gate that is always 1."""
    return values if gate is None else gate * values


def _cell(name: str, equations: VanillaLSTM) -> Cell:
    """Returns the cell of a variant."""
    return Cell(
        name=name,
        gates=len(equations.gates),
        memory_size=equations.memory_size,
        forward=equations.forward,
        backward=equations.backward,
        parameters=equations.parameters,
        parameter_gradients=equations.parameter_gradients,
        forget_gate=equations.gates.index("f") if "f" in equations.gates else None,
        is_bounded=equations.output_activation,
    )


LSTM_VARIANTS = (
    _cell("lstm_peephole", VanillaLSTM()),
    _cell("lstm_no_input_gate", VanillaLSTM(sigmoid_gates="fo")),
    _cell("lstm_no_forget_gate", VanillaLSTM(sigmoid_gates="io")),
    _cell("lstm_no_output_gate", VanillaLSTM(sigmoid_gates="if")),
    _cell("lstm_no_input_activation", VanillaLSTM(input_activation=False)),
    _cell("lstm_no_output_activation", VanillaLSTM(output_activation=False)),
    _cell("lstm_coupled_gates", VanillaLSTM(sigmoid_gates="io", is_coupled=True)),
    _cell("lstm_full_gate_recurrence", VanillaLSTM(gate_recurrence=True)),
)
"""The vanilla LSTM, and the variants NIG, NFG, NOG, NIAF, NOAF, CIFG and FGR of the paper."""
