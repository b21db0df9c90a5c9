"""The signature of a served recognizer of speech, whichever server runs it."""

from collections.abc import Callable

import tensorflow as tf

from model.errors import InputError
from model.speech.ctc import NO_LABEL
from model.speech.recognizer import Recognizer
from model.speech.streaming import StreamRecognizer
from model.speech.wav import wav_samples
from model.speech.wav_headers import WavHeaders, WavLimits, wav_headers
from model.speech.wav_problems import are_valid, describe
from serving.graph import audio_state
from serving.graph.batching import Batching
from serving.graph.checks import Check, check_row_count, check_values, require
from serving.graph.state_vectors import full_vectors, vector_checks
from serving.limits import MAX_PIECE_SECONDS, MAX_RECORDINGS

STREAM_INPUTS = [
    tf.TensorSpec([None, None], tf.float32, "samples"),
    tf.TensorSpec([None, None], tf.float32, "state"),
]


class ServedRecognizer(tf.Module):
    """A recognizer whose inputs are WAV files or pieces of streams, and whose outputs are text.

    Requests are checked one by one and then merged, within the graph, with those that arrive at the
    same time. No function is compiled by XLA, as a stock TensorFlow Serving refuses such functions.

    Attributes:
      limits: What recordings must be.
      weights: The variables of the net.
    """

    def __init__(
        self, recognizer: Recognizer, beam_width: int, max_seconds: float, batching: Batching
    ):
        """Prepares the functions of a recognizer.

        Args:
          recognizer: The recognizer.
          beam_width: Width of the beam search; 0 for the likeliest path.
          max_seconds: Largest duration of a recording, in seconds.
          batching: How requests are merged.
        """
        super().__init__()
        settings = recognizer.spectrogram
        self.limits = WavLimits(settings.sample_rate, settings.window, max_seconds)
        self.weights = [variable.value for variable in recognizer.net.variables]
        self._recognizer = recognizer
        self._beam_width = beam_width
        self._batching = batching
        self._streaming = _stream_recognizer(recognizer)
        self._fingerprint = audio_state.recognizer_fingerprint(recognizer)

    def signatures(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """Returns the functions to export as signatures, by name."""
        signatures = {
            "recognize": self.recognize,
            "serving_default": self.recognize,
            "spectrogram": self.spectrogram,
        }
        if self._streaming:
            signatures["recognize_stream"] = self._stream_signature(self._streaming)
        return signatures

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "audio")])
    def recognize(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """Recognizes what is said in recordings.

        Args:
          audio: Contents of WAV files, strings `[batch]`, of one channel of 16-bit PCM.

        Returns:
          A dictionary of `text`, strings `[batch]`; `times`, float32 `[batch, longest text]`, the
          middle of the frame in which each character begins, in seconds, -1 after the end of a row;
          and `log_probability`, float32 `[batch]`, ln p of the text given the recording.
        """
        headers = wav_headers(audio)
        with tf.control_dependencies([require(self._checks(audio, headers))]):
            audio = tf.identity(audio)
        labels, frames, log_probability = self._batching.run_merged(
            "recognize", self._transcripts, audio
        )
        labels, frames = (tf.ensure_shape(each, [None, None]) for each in (labels, frames))
        characters = tf.reduce_sum(tf.cast(labels != NO_LABEL, tf.int32), axis=1)
        longest = tf.reduce_max(characters)
        return {
            "text": self._recognizer.text(labels),
            "times": self._recognizer.seconds(frames[:, :longest]),
            "log_probability": tf.ensure_shape(log_probability, [None]),
        }

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "audio")])
    def spectrogram(self, audio: tf.Tensor) -> dict[str, tf.Tensor]:
        """Computes the spectrograms that the net reads of recordings.

        Args:
          audio: Contents of WAV files, strings `[batch]`, of one channel of 16-bit PCM. Without a
            row the answer says what recordings must be, which a client needs before the first one.

        Returns:
          A dictionary of `spectrogram`, float32 `[batch, frames, bands]`, log-mel energies in
          standard deviations from the mean of the training recordings, and zeros after the end of
          a row; `frames`, int32 `[batch]`, the frames of each; `sample_rate`, int32; and
          `max_seconds`, float32, the longest duration of a recording.
        """
        settings = self._recognizer.spectrogram
        headers = wav_headers(audio)
        with tf.control_dependencies([require(self._row_checks(audio, headers))]):
            audio = tf.identity(audio)

        def compute() -> tuple[tf.Tensor, tf.Tensor]:
            return self._recognizer.standardized(wav_samples(audio, headers))

        def nothing() -> tuple[tf.Tensor, tf.Tensor]:
            return tf.zeros([0, 0, settings.bands]), tf.zeros([0], tf.int32)

        values, frames = tf.cond(tf.shape(audio)[0] > 0, compute, nothing)
        return {
            "spectrogram": tf.ensure_shape(values, [None, None, settings.bands]),
            "frames": tf.ensure_shape(frames, [None]),
            "sample_rate": tf.constant(settings.sample_rate),
            "max_seconds": tf.constant(self.limits.max_seconds),
        }

    def _stream_signature(self, streaming: StreamRecognizer) -> Callable:
        recognizer, fingerprint = self._recognizer, self._fingerprint
        beginning = tf.zeros([1, 0])

        @tf.function(autograph=False, input_signature=STREAM_INPUTS)
        def recognize_stream(
            samples: tf.Tensor, state: tf.Tensor = beginning
        ) -> dict[str, tf.Tensor]:
            """Recognizes what the next piece of some streams adds; see the documentation."""
            rows = tf.shape(samples)[0]
            with tf.control_dependencies([require(self._stream_checks(samples, state, streaming))]):
                vectors = full_vectors(
                    state,
                    rows,
                    audio_state.state_size(recognizer, streaming),
                    lambda: audio_state.pack(streaming.begin(rows), fingerprint),
                )
            before = audio_state.unpack(vectors, recognizer, streaming)
            heard, after = streaming.advance(before, samples)
            return {
                "text": recognizer.text(heard.labels),
                "times": recognizer.seconds(heard.frames),
                "state": audio_state.pack(after, fingerprint),
            }

        return recognize_stream

    def _stream_checks(
        self, samples: tf.Tensor, state: tf.Tensor, streaming: StreamRecognizer
    ) -> list[Check]:
        rows, added = tf.unstack(tf.shape(samples))
        flat = tf.reshape(samples, [-1])
        limit = int(MAX_PIECE_SECONDS * self.limits.sample_rate)
        size = audio_state.state_size(self._recognizer, streaming)
        return [
            Check(rows > 0, lambda: tf.constant("samples has no rows; give at least one stream")),
            check_values(
                rows[None],
                rows[None] <= MAX_RECORDINGS,
                "samples:",
                f"rows are over the limit of {MAX_RECORDINGS}",
            ),
            check_values(
                added[None],
                added[None] <= limit,
                "samples:",
                f"per row are over the limit of {limit}, {MAX_PIECE_SECONDS:g} seconds; send "
                "shorter pieces",
            ),
            # Not a number is in no range either.
            check_values(flat, tf.abs(flat) <= 1, "samples", "must be from -1 to 1"),
            check_row_count("state", state, rows, "streams"),
            *vector_checks(state, size, self._fingerprint, "stream"),
        ]

    def _checks(self, audio: tf.Tensor, headers: WavHeaders) -> list[Check]:
        has_rows = tf.shape(audio)[0] > 0
        problem = "audio has no rows; give at least one WAV file"
        return [Check(has_rows, lambda: tf.constant(problem)), *self._row_checks(audio, headers)]

    def _row_checks(self, audio: tf.Tensor, headers: WavHeaders) -> list[Check]:
        rows = tf.shape(audio)[0]
        valid = are_valid(headers, self.limits)

        def build_message() -> tf.Tensor:
            # All messages are built where a check fails, so also where there is no row.
            row = tf.argmax(tf.concat([~valid, [True]], axis=0))
            sentence = tf.concat([describe(headers, self.limits), [""]], axis=0)[row]
            return tf.strings.join(["audio row ", tf.strings.as_string(row), " ", sentence])

        limit = f"rows are over the limit of {MAX_RECORDINGS}"
        return [
            check_values(rows[None], rows[None] <= MAX_RECORDINGS, "audio:", limit),
            Check(tf.reduce_all(valid), build_message),
        ]

    def _transcripts(self, audio: tf.Tensor) -> list[tf.Tensor]:
        """Returns labels, frames and ln p of valid recordings."""
        samples = wav_samples(audio, wav_headers(audio))
        return list(self._recognizer.recognize(samples, self._beam_width))


def _stream_recognizer(recognizer: Recognizer) -> StreamRecognizer | None:
    """Returns the recognizer for streams, or None for a net that streams cannot go through."""
    try:
        return StreamRecognizer(recognizer)
    except InputError:
        return None
