"""Shapes and masks of the inputs at the sides of a grid.

The side of a dimension has the axes `[batch, *others, features]`, with the extents of all other
dimensions besides depth; that of depth has all of them. The sides of the others may have an axis of
layers before the features. Masks have neither layers nor features.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from ..errors import InputError

Size: TypeAlias = "int | tf.Tensor | None"
"""The size of an axis: a scalar tensor, or None, where it is unknown."""


def require_sides(shapes: Any) -> list[list[Size] | None]:
    """Checks that there is a shape, or None, per dimension, and that each has as many axes as due.

    Args:
      shapes: The shapes of the inputs at each side; None where nothing enters.

    Returns:
      The shapes as lists.

    Raises:
      InputError: If they are of one tensor, if nothing enters at all, or if one has other axes.
    """
    given = [one for one in shapes if one is not None]
    if not given or any(not isinstance(one, Sequence | tf.TensorShape) for one in given):
        raise InputError(
            f"the inputs have the shapes {tuple(shapes)}; expected a list with an entry for each "
            f"dimension, None where nothing enters, of which at least one is a tensor"
        )
    count = len(shapes)
    sides: list[list[Size] | None] = []
    for dimension, shape in enumerate(shapes):
        if shape is None:
            sides.append(None)
            continue
        axes = list(shape)
        ranks = [count + 1] if dimension == count - 1 else [count, count + 1]
        if len(axes) not in ranks:
            others = "".join(f", extent {one}" for one in range(count - 1) if one != dimension)
            raise InputError(
                f"the input at the side of dimension {dimension} has the shape {tuple(axes)}; "
                f"expected [batch{others}, features] in a grid of {count} dimensions"
            )
        sides.append(axes)
    return sides


def extents_of(sides: Sequence[Sequence[Size] | None]) -> tuple[Size, list[Size]]:
    """Returns the batch size and the extents of all dimensions but depth, from the sides' shapes.

    >>> extents_of([(8, 7, 3), (8, 5, 3), None])  # of a grid [source, target, depth]
    (8, [5, 7])

    Args:
      sides: The shapes of what enters each side, whose sizes may be tensors or None; None where
        nothing enters.

    Raises:
      InputError: If two sides contradict each other, or if none has the extent of a dimension.
    """

    def only(name: str, sizes: list[Size]) -> Size:
        known = sorted({size for size in sizes if isinstance(size, int)})
        if len(known) > 1:
            raise InputError(
                f"the inputs have the sizes {', '.join(map(str, known))} for {name}; they must "
                f"agree"
            )
        return known[0] if known else sizes[0]

    extents = []
    for dimension in range(len(sides) - 1):
        sizes = [
            side[axis_of(dimension, own)]
            for own, side in enumerate(sides)
            if side is not None and own != dimension
        ]
        if not sizes:
            raise InputError(
                f"no input has the extent of dimension {dimension}; give one, which may be zeros, "
                f"at the side of another dimension"
            )
        extents.append(only(f"the extent of dimension {dimension}", sizes))
    return only("the batch", [side[0] for side in sides if side is not None]), extents


def axis_of(dimension: int, side: int) -> int:
    """Returns the axis of a dimension in the batch-major vectors of the side of another one."""
    return 1 + dimension - (dimension > side)


def full_mask(inputs: Sequence[Any], masks: Sequence[Any] | None) -> Any:
    """Returns the mask of all places, `[batch, *extents]`: those that no side's mask excludes.

    It is computed by `keras.ops`, so that it may be symbolic.

    Args:
      inputs: The inputs at each side; None where nothing enters.
      masks: The mask of each side; None, or None for a side, for no mask.

    Returns:
      A boolean mask; None if nothing is masked.

    Raises:
      InputError: If a mask has other axes than the side.
    """
    if masks is None or all(one is None for one in masks):
        return None
    count = len(inputs)
    if not isinstance(masks, list | tuple) or len(masks) != count:
        raise InputError(f"mask must be a list of {count} masks or None, one for each dimension")
    whole = None
    for dimension, (entering, mask) in enumerate(zip(inputs, masks, strict=True)):
        is_depth = dimension == count - 1
        axes = count if is_depth else count - 1
        if mask is not None:
            places = keras.ops.cast(keras.ops.convert_to_tensor(mask), "bool")
            if len(places.shape) != axes:
                raise InputError(
                    f"the mask of dimension {dimension} has the shape {tuple(places.shape)}; "
                    f"expected the {axes} first axes of its side, without layers and features"
                )
        elif entering is not None:
            # All places, so that the whole mask has all extents.
            places = entering
            while len(places.shape) > axes:
                places = places[..., 0]
            places = keras.ops.ones_like(places, dtype="bool")
        else:
            continue
        if not is_depth:
            places = keras.ops.expand_dims(places, dimension + 1)
        whole = places if whole is None else keras.ops.logical_and(whole, places)
    return whole


def side_mask(whole: Any, dimension: int) -> Any:
    """Returns the mask of a side from that of all places: a line counts if any place of it does.

    Args:
      whole: The mask of all places, `[batch, *extents]`.
      dimension: The dimension; that of depth has all places.
    """
    is_depth = dimension == len(whole.shape) - 1
    return whole if is_depth else keras.ops.any(whole, axis=dimension + 1)
