"""The weights that a layer creates for a cell, as the cell's record describes them."""

from typing import Any

import keras
import tensorflow as tf

from ..cells.cell import Cell
from ..grid.mogrifier import MogrifierRound
from ..grid.reference import DimensionWeights
from .initialization import VariableInitializers
from .per_layer import constraint_of_layers, regularizer_of_layers


def with_forget_bias(cell: Cell, bias: tf.Tensor, forget_bias: float) -> tf.Tensor:
    """Returns initial biases with those of the forget gate replaced, if the cell has one.

    Args:
      cell: The cell.
      bias: The initial biases, `[..., gates * units]`.
      forget_bias: The initial bias of the forget gate.
    """
    if cell.forget_gate is None:
        return bias
    gates = tf.split(bias, cell.gates, axis=-1)
    value = tf.cast(forget_bias, bias.dtype)
    gates[cell.forget_gate] = tf.fill(gates[cell.forget_gate].shape, value)
    return tf.concat(gates, axis=-1)


def add_dimension(
    layer: Any,
    dimension: int,
    initializers: VariableInitializers,
    bias_initializers: VariableInitializers,
) -> DimensionWeights:
    """Creates the variables of the blocks along one dimension of a grid.

    Args:
      layer: The layer that owns the variables, a `grid_layer.GridLayer`.
      dimension: The dimension.
      initializers: The initializers of its kernels and parameters, those of all dimensions.
      bias_initializers: The initializers of its biases, likewise.
    """
    dimensions = layer.equations.dimensions
    is_depth = dimension == dimensions - 1
    shared = layer.tied == "all" or (layer.tied == "depth" and is_depth)
    copies = 1 if shared else layer.layers
    cell = layer.equations.cell(dimension)
    width = cell.gates * layer.units
    name = "depth" if is_depth else f"dimension{dimension}"
    options = {
        "regularizer": regularizer_of_layers(layer.recurrent_regularizer),
        "constraint": constraint_of_layers(layer.recurrent_constraint),
    }
    kernel = layer.add_weight(
        autocast=False,
        name=f"{name}_kernel",
        shape=(copies, dimensions * layer.units, cell.kernel_gates * layer.units),
        initializer=initializers.of_layers(copies),
        **options,
    )
    initial_bias = bias_initializers.of_layers(copies)
    bias = layer.add_weight(
        autocast=False,
        name=f"{name}_bias",
        shape=(copies, width),
        initializer=lambda shape, dtype: with_forget_bias(
            cell, initial_bias(shape, dtype=dtype), layer.forget_bias
        ),
        regularizer=regularizer_of_layers(layer.bias_regularizer),
        constraint=constraint_of_layers(layer.bias_constraint),
    )
    gain = None
    if layer.layer_normalization:
        gain = layer.add_weight(
            autocast=False, name=f"{name}_gain", shape=(copies, width), initializer="ones"
        )
    parameters = add_parameters(
        layer,
        cell,
        layer.units,
        copies,
        initializers,
        prefix=f"{name}_",
        **options,
    )
    rounds = layer.equations.mogrifier_targets.count(dimension)
    mogrifier = tuple(
        _add_round(layer, dimensions, f"{name}_mogrifier{number}", copies, initializers, options)
        for number in range(rounds)
    )
    return DimensionWeights(
        kernel=kernel, bias=bias, gain=gain, parameters=parameters, mogrifier=mogrifier
    )


def _add_round(
    layer: Any,
    dimensions: int,
    name: str,
    copies: int,
    initializers: VariableInitializers,
    options: dict[str, Any],
) -> MogrifierRound:
    """Creates the variables of a round of the mogrifier, which at first changes nothing."""
    down = layer.add_weight(
        autocast=False,
        name=f"{name}_down_kernel",
        shape=(copies, (dimensions - 1) * layer.units, layer.mogrifier_rank),
        initializer=initializers.of_layers(copies),
        **options,
    )
    up = layer.add_weight(
        autocast=False,
        name=f"{name}_up_kernel",
        shape=(copies, layer.mogrifier_rank, layer.units),
        initializer="zeros",
        **options,
    )
    return MogrifierRound(down=down, up=up)


def add_parameters(
    layer: keras.layers.Layer,
    cell: Cell,
    units: int,
    copies: int,
    initializers: VariableInitializers,
    prefix: str = "",
    **options: Any,
) -> tuple[keras.Variable, ...]:
    """Creates the variables of a cell's own parameters, in the order of the record.

    Args:
      layer: The layer that owns the variables.
      cell: The cell.
      units: The width of its hidden vector.
      copies: The number of layers with parameters of their own; 1 where all share them.
      initializers: The initializers of the variables.
      prefix: What the names of the variables begin with. Default: nothing.
      **options: Regularizer and constraint, as `keras.layers.Layer.add_weight` takes them.
    """
    return tuple(
        layer.add_weight(
            autocast=False,
            name=prefix + name,
            shape=(copies, *shape),
            initializer=initializers.of_layers(copies),
            **options,
        )
        for name, shape in cell.parameter_shapes(units).items()
    )
