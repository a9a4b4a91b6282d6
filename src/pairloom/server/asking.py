"""What every interface needs of a request: the server's service, and its body as JSON, a form or a query."""

from __future__ import annotations

from typing import cast

from fastapi import Request

from pairloom.server.service import Service


def service_of(request: Request) -> Service:
    """The service of the application that the request came to."""
    return cast(Service, request.app.state.service)
