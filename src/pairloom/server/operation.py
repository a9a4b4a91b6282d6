"""For those who operate a server: is it alive, does it want requests, what has it done."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from pairloom.server.asking import service_of
from pairloom.server.sending import Json

router = APIRouter(tags=["operation"])


@router.get("/healthz")
async def alive() -> Json:
    """200 as long as the process answers."""
    return Json({"status": "ok"})


@router.get("/readyz", responses={503: {"description": "it ends, or a worker has died"}})
async def ready(request: Request) -> Json:
    """200 while new requests are welcome, 503 while the server ends."""
    service = service_of(request)
    if service.ready:
        return Json({"status": "ready"})
    return Json({"status": "draining" if service.draining else "not ready"}, 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Counters and gauges in Prometheus' text format."""
    return Response(service_of(request).meters.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")
