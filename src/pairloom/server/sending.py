"""How answers are written: JSON and server-sent events, in UTF-8 whatever a client or a model has said."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse

NO_STORE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""A stream is for one reader, and no proxy may hold it back."""


def encoded(content: Any) -> bytes:
    """JSON. A lone half of a surrogate pair, which JSON can hold and UTF-8 cannot, becomes a question mark."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


class Json(JSONResponse):
    """An answer in JSON."""

    def render(self, content: Any) -> bytes:
        """See `encoded`."""
        return encoded(content)


def event(content: Any, name: str = "") -> bytes:
    """One server-sent event."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + encoded(content) + b"\n\n"
