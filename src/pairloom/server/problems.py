"""Why a request is not answered: one error with a status, worded for people; each interface gives it its own form."""

from __future__ import annotations

import math


class ProblemError(Exception):
    """A request that cannot be answered as it is."""

    def __init__(
        self, status: int, message: str, *, code: str = "", param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or CODES.get(status, "error")
        self.param = param  # the field that is wrong
        self.headers: dict[str, str] = {}
        if retry_after is not None:  # in whole seconds, where trying again makes sense
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))


CODES = {
    400: "bad_request",
    401: "no_key",
    403: "wrong_key",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    411: "length_required",
    413: "too_large",
    415: "unsupported_media_type",
    421: "wrong_host",
    429: "overloaded",
    503: "overloaded",
}
"""Status → the word that programs can tell errors apart by."""


def bad(message: str, code: str = "", param: str | None = None) -> ProblemError:
    """The request itself is wrong."""
    return ProblemError(400, message, code=code, param=param)


def too_large(message: str) -> ProblemError:
    """It asks for more than one request may."""
    return ProblemError(413, message)
