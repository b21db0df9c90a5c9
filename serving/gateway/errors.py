"""The errors that the gateway answers with, in the forms of its protocols."""

import re
from typing import Any

import grpc

from serving.messages import plain
from serving.protocol import HTTP_STATUS

_RETRY_SECONDS = 1
_TOO_LARGE = re.compile("received message larger than max", re.IGNORECASE)
# The gateway is a client of the model server: what that refuses it, or cancels, is no fault of its
# own clients.
_STATUS_OF_CODE = {
    **HTTP_STATUS,
    "CANCELLED": 500,
    "UNAUTHENTICATED": 502,
    "PERMISSION_DENIED": 502,
}
_TYPES = {404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An error that a client is answered with.

    Attributes:
      status: Status code of HTTP.
      message: One sentence that names the problem, and the remedy.
      param: Name of the field of the request that is at fault; None for none.
      code: Word that names the problem for programs; None for none.
      grpc_code: Name of the gRPC status code that the model server answered with; empty where the
        error is the gateway's own.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        grpc_code: str = "",
    ):
        """Stores what the attributes describe."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.grpc_code = grpc_code

    def body(self, path: str) -> dict[str, Any]:
        """Returns the JSON of the answer.

        It is `{"error": {"message", "type", "param", "code"}}`, and for the Open Inference Protocol
        `{"error": message}`.

        Args:
          path: Path of the request.
        """
        if path == "/v2" or path.startswith("/v2/"):
            return {"error": self.message}
        default = "server_error" if self.status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": self.message,
                "type": _TYPES.get(self.status, default),
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer: when to ask again, where that may help."""
        return {"Retry-After": str(_RETRY_SECONDS)} if self.status in (429, 503) else {}


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """Returns the answer to an invalid request."""
    return ApiError(400, message, param, code)


def of_backend(error: grpc.RpcError) -> ApiError:
    """Returns the answer to a request for which a call of the model server failed.

    Args:
      error: The error of the call.
    """
    code = error.code().name
    status = _STATUS_OF_CODE.get(code, 500)
    if _TOO_LARGE.search(error.details() or ""):
        return invalid("the answer of the model server is too large; ask for less")
    if code == "UNAVAILABLE":
        message = "the model server does not answer; ask again later"
    elif code == "DEADLINE_EXCEEDED":
        message = "the model server took too long; ask for less, or again later"
    else:
        message = plain(error.details() or code)
    return ApiError(status, message, code=code.lower(), grpc_code=code)
