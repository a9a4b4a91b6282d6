"""The shape in which each interface says what went wrong."""

from __future__ import annotations

from typing import Any

from pairloom.server.problems import ProblemError
from pairloom.server.sending import Json

LIBRE = ("/translate", "/languages", "/detect", "/frontend/", "/suggest")


def body_of(path: str, problem: ProblemError) -> dict[str, Any]:
    """The JSON of an error, as clients of that path read it."""
    if path.startswith("/v2/"):
        return {"message": problem.message}
    if path.startswith("/v1/"):
        kind = "invalid_request_error" if problem.status < 500 and problem.status != 429 else "server_error"
        return {"error": {"message": problem.message, "type": kind, "param": problem.param, "code": problem.code}}
    if path.startswith(LIBRE):
        return {"error": problem.message}
    return {"error": {"code": problem.code, "message": problem.message}}


def response_of(path: str, problem: ProblemError) -> Json:
    """The same as a response."""
    return Json(body_of(path, problem), problem.status, problem.headers)
