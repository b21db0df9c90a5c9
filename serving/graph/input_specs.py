"""The table of inputs as a graph needs it: tensor specs, defaults, checks and functions."""

import inspect
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from serving.generate_inputs import Bound, GenerateInput
from serving.graph.checks import Check, check_values, checked_ranks

Outputs = dict[str, tf.Tensor]


def tensor_spec(row: GenerateInput) -> tf.TensorSpec:
    """Returns the spec of an input, all of whose dimensions are unknown."""
    return tf.TensorSpec([None] * row.rank, row.dtype, row.name)


def default_tensor(row: GenerateInput) -> tf.Tensor:
    """Returns the default of an input as a tensor of one row, `[1]` or `[1, columns]`."""
    return tf.constant([row.default], row.dtype)


def bound_checks(values: Mapping[str, tf.Tensor], inputs: Sequence[GenerateInput]) -> list[Check]:
    """Returns the checks of all bounds in a table.

    Args:
      values: Tensors of the numeric inputs, by name.
      inputs: The table.
    """
    checks = []
    for row in inputs:
        for bound in row.bounds:
            tensor = values[row.name]
            checks.append(check_values(tensor, _within(tensor, bound), row.name, bound.message))
    return checks


def _within(values: tf.Tensor, bound: Bound) -> tf.Tensor:
    """Returns which of some numbers are finite and within a bound."""
    valid = tf.ones_like(values, tf.bool)
    if values.dtype.is_floating:
        valid &= tf.math.is_finite(values)
    if bound.minimum is not None:
        minimum = tf.constant(bound.minimum, values.dtype)
        valid &= values >= minimum
    if bound.maximum is not None:
        valid &= values <= tf.constant(bound.maximum, values.dtype)
    return valid


def function_of_inputs(
    name: str,
    inputs: Sequence[GenerateInput],
    function: Callable[[dict[str, tf.Tensor]], Outputs],
    with_defaults: bool,
) -> Callable[..., Outputs]:
    """Returns a `tf.function` whose parameters are the inputs of a table.

    Args:
      name: Name of the function in the graph.
      inputs: The table; its order is that of the parameters.
      function: Function of a dictionary of the inputs, by name.
      with_defaults: Whether the parameters have the table's defaults, which a SavedModel stores
        with the signature.
    """

    def call(*tensors: tf.Tensor) -> Outputs:
        return function({row.name: tensor for row, tensor in zip(inputs, tensors, strict=True)})

    parameters = []
    for row in inputs:
        optional = with_defaults and row.default is not None
        default = default_tensor(row) if optional else inspect.Parameter.empty
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(inspect.Parameter(row.name, kind, default=default))
    call.__name__ = name
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # of any function
    return tf.function(call, autograph=False, input_signature=[tensor_spec(row) for row in inputs])


def with_rank_checks(
    function: tf.types.experimental.PolymorphicFunction, row: str = "text"
) -> tf.types.experimental.PolymorphicFunction:
    """Returns a signature that checks the ranks of its inputs before anything else.

    Its inputs have unknown ranks: TensorFlow folds the rank of others into a constant, which passes
    every check. The export gives the SignatureDef the shapes of the function's own inputs.

    Args:
      function: A `tf.function` with an input signature, whose parameters may have defaults.
      row: What a row of an input is for, in messages. Default "text".
    """
    specs = function.input_signature

    def call(*tensors: tf.Tensor) -> Outputs:
        return function(*checked_ranks(specs, tensors, row))

    call.__name__ = function.__name__
    call.__signature__ = inspect.signature(function.python_function)  # type: ignore[attr-defined]
    unknown = [tf.TensorSpec(None, spec.dtype, spec.name) for spec in specs]
    return tf.function(call, autograph=False, input_signature=unknown)
