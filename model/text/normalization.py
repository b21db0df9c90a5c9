"""The normalisation of text before it becomes ids, in training and in serving alike."""

import tensorflow as tf
import tensorflow_text as tf_text

_ESCAPE, _OF_NUL, _OF_ITSELF = "\U0010ffff", "\U0010fffe", "\U0010fffd"
"""Code points without lower-case forms: the first before the second stands for NUL, and before the
third for itself."""


class TextNormalization(tf.Module):
    """Lower-cases text, then composes it to Unicode's normal form C.

    Lower-casing comes first, as it may leave characters decomposed. As a SavedModel it is the graph
    that the Transform stage runs and that served models hold.

    Args:
      normalize: Whether to compose text to the normal form C.
      lowercase: Whether to lower-case text.
    """

    def __init__(self, normalize: bool, lowercase: bool):
        super().__init__()
        self._normalize = normalize
        self._lowercase = lowercase

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        """Normalises texts `[batch]`, UTF-8."""
        if self._lowercase:
            # The kernel reads C strings: it would drop what follows a NUL.
            text = tf.strings.regex_replace(text, _ESCAPE, _ESCAPE + _OF_ITSELF)
            text = tf.strings.regex_replace(text, "\\x00", _ESCAPE + _OF_NUL)
            text = tf.strings.lower(text, encoding="utf-8")
            text = tf.strings.regex_replace(text, _ESCAPE + _OF_NUL, "\0")
            text = tf.strings.regex_replace(text, _ESCAPE + _OF_ITSELF, _ESCAPE)
        if self._normalize:
            text = tf_text.normalize_utf8(text, "NFC")
        return text
