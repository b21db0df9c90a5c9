"""Recognition of a stream: chunk by chunk, the same text as of the whole by the likeliest path.

Of a stream only so much is kept as the next frame needs: the samples that no whole frame has
covered, the class of the last frame, and the states of the net's recurrent layers. So the net must
be a chain of layers that read frames forward, or each by itself.
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from ..core import CoreInputs, State
from ..errors import InputError
from ..layers.sequence import SequenceLayer
from .ctc import NO_LABEL
from .log_mel import log_mel_spectrogram
from .recognizer import Recognizer, standardize
from .wav import Samples

_OF_EACH_FRAME = (
    keras.layers.InputLayer,
    keras.layers.Activation,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.GaussianNoise,
    keras.layers.LayerNormalization,
)


class StreamState(NamedTuple):
    """What is kept of some streams.

    Attributes:
      left: Samples that no whole frame has covered, float32 `[batch, window - 1]`, then zeros.
      count: Number of these samples, int32 `[batch]`.
      frames: Number of frames so far, int32 `[batch]`.
      previous: Class of the last frame, int32 `[batch]`; the blank at the beginning.
      layers: State of each recurrent layer, of tensors `[layers, batch, units]`.
    """

    left: tf.Tensor
    count: tf.Tensor
    frames: tf.Tensor
    previous: tf.Tensor
    layers: tuple[State, ...]


class Heard(NamedTuple):
    """What a chunk adds to the text of each stream.

    Attributes:
      labels: Labels, int32 `[batch, most]`, padded with `NO_LABEL`.
      frames: Frame in which each begins, counted from the beginning of the stream, int32
        `[batch, most]`, padded likewise.
    """

    labels: tf.Tensor
    frames: tf.Tensor


class StreamRecognizer:
    """Recognizes streams chunk by chunk.

    >>> from model.speech.log_mel import LogMel
    >>> net = keras.Sequential([keras.Input([None, 40]), keras.layers.Dense(11)])
    >>> recognizer = Recognizer(net, "0123456789", LogMel(8000), np.zeros(40), np.ones(40))
    >>> streaming = StreamRecognizer(recognizer)
    >>> heard, state = streaming.advance(streaming.begin(1), tf.zeros([1, 400]))
    >>> state.frames.numpy(), state.count.numpy()
    (array([3], dtype=int32), array([160], dtype=int32))

    Args:
      recognizer: The recognizer.

    Raises:
      InputError: If its net looks back or across frames other than by recurrent layers, or its
        frames are further apart than they are long.
    """

    def __init__(self, recognizer: Recognizer):
        settings = recognizer.spectrogram
        if settings.step > settings.window:
            raise InputError(
                f"step_ms is {settings.step_ms:g} and window_ms {settings.window_ms:g}; a stream "
                "needs frames that are not further apart than they are long"
            )
        self._recognizer = recognizer
        self._layers = _chain(recognizer.net)
        self.recurrent = [one for one in self._layers if isinstance(one, SequenceLayer)]

    def begin(self, batch: int | tf.Tensor) -> StreamState:
        """Returns the state of streams of which nothing has been heard.

        Args:
          batch: Number of streams.
        """
        none = tf.zeros([batch], tf.int32)
        blank = len(self._recognizer.labels)
        layers = [
            State(
                hidden=tf.zeros([one.state_layers, batch, one.units]),
                memory=tf.zeros([one.state_layers, batch, one.memory_width]),
            )
            for one in self.recurrent
        ]
        left = tf.zeros([batch, self._recognizer.spectrogram.window - 1])
        return StreamState(left, none, none, none + blank, tuple(layers))

    def advance(self, state: StreamState, chunk: tf.Tensor) -> tuple[Heard, StreamState]:
        """Hears a chunk of each stream.

        Args:
          state: State before the chunk.
          chunk: Samples in [-1, 1], float32 `[batch, samples]`, of any number.
        """
        samples = self._joined(state, chunk)
        spectrogram, frames = self._frames(samples)
        keep = tf.sequence_mask(frames, tf.shape(spectrogram)[1])
        logits, layers = self._logits(spectrogram, keep, state.layers)
        classes = tf.argmax(logits, axis=-1, output_type=tf.int32)
        before = tf.concat([state.previous[:, None], classes[:, :-1]], axis=1)
        begins = keep & (classes != before) & (classes != len(self._recognizer.labels))
        numbers = state.frames[:, None] + tf.range(tf.shape(classes)[1])[None]
        heard = Heard(*(_selected(one, begins) for one in (classes, numbers)))
        used = frames * self._recognizer.spectrogram.step
        last = tf.gather(classes, tf.maximum(frames - 1, 0), axis=1, batch_dims=1)
        following = StreamState(
            left=_window(samples.values, used, samples.lengths, tf.shape(state.left)[1]),
            count=samples.lengths - used,
            frames=state.frames + frames,
            previous=tf.where(frames > 0, last, state.previous),
            layers=layers,
        )
        return heard, following

    def _joined(self, state: StreamState, chunk: tf.Tensor) -> Samples:
        """Returns what was left and the chunk, padded to a frame at least."""
        room, added = tf.shape(state.left)[1], tf.shape(chunk)[1]
        both = tf.concat([state.left, chunk], axis=1)
        at = tf.range(tf.maximum(room + added, self._recognizer.spectrogram.window))[None]
        lengths = state.count + added
        source = tf.where(at < state.count[:, None], at, at - state.count[:, None] + room)
        values = tf.gather(both, tf.clip_by_value(source, 0, room + added - 1), batch_dims=1)
        return Samples(tf.where(at < lengths[:, None], values, 0.0), lengths)

    def _frames(self, samples: Samples) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns standardized frames, one at least, and how many count of each stream."""
        recognizer = self._recognizer
        settings = recognizer.spectrogram
        frames = settings.frame_counts(samples.lengths)
        spectrogram = log_mel_spectrogram(samples.values, settings)
        return standardize(spectrogram, frames, recognizer.mean, recognizer.scale), frames

    def _logits(
        self, spectrogram: tf.Tensor, keep: tf.Tensor, states: tuple[State, ...]
    ) -> tuple[tf.Tensor, tuple[State, ...]]:
        """Returns the logits of frames, and the states after those that are kept."""
        features, left, after = spectrogram, list(states), []
        for layer in self._layers:
            if isinstance(layer, SequenceLayer):
                entering = (
                    None if part is None else tf.transpose(part, [1, 0, 2])
                    for part in layer.core_inputs(features)
                )
                steps = CoreInputs(*entering)
                outputs, state = layer.over_time(steps, left.pop(0), keep=tf.transpose(keep))
                features = tf.transpose(outputs, [1, 0, 2])
                after.append(State(*state))
            else:
                features = layer(features)
        return features, tuple(after)


def _selected(values: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Returns the chosen values of each row, `[batch, most]`, padded with `NO_LABEL`."""
    return tf.ragged.boolean_mask(values, chosen).to_tensor(NO_LABEL)


def _window(values: tf.Tensor, begin: tf.Tensor, end: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Returns the values of each row from a place to its end, padded with zeros to a size."""
    at = begin[:, None] + tf.range(size)[None]
    found = tf.gather(values, tf.minimum(at, tf.shape(values)[1] - 1), batch_dims=1)
    return tf.where(at < end[:, None], found, 0.0)


def _chain(net: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers of a net in order, if it is a chain that streams can go through."""
    chain: list[keras.layers.Layer] = []
    for operation in keras.Model(net.inputs, net.outputs).operations:
        follows = not chain or operation.input is chain[-1].output
        if not follows or not _reads_forward(operation):
            raise InputError(
                f"{operation.name} of the net is no recurrent layer that reads forward and returns "
                "sequences, and no layer of each frame by itself in a chain; streams need those"
            )
        chain.append(operation)
    return [one for one in chain if not isinstance(one, keras.layers.InputLayer)]


def _reads_forward(operation: keras.Operation) -> bool:
    if isinstance(operation, SequenceLayer):
        return operation.return_sequences and not operation.go_backwards
    if isinstance(operation, keras.layers.Reshape):
        return operation.target_shape[0] == -1 and len(operation.target_shape) == 2
    if isinstance(operation, keras.layers.LayerNormalization):
        return operation.axis in (-1, [-1], 2, [2])  # another axis mixes the frames
    return isinstance(operation, _OF_EACH_FRAME)
