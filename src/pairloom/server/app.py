"""The application: all interfaces before one service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from pairloom.server import deepl, explain, libre, openai, operation, own, pages
from pairloom.server.guards import Guards
from pairloom.server.meters import Meters
from pairloom.server.problems import ProblemError, bad
from pairloom.server.service import Service
from pairloom.server.settings import ServerSettings
from pairloom.server.shelf import Shelf
from pairloom.version import __version__


def create_app(shelf: Shelf, settings: ServerSettings) -> FastAPI:
    """The ASGI application of a server with these models."""
    service = Service(shelf, settings, Meters())

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="pairloom",
        version=__version__,
        lifespan=life,
        docs_url=None,  # FastAPI's pages of documentation load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    app.add_middleware(Guards, service=service, straight={"/generate": own.straight})
    if settings.cors:  # outside of the guards, so that a page can read a refusal, too
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-Id"],
            expose_headers=["Retry-After", "X-Request-Id"],
        )
    for part in (pages, own, explain, libre, deepl, openai, operation):
        app.include_router(part.router)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    return app


# Both only reword; the guards answer every ProblemError in the form of its interface, and count it.


async def _invalid(request: Request, error: Exception) -> Response:
    """What is wrong with a request, field by field; never what was given, which may be long or secret."""
    assert isinstance(error, RequestValidationError)
    found = [f"{'.'.join(str(part) for part in one['loc'][1:]) or 'body'}: {one['msg']}" for one in error.errors()]
    first = error.errors()[0]["loc"][1:]
    raise bad("; ".join(found)[:2000], param=str(first[0]) if first else None) from None


async def _refused(request: Request, error: Exception) -> Response:
    """Paths and methods that there are not."""
    assert isinstance(error, HTTPException)
    problem = ProblemError(error.status_code, str(error.detail))
    problem.headers.update(error.headers or {})
    raise problem from None
