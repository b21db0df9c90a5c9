"""The weights of a grid of blocks as a Keras layer, and how the layer runs the grid."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from ..config import (
    Execution,
    OutputEquation,
    Tied,
    require_integer,
    require_one_of,
)
from ..core import CoreInputs
from ..errors import InputError
from ..execution import planner
from ..execution.plan import Plan
from ..grid.checkpointing import grid_checkpointed
from ..grid.dropout import grid_dropout
from ..grid.equations import GridEquations
from ..grid.reference import DimensionWeights, Sides, grid_reference
from ..grid.wavefront.wavefront import grid_inference, grid_wavefront
from ..shapes import shape_of
from .seeded import SeededLayer
from .stored import stored_variable


class GridLayer(SeededLayer):
    """The weights of an N-dimensional grid of LSTM blocks.

    Kalchbrenner, Danihelka, Graves, "Grid Long Short-Term Memory", arXiv 1507.01526:

        H = [h_1, ..., h_N];  (h_i', m_i') = LSTM_i(H, m_i)    for each dimension i

    `grid.reference.grid_block` has the equations in full. Dimensions are counted from 0; the last,
    -1, is depth. Inputs enter at the bottom of depth through a linear projection into its hidden
    and memory vectors; outputs are its hidden vectors at the top.

    Args:
      units: The width of each hidden and memory vector.
      layers: The number of blocks along depth. Default 1.
      cells: The name of the cell of all dimensions, or one name per dimension: "lstm", "tanh",
        "relu", "identity", or any other of `cells.registry`. Default "lstm".
      priority: The dimensions that are computed last, in order, and see the new hidden vectors of
        those before them. Default (-1,), depth.
      tied: Which weights the layers share: "none", those of the "depth" dimension, or "all".
      output_equation: The equation of h', "o*tanh(m)" or "tanh(o*m)"; see
        `cells.lstm.lstm_forward`.
      layer_normalization: Whether each gate is normalised over its units. Default False.
      input_memory: Whether inputs are projected into the memory as well as the hidden vector.
        Default True.
      project_inputs: Whether inputs are projected; otherwise they are the hidden (and memory)
        vectors already. Default True.
      use_bias: Whether the projection of the inputs has a bias; blocks always have one.
      kernel_initializer: The initializer of the kernel of the projection.
      recurrent_initializer: The initializer of the kernels of the blocks; None for uniform in
        ±1/sqrt(units).
      bias_initializer: The initializer of all biases but those of the forget gates.
      unit_forget_bias: Whether the biases of the forget gates start at 1; otherwise at 0.
      forget_bias: The initial bias of the forget gates, in place of `unit_forget_bias`.
      kernel_regularizer: The regularizer of the kernel of the projection.
      recurrent_regularizer: The regularizer of the kernels of the blocks.
      bias_regularizer: The regularizer of all biases.
      kernel_constraint: The constraint of the kernel of the projection.
      recurrent_constraint: The constraint of the kernels of the blocks.
      bias_constraint: The constraint of all biases.
      dropout: The dropout rate of the inputs and of what rises from layer to layer. Default 0.
      recurrent_dropout: The dropout rate of the hidden vectors along the other dimensions. Default
        0.
      dropout_masks: "step" for a new mask at each step, "sequence" for one per sequence.
      remat_steps: The length, in steps, of the segments whose activations the backward pass
        computes again (gradient checkpointing); 0 to store all. See
        `grid.checkpointing.square_root_segment`.
      execution: The algorithm: "auto", "wavefront", or "reference", which is cell by cell.
      seed: The seed of the dropout; None for one drawn at random.
      **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
      ValueError: If an argument is invalid; the message names it, its value and what is expected.

    Attributes:
      kernel: The kernel of the projection, `[features, units]`, or twice as wide with
        `input_memory`.
      bias: The bias of the projection, `[units]`, or twice as wide.
      grid: The weights of the blocks, per dimension, as `grid.reference.DimensionWeights` of
        variables.
      plan: The execution plan; None to choose it from the size of the batch.
    """

    def __init__(
        self,
        units: int,
        layers: int = 1,
        cells: str | Sequence[str] = "lstm",
        priority: Sequence[int] = (-1,),
        tied: Tied = "none",
        output_equation: OutputEquation = "o*tanh(m)",
        layer_normalization: bool = False,
        input_memory: bool = True,
        project_inputs: bool = True,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = None,
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        forget_bias: float | None = None,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dropout_masks: Literal["step", "sequence"] = "step",
        remat_steps: int = 0,
        execution: Execution = "auto",
        seed: int | None = None,
        **kwargs: Any,
    ):
        # Memories and weights stay in the variables' dtype; what enters products is cast here.
        super().__init__(
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            dropout_masks=dropout_masks,
            seed=seed,
            autocast=False,
            **kwargs,
        )
        require_integer("units", units, 1)
        require_integer("layers", layers, 1)
        require_integer("remat_steps", remat_steps, 0)
        require_one_of("tied", tied, Tied)
        require_one_of("execution", execution, Execution)
        # Checks the names of cells and equation before the number of dimensions is known.
        GridEquations((cells,) if isinstance(cells, str) else tuple(cells), (), output_equation)
        self.units = units
        self.layers = layers
        self.cells = cells if isinstance(cells, str) else tuple(cells)
        self.priority = tuple(priority)
        self.tied = tied
        self.output_equation = output_equation
        self.layer_normalization = layer_normalization
        self.input_memory = input_memory
        self.project_inputs = project_inputs
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(
            recurrent_initializer or keras.initializers.RandomUniform(-(units**-0.5), units**-0.5)
        )
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.forget_bias = float(unit_forget_bias) if forget_bias is None else forget_bias
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = keras.regularizers.get(recurrent_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.recurrent_constraint = keras.constraints.get(recurrent_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.remat_steps = remat_steps
        self.execution = execution
        self.plan: Plan | None = None
        # Under `Model.fit` Keras compiles the whole step if all layers support it.
        self.supports_jit = planner.visible_device() == "accelerator"

    @property
    def input_width(self) -> int:
        """The width of what enters the bottom: hidden, and memory where inputs enter it."""
        has_memory = self.input_memory and self.equations.cell(-1).has_memory
        return self.units * (2 if has_memory else 1)

    def _set_dimensions(self, dimensions: int) -> None:
        """Fixes the number of dimensions, and with it the equations."""
        cells = (self.cells,) * dimensions if isinstance(self.cells, str) else self.cells
        if len(cells) != dimensions:
            raise InputError(f"cells names {len(cells)} dimensions; the grid has {dimensions}")
        for one in self.priority:
            if not -dimensions <= one < dimensions:
                raise InputError(
                    f"priority names dimension {one}; the grid has {dimensions}, counted from 0"
                )
        self.equations = GridEquations(
            cells=cells,
            priority=tuple(one % dimensions for one in self.priority),
            output_equation=self.output_equation,
            layer_normalization=self.layer_normalization,
        )

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the variables; the last size of the input shape must be known."""
        features = input_shape[-1]
        if features is None:
            raise InputError(f"the input's shape is {input_shape}; its last size must be known")
        width = self.input_width
        if self.project_inputs:
            self.kernel = self.add_weight(
                autocast=False,
                name="kernel",
                shape=(features, width),
                initializer=self.kernel_initializer,
                regularizer=self.kernel_regularizer,
                constraint=self.kernel_constraint,
            )
            if self.use_bias:
                self.bias = self.add_weight(
                    autocast=False,
                    name="bias",
                    shape=(width,),
                    initializer=self.bias_initializer,
                    regularizer=self.bias_regularizer,
                    constraint=self.bias_constraint,
                )
        elif features != width:
            raise InputError(
                f"the input is {features} wide; without project_inputs it must be {width}"
            )
        self.grid = [self._add_dimension(i) for i in range(self.equations.dimensions)]
        self.built = True

    def _add_dimension(self, dimension: int) -> DimensionWeights:
        """Creates the variables of one dimension."""
        dimensions = self.equations.dimensions
        is_depth = dimension == dimensions - 1
        shared = self.tied == "all" or (self.tied == "depth" and is_depth)
        copies = 1 if shared else self.layers
        width = self.equations.gates(dimension) * self.units
        name = "depth" if is_depth else f"dimension{dimension}"
        kernel = self.add_weight(
            autocast=False,
            name=f"{name}_kernel",
            shape=(copies, dimensions * self.units, width),
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        bias = self.add_weight(
            autocast=False,
            name=f"{name}_bias",
            shape=(copies, width),
            initializer=lambda shape, dtype: self._initial_bias(dimension, shape, dtype),
            regularizer=self.bias_regularizer,
            constraint=self.bias_constraint,
        )
        gain = None
        if self.layer_normalization:
            gain = self.add_weight(
                autocast=False, name=f"{name}_gain", shape=(copies, width), initializer="ones"
            )
        return DimensionWeights(kernel=kernel, bias=bias, gain=gain)

    def _initial_bias(self, dimension: int, shape: Any, dtype: Any) -> tf.Tensor:
        """Returns the initial bias of a dimension, with that of its forget gate if it has one."""
        value = self.bias_initializer(shape, dtype=dtype)
        cell = self.equations.cell(dimension)
        if cell.forget_gate is None:
            return value
        gates = tf.split(value, cell.gates, axis=-1)
        forget_bias = tf.cast(self.forget_bias, dtype)
        gates[cell.forget_gate] = tf.fill(gates[cell.forget_gate].shape, forget_bias)
        return tf.concat(gates, axis=-1)

    def weight_tensors(self) -> list[DimensionWeights]:
        """Returns the weights of the blocks as tensors."""
        return [
            DimensionWeights(
                kernel=tf.convert_to_tensor(one.kernel),
                bias=tf.convert_to_tensor(one.bias),
                gain=None if one.gain is None else tf.convert_to_tensor(one.gain),
            )
            for one in self.grid
        ]

    def stored_weights(self, kernel_dtype: str | None) -> list[DimensionWeights]:
        """Returns copies of the weights as variables that are not trained.

        Args:
          kernel_dtype: The dtype of the kernels; None to leave the kernels out.
        """

        def stored(one: DimensionWeights) -> DimensionWeights:
            return DimensionWeights(
                kernel=kernel_dtype and stored_variable(one.kernel, kernel_dtype),
                bias=stored_variable(one.bias),
                gain=None if one.gain is None else stored_variable(one.gain),
            )

        return [stored(one) for one in self.grid]

    def core_inputs(self, embedded: tf.Tensor) -> CoreInputs:
        """Returns the vectors that enter the bottom, from `[..., features]`."""
        if self.project_inputs:
            flat = tf.reshape(embedded, [-1, embedded.shape[-1]])
            flat = tf.matmul(
                tf.cast(flat, self.compute_dtype), tf.cast(self.kernel, self.compute_dtype)
            )
            if self.use_bias:
                flat += tf.cast(self.bias, flat.dtype)
            embedded = tf.reshape(flat, [*shape_of(embedded)[:-1], flat.shape[-1]])
        dtype = self.variable_dtype
        if self.input_width > self.units:
            hidden, memory = tf.split(embedded, 2, axis=-1)
            return CoreInputs(tf.cast(hidden, self.compute_dtype), tf.cast(memory, dtype))
        width = self.equations.memory_width(-1, self.units)
        memory = tf.zeros([*shape_of(embedded)[:-1], width], dtype)
        return CoreInputs(tf.cast(embedded, self.compute_dtype), memory)

    def run(
        self,
        sides: Sides,
        extents: tuple[int | tf.Tensor, ...],
        training: bool = False,
        seed: tf.Tensor | None = None,
        keep: tf.Tensor | None = None,
        weights: list[DimensionWeights] | None = None,
    ) -> Sides:
        """Runs the grid.

        Args:
          sides: The vectors that enter; see `grid.reference.grid_reference`.
          extents: The number of blocks along each dimension.
          training: Whether a gradient will be taken. Default False.
          seed: The seed of the dropout, `[2]`; None for no dropout.
          keep: The mask; see `grid.reference.grid_reference`.
          weights: Weights in place of the layer's own.
        """
        batch = sides.hidden[-1].shape[-2]
        plan = self.plan or planner.choose(
            self.units,
            self.layers,
            batch,
            self.execution,
            self.compute_dtype,
            jits_step=None if self.supports_jit else False,
        )
        masks = None
        if seed is not None:
            rates = (*[self.recurrent_dropout] * (len(extents) - 1), self.dropout)
            each_step = self.dropout_masks == "step"
            masks = grid_dropout(extents, sides.hidden, rates, each_step, seed)
        arguments = sides, weights or self.weight_tensors(), self.equations, extents
        if plan.execution == "reference":
            return grid_reference(*arguments, masks, keep)
        if not training:
            return grid_inference(*arguments, masks, keep, plan.compilation)
        remat_steps = self.remat_steps or plan.remat_steps
        if remat_steps:
            return grid_checkpointed(*arguments, remat_steps, masks, keep, plan.compilation)
        return grid_wavefront(*arguments, masks, keep, plan.compilation)

    def zeros(
        self, dimension: int, leading: Sequence[int | tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns zero hidden and memory vectors `[*leading, width]` of one dimension."""
        width = self.equations.memory_width(dimension, self.units)
        return (
            tf.zeros([*leading, self.units], self.compute_dtype),
            tf.zeros([*leading, width], self.variable_dtype),
        )

    def get_config(self) -> dict:
        """Returns the arguments that create an equal layer."""
        serialized = (
            "kernel_initializer",
            "recurrent_initializer",
            "bias_initializer",
            "kernel_regularizer",
            "kernel_constraint",
            "recurrent_regularizer",
            "recurrent_constraint",
            "bias_regularizer",
            "bias_constraint",
        )
        plain = (
            "units",
            "layers",
            "cells",
            "priority",
            "tied",
            "output_equation",
            "layer_normalization",
            "input_memory",
            "project_inputs",
            "use_bias",
            "forget_bias",
            "dropout",
            "recurrent_dropout",
            "dropout_masks",
            "remat_steps",
            "execution",
            "seed",
        )
        config = super().get_config()
        config.update({name: getattr(self, name) for name in plain})
        for name in serialized:
            config[name] = keras.saving.serialize_keras_object(getattr(self, name))
        return config
