"""Grid LSTMs with inputs and outputs at any of their sides."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from ..core import CoreInputs, State
from ..errors import InputError
from ..grid.reference import Sides
from ..shapes import shape_of
from .directions import backward_dimensions, require_directions
from .grid_layer import GridLayer
from .initialization import VariableInitializers
from .projection import Projection, add_projection
from .side_shapes import axis_of, extents_of, full_mask, require_sides, side_mask


@keras.saving.register_keras_serializable(package="grid_lstm")
class GridLSTMSides(GridLayer):
    """A grid of N dimensions with inputs and outputs at any of its sides.

    Along each dimension k vectors enter the grid at its first block and leave it after its last
    one. Those that enter, or leave, along k form a *side*, which extends over all other dimensions:
    in a grid [source, target, depth] the side of source has a place per target position, and that
    of target one per source position. So the source words enter the side of target, and the target
    words that of source; what leaves along source at target position j has read all source words
    and the target words up to j.

    `GridLSTMND` is the same grid with one input, at the side of depth, and one output.

    >>> layer = GridLSTMSides(4, tied_dimensions=((0, 1),), return_sides=True)
    >>> source, target = np.zeros([2, 5, 3], "float32"), np.zeros([2, 7, 3], "float32")
    >>> [tuple(one.shape) for one in layer([target, source, None])]
    [(2, 7, 1, 4), (2, 5, 1, 4), (2, 5, 7, 4)]

    Inputs are a list with an entry per dimension, depth last:

    * `None` where nothing enters: hidden and memory vectors are zeros there.
    * For depth `[batch, *extents, features]`, with the extents of all dimensions but depth.
    * For another dimension `[batch, *others, layers, features]`, with the extents of all dimensions
      but that one and depth. Without the axis of layers the same vectors enter every layer.

    Each input has a projection of its own into the hidden vectors and, with `input_memory`, the
    memory vectors. Without `project_inputs` inputs are those vectors already. The extent of a
    dimension must follow from an input at the side of another one, and may be unknown until the
    graph runs.

    A mask is a list of the same form, without the axes of layers and features: `[batch, *others]`
    or, for depth, `[batch, *extents]`; False for padding. At a masked place all vectors but those
    of depth pass unchanged, so that padding changes nothing elsewhere, and outputs are zeros.

    Args:
      units: The width of each hidden and memory vector.
      layers: The number of blocks along depth. Default 1.
      directions: The direction in which each dimension but depth is read, "forward" or "backward";
        one word stands for all. What enters along a dimension that is read backward enters at its
        end. Default "forward".
      return_sides: Whether to return what leaves all sides, rather than depth alone. Default False.
      **kwargs: Arguments of `grid_layer.GridLayer`.

    Raises:
      InputError: If an argument or the shape of an input is invalid; the message names it.
    """

    def __init__(
        self,
        units: int,
        layers: int = 1,
        directions: str | Sequence[str] = "forward",
        return_sides: bool = False,
        **kwargs: Any,
    ):
        super().__init__(units, layers, **kwargs)
        self.directions = require_directions(directions)
        self.return_sides = bool(return_sides)
        self.supports_masking = True

    def build(self, input_shape: Sequence[Any]) -> None:
        """Creates the variables.

        Args:
          input_shape: The shapes of the inputs, one per dimension; None where nothing enters.
        """
        shapes = require_sides(input_shape)
        self._backward = backward_dimensions(self.directions, len(shapes) - 1)
        self._set_dimensions(len(shapes))
        projections: list[Projection | None] = []
        initializers = VariableInitializers(self.kernel_initializer)
        for dimension, shape in enumerate(shapes):
            projection = None
            if shape is not None:
                width = self._entering_width(dimension)
                projection = add_projection(
                    self, shape[-1], width, initializers, f"side{dimension}_"
                )
                for part, variable in projection._asdict().items():
                    if variable is not None:  # a tf.train.Checkpoint finds variables by attributes
                        setattr(self, f"side{dimension}_{part}", variable)
            projections.append(projection)
        self._projections = projections
        self._add_grid()
        self.built = True

    def call(
        self,
        inputs: Sequence[tf.Tensor | None],
        mask: Sequence[tf.Tensor | None] | None = None,
        training: bool = False,
    ) -> tf.Tensor | list[tf.Tensor]:
        """Computes the outputs of a batch.

        Args:
          inputs: The inputs of each side; see `GridLSTMSides`.
          mask: The masks of each side, boolean; None for no mask.
          training: Whether dropout applies and a gradient will be taken. Default False.

        Returns:
          The hidden vectors that leave along depth at the top, `[batch, *extents, units]`. With
          `return_sides` a list of the hidden vectors that leave along each dimension, that of depth
          last; along another one they are `[batch, *others, layers, units]`.
        """
        inputs = self._require_inputs(inputs)
        keep = full_mask(inputs, mask)
        seed = self._next_seed(training)
        entering = [
            None if one is None else self._enter(dimension, one, seed)
            for dimension, one in enumerate(inputs)
        ]
        leaving = self._run_sides(entering, keep, training, seed)
        outputs = [self._output(one, leaving, keep) for one in self._returned]
        return outputs if self.return_sides else outputs[0]

    def initial_state(
        self, dimension: int, inputs: tf.Tensor | None = None, sizes: Sequence[int] = ()
    ) -> State:
        """Returns the state before the first place along a dimension, for `step`.

        Args:
          dimension: The dimension.
          inputs: What enters the side of the dimension, as `call` takes it; None for zeros.
          sizes: Without inputs, the sizes `[batch, *others]` of the state, without layers.

        Returns:
          The hidden and memory vectors, `[batch, *others, layers, width]` each.
        """
        self._require_step(dimension)
        if inputs is None:
            if len(sizes) != self.equations.dimensions - 1:
                raise InputError(
                    f"sizes is {tuple(sizes)}; without inputs it must be [batch, *others], "
                    f"{self.equations.dimensions - 1} numbers"
                )
            return State(*self.zeros(dimension, [*sizes, self.layers]))
        entering = self._enter(dimension, tf.convert_to_tensor(inputs), None)
        assert entering.memory is not None
        return State(entering.hidden, entering.memory)

    def step(
        self,
        dimension: int,
        inputs: Sequence[tf.Tensor | None],
        state: State,
        mask: Sequence[tf.Tensor | None] | None = None,
    ) -> tuple[tf.Tensor | list[tf.Tensor], State]:
        """Computes the blocks at the next place along a dimension: one row of a grid at a time.

        The rows one after another are what `call` computes at once. So a sequence that is not known
        in advance, such as the translation of a sentence, can be generated.

        >>> layer = GridLSTMSides(4)
        >>> source, target = np.ones([2, 5, 3], "float32"), np.ones([2, 7, 3], "float32")
        >>> whole = layer([target, source, None])
        >>> state = layer.initial_state(1, source)
        >>> for j in range(7):
        ...     row, state = layer.step(1, [target[:, j], None, None], state)
        ...     np.testing.assert_allclose(row, whole[:, :, j], atol=1e-5)

        Args:
          dimension: The dimension along which to step, which is not depth and is read forward.
          inputs: The inputs of each side at that place, as `call` takes them but without the axis
            of the dimension; the entry of the dimension itself is None.
          state: The state, of `initial_state` or of the step before.
          mask: The masks of each side, without the axis of the dimension; None for no mask.

        Returns:
          The outputs at that place, as `call` has them but without the axis of the dimension; and
          the new state.

        Raises:
          InputError: If the layer has no variables yet, or cannot step along the dimension.
        """
        self._require_step(dimension)
        self._require_entries(inputs)
        if inputs[dimension] is not None:
            raise InputError(
                f"inputs has an entry for dimension {dimension}, along which the layer steps; what "
                f"enters there is the state, so the entry must be None"
            )

        def at_place(parts: Sequence[Any], along: Any) -> list:
            """Returns the parts of the sides at one place, with an axis of the dimension."""
            parts = [
                None if one is None else tf.expand_dims(one, axis_of(dimension, side))
                for side, one in enumerate(parts)
            ]
            parts[dimension] = along
            return parts

        given = self._require_inputs(at_place(inputs, state.hidden))
        keep = full_mask(given, mask and at_place(mask, mask[dimension]))
        entering = [
            None if one is None or side == dimension else self._enter(side, one, None)
            for side, one in enumerate(given)
        ]
        entering[dimension] = CoreInputs(
            tf.cast(state.hidden, self.compute_dtype), tf.cast(state.memory, self.variable_dtype)
        )
        leaving = self._run_sides(entering, keep)
        outputs = []
        for side in self._returned:
            output = self._output(side, leaving, keep)
            if side != dimension:
                output = tf.squeeze(output, axis_of(dimension, side))
            outputs.append(output)
        vectors = (part[dimension] for part in leaving)
        new_state = State(*(self._batch_major(part, dimension) for part in vectors))
        return outputs if self.return_sides else outputs[0], new_state

    @property
    def _returned(self) -> Sequence[int]:
        """The dimensions whose leaving vectors are returned."""
        count = self.equations.dimensions
        return range(count) if self.return_sides else (count - 1,)

    def _require_inputs(self, inputs: Sequence[tf.Tensor | None]) -> list[tf.Tensor | None]:
        """Returns the inputs of a call as tensors."""
        self._require_entries(inputs)
        tensors = [None if one is None else tf.convert_to_tensor(one) for one in inputs]
        require_sides([None if one is None else one.shape for one in tensors])
        return tensors

    def _require_entries(self, inputs: Any) -> None:
        """Checks that inputs have an entry per dimension."""
        count = self.equations.dimensions
        if not isinstance(inputs, list | tuple) or len(inputs) != count:
            raise InputError(
                f"the inputs are not those of the {count} dimensions that the layer was built for; "
                f"give a list with an entry for each, None where nothing enters"
            )

    def _require_step(self, dimension: int) -> None:
        """Checks that the layer can step along a dimension."""
        if not self.built:
            raise InputError("the layer has no variables yet; call it once, or build it")
        count = self.equations.dimensions
        if not 0 <= dimension < count - 1:
            raise InputError(
                f"dimension is {dimension}; it must be one of the {count - 1} besides depth, "
                f"counted from 0"
            )
        if dimension in self._backward:
            raise InputError(
                f"dimension {dimension} is read backward, so its first place is the last; only "
                f"dimensions that are read forward can be stepped along"
            )

    def _enter(self, dimension: int, inputs: tf.Tensor, seed: tf.Tensor | None) -> CoreInputs:
        """Returns the vectors that enter a side, batch-major and with an axis of layers."""
        projection = self._projections[dimension]
        if projection is None:
            raise InputError(
                f"the layer was built without an input at the side of dimension {dimension}; "
                f"build it with one"
            )
        if seed is not None:
            seed = tf.random.experimental.stateless_fold_in(seed, -2 - dimension)
        rank, count = inputs.shape.rank, self.equations.dimensions
        inputs = self._drop_inputs(inputs, seed, shared_axes=range(1, rank - 1))
        entering = self._entering(inputs, dimension, projection)
        if dimension == count - 1:
            return entering
        if rank == count:
            return CoreInputs(*(tf.stack([part] * self.layers, axis=-2) for part in entering))
        if inputs.shape[-2] not in (None, self.layers):
            raise InputError(
                f"the input at the side of dimension {dimension} is for {inputs.shape[-2]} layers; "
                f"the grid has {self.layers}"
            )
        return entering

    def _run_sides(
        self,
        entering: Sequence[CoreInputs | None],
        keep: tf.Tensor | None,
        training: bool = False,
        seed: tf.Tensor | None = None,
    ) -> Sides:
        """Runs the grid on what enters, batch-major; what leaves is as the engine has it."""
        shapes = [None if one is None else shape_of(one.hidden) for one in entering]
        batch, across = extents_of(shapes)
        extents = (*across, self.layers)
        pairs = []
        for dimension, one in enumerate(entering):
            others = [*extents[:dimension], *extents[dimension + 1 :]]
            if one is None:
                pairs.append(self.zeros(dimension, [*others, batch]))
            else:
                pairs.append(tuple(self._batch_inside(part, dimension) for part in one))
        if keep is not None:
            keep = _reverse(keep, [one + 1 for one in self._backward])
            keep = tf.transpose(keep, [*range(1, len(extents)), 0])[..., None, :]
        return self.run(Sides(*zip(*pairs, strict=True)), extents, training, seed, keep)

    def _output(self, dimension: int, leaving: Sides, keep: tf.Tensor | None) -> tf.Tensor:
        """Returns the hidden vectors that leave a side, zeros where all that they saw is masked."""
        vectors = self._batch_major(leaving.hidden[dimension], dimension)
        if keep is None:
            return vectors
        shown = side_mask(keep, dimension)
        while shown.shape.rank < vectors.shape.rank:
            shown = shown[..., None]
        return tf.where(shown, vectors, tf.zeros_like(vectors))

    def _batch_inside(self, vectors: tf.Tensor, dimension: int) -> tf.Tensor:
        """Returns vectors of a side, `[batch, ..., width]`, as the engine takes them."""
        rank = vectors.shape.rank
        vectors = _reverse(vectors, self._reversed_axes(dimension))
        return tf.transpose(vectors, [*range(1, rank - 1), 0, rank - 1])

    def _batch_major(self, vectors: tf.Tensor, dimension: int) -> tf.Tensor:
        """Returns vectors of a side, `[..., batch, width]`, as users have them."""
        rank = vectors.shape.rank
        vectors = tf.transpose(vectors, [rank - 2, *range(rank - 2), rank - 1])
        return _reverse(vectors, self._reversed_axes(dimension))

    def _reversed_axes(self, dimension: int) -> list[int]:
        """Returns the axes of the batch-major side of a dimension that are read backward."""
        return [axis_of(one, dimension) for one in self._backward if one != dimension]

    def compute_mask(
        self, inputs: Sequence[Any], previous_mask: Sequence[Any] | None = None
    ) -> Any:
        """Returns the masks of what `call` returns."""
        keep = full_mask(inputs, previous_mask)
        if keep is None:
            return None
        masks = [side_mask(keep, one) for one in self._returned]
        return masks if self.return_sides else masks[0]

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None] | None]) -> Any:
        """Returns the shapes of what `call` returns."""
        batch, extents = extents_of(require_sides(input_shape))
        top = (batch, *extents, self.units)
        if not self.return_sides:
            return top
        sides = [
            (batch, *extents[:one], *extents[one + 1 :], self.layers, self.units)
            for one in range(len(extents))
        ]
        return [*sides, top]

    def get_config(self) -> dict:
        """Returns the arguments that create an equal layer."""
        config = super().get_config()
        return {**config, "directions": self.directions, "return_sides": self.return_sides}


def _reverse(values: tf.Tensor, axes: list[int]) -> tf.Tensor:
    return tf.reverse(values, axes) if axes else values
