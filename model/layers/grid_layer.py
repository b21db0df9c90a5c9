"""The weights of a grid of blocks as a Keras layer, and how the layer runs the grid."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from ..cells.registry import find_cell
from ..config import (
    Execution,
    OutputEquation,
    Tied,
    require_integer,
    require_one_of,
)
from ..core import CoreInputs
from ..errors import InputError
from ..execution.plan import Plan
from ..grid.checkpointing import grid_checkpointed
from ..grid.dropout import grid_dropout
from ..grid.equations import GridEquations
from ..grid.layerwise import grid_layerwise
from ..grid.reference import DimensionWeights, Sides, grid_reference
from ..grid.wavefront.wavefront import grid_wavefront
from .cell_weights import add_dimension
from .choice import check_execution, choose_plan
from .initialization import VariableInitializers
from .projection import (
    Projection,
    add_projection,
    entering_vectors,
    entering_width,
    project,
)
from .seeded import SeededLayer
from .stored import stored_variable
from .tying import require_groups, weight_owners


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
      cells: The name of the cell of all dimensions, or one name per dimension, of those in
        `cells.registry`: "lstm", one of its variants such as "lstm_peephole" or
        "lstm_coupled_gates", "gru", or one without a memory, "tanh", "relu" or "identity". Default
        "lstm".
      priority: The dimensions that are computed last, in order, and see the new hidden vectors of
        those before them. Default (-1,), depth.
      tied: Which weights the layers share: "none", those of the "depth" dimension, or "all".
      tied_dimensions: Groups of dimensions that share their weights, such as ((0, 1),), which then
        have the same cell: h_i', m_i' = LSTM(H, m_i) with one and the same LSTM. Default (), none.
      output_equation: The equation of h' of the cell "lstm", "o*tanh(m)" or "tanh(o*m)"; see
        `cells.lstm.lstm_forward`. Other cells have their own.
      layer_normalization: Whether each gate is normalised over its units. Default False.
      mogrifier_rounds: The number of rounds in which the hidden vectors that enter a block gate
        each other, the first of which gates depth; see `grid.mogrifier`. Default 0.
      mogrifier_rank: The rank of the kernels of these rounds. Default 32.
      input_memory: Whether inputs are projected into the memory as well as the hidden vector. The
        memory of a GRU is its hidden vector, so one projection serves both. Default True.
      project_inputs: Whether inputs are projected; otherwise they are the hidden (and memory)
        vectors already. Default True.
      use_bias: Whether the projection of the inputs has a bias; blocks always have one.
      kernel_initializer: The initializer of the kernel of the projection.
      recurrent_initializer: The initializer of the kernels of the blocks and of parameters of
        their cells, such as peepholes; None for uniform in ±1/sqrt(units).
      bias_initializer: The initializer of all biases but those of the forget gates.
      unit_forget_bias: Whether the biases of the forget gates start at 1; otherwise at 0.
      forget_bias: The initial bias of the forget gates, in place of `unit_forget_bias`.
      kernel_regularizer: The regularizer of the kernel of the projection.
      recurrent_regularizer: The regularizer of what `recurrent_initializer` initializes.
      bias_regularizer: The regularizer of all biases.
      kernel_constraint: The constraint of the kernel of the projection.
      recurrent_constraint: The constraint of what `recurrent_initializer` initializes.
      bias_constraint: The constraint of all biases.
      dropout: The dropout rate of the inputs and of the hidden vectors between layers. Default
        0.
      recurrent_dropout: The dropout rate of the hidden vectors along the other dimensions. Default
        0.
      dropout_masks: "step" for a new mask at each step, "sequence" for one per sequence.
      remat_steps: The length, in steps, of the segments whose activations the backward pass
        computes again (gradient checkpointing); 0 to store all. See
        `grid.checkpointing.square_root_segment`.
      execution: The algorithm: "reference", block by block; "layerwise", layer after layer (2-D
        grids in which time does not see what depth computes); "wavefront", hyperplane after
        hyperplane, where the sizes are known; or "auto" (the default), the fastest that can run
        where the layer is called.
      seed: The seed of the dropout; None for one drawn at random.
      **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
      ValueError: If an argument is invalid; the message names it, its value and what is expected.

    Attributes:
      kernel: The kernel of the projection, `[features, units]`, or twice as wide with
        `input_memory`.
      bias: The bias of the projection, `[units]`, or twice as wide.
      block_weights: The weights of each dimension, as `grid.reference.DimensionWeights` of
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
        tied_dimensions: Sequence[Sequence[int]] = (),
        mogrifier_rounds: int = 0,
        mogrifier_rank: int = 32,
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
        self.units = require_integer("units", units, 1)
        self.layers = self.state_layers = require_integer("layers", layers, 1)
        self.remat_steps = require_integer("remat_steps", remat_steps, 0)
        require_one_of("tied", tied, Tied)
        require_one_of("execution", execution, Execution)
        # Checks the names of cells and equation before the number of dimensions is known.
        GridEquations((cells,) if isinstance(cells, str) else tuple(cells), (), output_equation)
        self.cells = cells if isinstance(cells, str) else tuple(cells)
        self.priority = tuple(map(int, priority))
        self.tied = tied
        self.tied_dimensions = require_groups(tied_dimensions)
        self.output_equation = output_equation
        self.layer_normalization = layer_normalization
        self.mogrifier_rounds = require_integer("mogrifier_rounds", mogrifier_rounds, 0)
        self.mogrifier_rank = require_integer("mogrifier_rank", mogrifier_rank, 1)
        self.input_memory = input_memory
        self.project_inputs = project_inputs
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(
            recurrent_initializer or keras.initializers.RandomUniform(-(units**-0.5), units**-0.5)
        )
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.unit_forget_bias = bool(unit_forget_bias)
        self.forget_bias = float(unit_forget_bias if forget_bias is None else forget_bias)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = keras.regularizers.get(recurrent_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.recurrent_constraint = keras.constraints.get(recurrent_constraint)
        self.bias_constraint = keras.constraints.get(bias_constraint)
        self.execution = execution
        self._plan: Plan | None = None

    @property
    def input_width(self) -> int:
        """The width of what enters the bottom: hidden, and memory where inputs enter it."""
        return self._entering_width(-1)

    def _entering_width(self, dimension: int) -> int:
        """Returns the width of what enters the side of a dimension."""
        return entering_width(self.equations.cell(dimension), self.units, self.input_memory)

    @property
    def memory_width(self) -> int:
        """The width of the memory vectors that the first dimension, time, carries as a state.

        A cell without a memory passes on a state of `units` numbers unchanged.
        """
        return self.equations.memory_width(0, self.units) or self.units

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
        self._owners = weight_owners(self.tied_dimensions, cells, self.tied)
        # What a cell with a split gate multiplies H by depends on the dimension.
        splits = [find_cell(name).split_gate is not None for name in cells]
        owners = [i if splits[i] else owner for i, owner in enumerate(self._owners)]
        self.equations = GridEquations(
            cells=cells,
            priority=tuple(one % dimensions for one in self.priority),
            output_equation=self.output_equation,
            layer_normalization=self.layer_normalization,
            owners=tuple(owners) if self.tied_dimensions else (),
            mogrifier_rounds=self.mogrifier_rounds,
        )
        check_execution(self.execution, self.remat_steps, self.equations)
        self.plan = self._plan  # which may have been chosen before

    @property
    def plan(self) -> Plan | None:
        """The execution plan; None to choose it from the size of the batch."""
        return self._plan

    @plan.setter
    def plan(self, plan: Plan | None) -> None:
        if plan and hasattr(self, "equations"):  # whose dimensions an input may decide
            check_execution(plan.execution, plan.remat_steps, self.equations)
        self._plan = plan

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the variables; the last size of the input shape must be known."""
        initializers = VariableInitializers(self.kernel_initializer)
        projection = add_projection(self, input_shape[-1], self.input_width, initializers)
        if projection.kernel is not None:
            self.kernel = projection.kernel
        if projection.bias is not None:
            self.bias = projection.bias
        self._add_grid()
        self.built = True

    def _add_grid(self) -> None:
        """Creates the variables of the blocks."""
        grid: list[DimensionWeights] = []
        initializers = VariableInitializers(self.recurrent_initializer)
        of_biases = VariableInitializers(self.bias_initializer)
        for dimension, owner in enumerate(self._owners):
            if owner < dimension:
                grid.append(grid[owner])
                continue
            weights = add_dimension(self, dimension, initializers, of_biases)
            grid.append(weights)
            # A tf.train.Checkpoint finds variables by attributes, and none in a list of tuples.
            named: dict[str, Any] = weights._asdict()
            parameters = zip(
                self.equations.cell(dimension).parameters, named.pop("parameters"), strict=True
            )
            named.update((parameter.name, variable) for parameter, variable in parameters)
            for number, one in enumerate(named.pop("mogrifier")):
                named.update({f"mogrifier{number}_{k}": v for k, v in one._asdict().items()})
            for part, variable in named.items():
                if variable is not None:
                    setattr(self, f"dimension{dimension}_{part}", variable)
        self.block_weights = grid

    def weight_tensors(self) -> list[DimensionWeights]:
        """Returns the weights of the blocks as tensors, with kernels as products take them."""
        tensors = []
        for i, variables in enumerate(self.block_weights):
            # A tied dimension has tensors of its own, as it has its part of the gradient.
            one = _tensors(variables, copied=self._owners[i] < i)
            kernel = self.equations.cell(i).product_kernel(one.kernel, i)
            tensors.append(one._replace(kernel=kernel))
        return tensors

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
                parameters=tuple(map(stored_variable, one.parameters)),
                mogrifier=tf.nest.map_structure(stored_variable, one.mogrifier),
            )

        copies: list[DimensionWeights] = []
        for i, one in enumerate(self.weight_tensors()):
            owner = self.equations.owner(i)
            copies.append(copies[owner] if owner < i else stored(one))
        return copies

    def core_inputs(self, embedded: tf.Tensor) -> CoreInputs:
        """Returns the vectors that enter the bottom, from `[..., features]`."""
        projection = Projection(getattr(self, "kernel", None), getattr(self, "bias", None))
        return self._entering(embedded, -1, projection)

    def _entering(self, inputs: tf.Tensor, dimension: int, projection: Projection) -> CoreInputs:
        """Returns the vectors that enter the side of a dimension, from `[..., features]`."""
        vectors = project(inputs, projection, self.compute_dtype)
        cell = self.equations.cell(dimension)
        return entering_vectors(vectors, cell, self.units, self.compute_dtype, self.variable_dtype)

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
        plan = self.plan or choose_plan(
            self.execution,
            self.equations,
            extents,
            self.units,
            sides.hidden[-1].shape[-2],
            self.compute_dtype,
            training,
            self.remat_steps,
        )
        masks = None
        if seed is not None:
            rates = (*[self.recurrent_dropout] * (len(extents) - 1), self.dropout)
            each_step = not self.masks_per_sequence
            masks = grid_dropout(extents, sides.hidden, rates, each_step, seed)
        arguments = sides, weights or self.weight_tensors(), self.equations, extents
        if plan.execution == "reference":
            return grid_reference(*arguments, masks, keep)
        if plan.execution == "layerwise":
            return grid_layerwise(*arguments, masks, keep, training)
        remat_steps = self.remat_steps or plan.remat_steps
        if training and remat_steps:
            return grid_checkpointed(*arguments, remat_steps, masks, keep, plan.compilation)
        return grid_wavefront(*arguments, masks, keep, plan.compilation, training)

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
        kinds = "kernel", "recurrent", "bias"
        roles = "initializer", "regularizer", "constraint"
        serialized = [f"{kind}_{role}" for role in roles for kind in kinds]
        grid = (
            "units",
            "layers",
            "cells",
            "priority",
            "tied",
            "tied_dimensions",
            "output_equation",
        )
        inputs = ("input_memory", "project_inputs", "use_bias", "unit_forget_bias", "forget_bias")
        dropout = ("dropout", "recurrent_dropout", "dropout_masks", "seed")
        options = ("layer_normalization", "mogrifier_rounds", "mogrifier_rank")
        plain = (*grid, *options, *inputs, *dropout, "remat_steps", "execution")
        config = super().get_config()
        config.update({name: getattr(self, name) for name in plain})
        for name in serialized:
            config[name] = keras.saving.serialize_keras_object(getattr(self, name))
        return config


def _tensors(variables: DimensionWeights, copied: bool) -> DimensionWeights:
    """Returns the values of variables, as tensors that nothing else uses if they are `copied`."""

    def tensor(part: Any) -> tf.Tensor | None:
        if part is None:
            return None
        value = tf.convert_to_tensor(part)
        return tf.identity(value) if copied else value

    return tf.nest.map_structure(tensor, variables)
