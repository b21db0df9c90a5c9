"""A text as a stream: small pieces, each asked for with the state that the one before has left."""

from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from serving.limits import MAX_LENGTH
from serving.protocol import Choices, Text, generate_request, strings, texts_of

_WITHIN_CODE_POINTS = bytes(range(0x80, 0xC0))  # in UTF-8


class Stream:
    """What to ask for next, and what the answers mean; for clients of any kind.

    The first piece is one character, so that it comes soon; the others have `piece`. The server
    keeps nothing. A stream stays with the version that answered first; where that is gone, the next
    one reads the text so far.

    Attributes:
      request: the next request; None at the end.
    """

    def __init__(
        self,
        model_name: str,
        prompt: str | bytes,
        length: int,
        piece: int,
        choices: Choices,
        version: int | str | None = None,
    ):
        self._model_name = model_name
        self._choices = choices
        self._piece = piece
        self._left = length
        self._next = 1
        (self._text,) = strings([prompt])
        self._unread = self._text
        self._state: tensor_pb2.TensorProto | None = None
        self._wanted = self._version = version
        self.request = self._made()

    def _made(self) -> predict_pb2.PredictRequest | None:
        if not self._left:
            return None
        length = min(self._next, self._left)
        request = generate_request(
            self._model_name, [self._unread], length, self._choices, version=self._version
        )
        if self._state is not None:
            request.inputs["state"].CopyFrom(self._state)
        return request

    def take(self, response: predict_pb2.PredictResponse) -> Text:
        """The piece that an answer holds; `request` becomes the one after it."""
        (piece,) = texts_of(response)
        self._text += piece.text
        self._unread = b""
        self._state = response.outputs["state"]
        self._version = response.model_spec.version.value
        self._left = 0 if piece.stopped else self._left - len(piece.log_probabilities)
        self._next = self._piece
        self.request = self._made()
        return piece

    def is_to_go_on_without(self, code: str) -> bool:
        """Whether to go on after a refusal, with a version that has to read the text first."""
        if code != "NOT_FOUND" or self._state is None:
            return False
        self._version, self._state = self._wanted, None
        self._unread = self._text
        if len(self._text) > MAX_LENGTH:  # cut, but not within a code point
            self._unread = self._text[-MAX_LENGTH:].lstrip(_WITHIN_CODE_POINTS)
        self.request = self._made()
        return True
