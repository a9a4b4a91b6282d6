"""The page at `/` and its files, which come from this package alone and may load nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.responses import Response

from pairloom.server.problems import ProblemError

FOLDER = Path(__file__).parent / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""No script, style, picture or request but this server's own, and none of it written into the page itself."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page() -> Response:
    """The page."""
    return _file("index.html")


@router.get("/page/{name}")
async def part(name: str) -> Response:
    """A script, a style or a picture of the page."""
    return _file(name)


def _file(name: str) -> Response:
    """Only names that stand in the folder are served: no path can lead out of it."""
    there = {path.name: path for path in FOLDER.iterdir() if path.suffix in KINDS}
    if name not in there:
        raise ProblemError(404, f"the page has no file {name!r:.100}")
    return FileResponse(there[name], media_type=KINDS[there[name].suffix], headers=HEADERS)
