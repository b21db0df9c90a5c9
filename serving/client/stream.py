"""Generates a text as a stream of short pieces; the client carries the state between requests."""

from typing import NamedTuple

from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from serving.limits import MAX_LENGTH
from serving.protocol import SamplingParams, Text, generate_request, read_texts, to_bytes_array

_CONTINUATION_BYTES = bytes(range(0x80, 0xC0))  # of UTF-8


class ReadPrefix(NamedTuple):
    """The beginning of a prompt that a model has read.

    Attributes:
      text: The beginning; at the end of a code point.
      state: The state after it.
      version: Number of the version whose state it is.
    """

    text: bytes
    state: tensor_pb2.TensorProto
    version: int


class Stream:
    """The requests of a stream, and what their answers mean; for clients of any kind.

    The first piece is one character, so that it comes soon; the others have `piece_length`. The
    server keeps nothing between requests. A stream stays with the version that answered first;
    where that has been unloaded, another version reads the text so far, and draws the numbers of
    the seed from the first one on.

    Attributes:
      request: Next request to send; None at the end of the stream.
    """

    def __init__(
        self,
        model_name: str,
        prompt: str | bytes,
        length: int,
        piece_length: int,
        params: SamplingParams,
        version: int | str | None = None,
        prefix: ReadPrefix | None = None,
    ):
        """Prepares the first request.

        Args:
          model_name: Name of the model.
          prompt: Text to continue.
          length: Number of characters to add.
          piece_length: Number of characters of each piece but the first.
          params: Parameters of sampling.
          version: Number or label of the version to begin with; None for the newest.
          prefix: Beginning of the prompt that has been read; None for none.

        Raises:
          ValueError: If a piece would have no character.
        """
        if piece_length < 1:
            raise ValueError(f"piece_length is {piece_length}; it must be at least 1")
        self._model_name = model_name
        self._params = params
        self._piece_length = piece_length
        self._remaining = length
        self._next_length = 1
        self._is_unicode = False
        (self._text,) = to_bytes_array([prompt])
        self._unread = self._text
        self._state: tensor_pb2.TensorProto | None = None
        self._requested_version = self._version = version
        if prefix is not None:
            self._unread = self._text[len(prefix.text) :]
            self._state, self._version = prefix.state, prefix.version
        self.request = self._next_request()

    def _next_request(self) -> predict_pb2.PredictRequest | None:
        if not self._remaining:
            return None
        length = min(self._next_length, self._remaining)
        request = generate_request(
            self._model_name, [self._unread], length, self._params, version=self._version
        )
        if self._state is not None:
            request.inputs["state"].CopyFrom(self._state)
        return request

    def advance(self, response: predict_pb2.PredictResponse) -> Text:
        """Returns the piece in the answer to `request`, and moves `request` on to the next one."""
        (piece,) = read_texts(response)
        self._text += piece.text
        self._is_unicode |= len(piece.text) != len(piece.log_probabilities)
        self._unread = b""
        self._state = response.outputs["state"]
        self._version = response.model_spec.version.value
        self._remaining -= len(piece.log_probabilities)
        if piece.stopped:
            self._remaining = 0
        self._next_length = self._piece_length
        self.request = self._next_request()
        return piece

    def retry_with_other_version(self, code: str) -> bool:
        """Returns whether to go on after an error, with a version that reads the text first.

        If so, `request` has become one for that version.

        Args:
          code: Name of the gRPC status code of the error.
        """
        if code != "NOT_FOUND" or self._state is None:
            return False
        self._version, self._state = self._requested_version, None
        self._unread = self._text
        if self._is_unicode:
            self._unread = self._text.decode("utf-8", "replace")[-MAX_LENGTH:].encode()
        elif len(self._text) > MAX_LENGTH:  # cut, but not within a code point
            self._unread = self._text[-MAX_LENGTH:].lstrip(_CONTINUATION_BYTES)
        self.request = self._next_request()
        return True
