"""Exports a recognizer of speech as a SavedModel with signatures and warm-up requests."""

import numpy as np
import tensorflow as tf

from model.config import require_range
from model.speech.recognizer import Recognizer
from serving.graph.batching import Batching
from serving.graph.export import predict_log, save_signatures, write_warm_up
from serving.graph.served_recognizer import ServedRecognizer
from serving.limits import MAX_RECORDING_SECONDS, MAX_RECORDINGS, MAX_SEARCH_WIDTH


def export_recognizer(
    recognizer: Recognizer,
    directory: str,
    beam_width: int = 16,
    max_seconds: float = 30.0,
    batching: Batching | None = None,
) -> None:
    """Writes a SavedModel with the signatures of `ServedRecognizer`.

    Those are `recognize`, `spectrogram`, and `recognize_stream` of a net that `StreamRecognizer`
    accepts.

    Example:

      >>> import keras, numpy as np, tempfile
      >>> from model.speech.log_mel import LogMel
      >>> from model.speech.recognizer import Recognizer
      >>> net = keras.Sequential([keras.Input([None, 40]), keras.layers.Dense(11)])
      >>> recognizer = Recognizer(net, "0123456789", LogMel(8000), np.zeros(40), np.ones(40))
      >>> wav = tf.audio.encode_wav(tf.zeros([8000, 1]), 8000)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     export_recognizer(recognizer, f"{folder}/1")
      ...     signatures = tf.saved_model.load(f"{folder}/1").signatures
      ...     outputs = signatures["recognize"](audio=wav[None])
      >>> sorted(outputs)
      ['log_probability', 'text', 'times']

    Args:
      recognizer: The recognizer.
      directory: Directory to write, the directory of a version.
      beam_width: Width of the beam search for the likeliest text; 0 for the text of the likeliest
        path. Default 16.
      max_seconds: Largest duration of a recording, in seconds. Default 30.
      batching: How requests are merged. Default: batches of `MAX_RECORDINGS` rows at most.

    Raises:
      InputError: If the width or the duration is out of range.
    """
    require_range("beam_width", beam_width, 0, MAX_SEARCH_WIDTH + 1)
    shortest = recognizer.spectrogram.window / recognizer.spectrogram.sample_rate
    require_range("max_seconds", max_seconds, shortest, MAX_RECORDING_SECONDS + 1)
    batching = batching or Batching(max_batch_size=MAX_RECORDINGS)
    served = ServedRecognizer(recognizer, beam_width, max_seconds, batching)
    signatures = served.signatures()
    save_signatures(served, signatures, directory, row="recording")
    rate = recognizer.spectrogram.sample_rate
    silence = tf.audio.encode_wav(tf.zeros([round(rate * min(max_seconds, 1.0)), 1]), rate)
    audio = {"audio": np.array([silence.numpy()], object)}
    requests = {"recognize": audio, "serving_default": audio, "spectrogram": audio}
    if "recognize_stream" in signatures:
        piece = np.zeros([1, 2 * recognizer.spectrogram.window], np.float32)
        requests["recognize_stream"] = {"samples": piece}
    write_warm_up(directory, [predict_log(*request) for request in requests.items()])
