"""What the page shows of one pair: tokens, attention, the beam, the replay of the decoding."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from pairloom.decoding.explanation import Explanation
from pairloom.server.asking import service_of
from pairloom.server.own import Search
from pairloom.server.sending import Json
from pairloom.server.shelf import Served

router = APIRouter(tags=["pairloom"])


class Pair(Search):
    """One text, and perhaps the target that is to be explained instead of the model's own output."""

    text: str = Field(min_length=1, max_length=20_000, description="the source")
    target: str | None = Field(None, min_length=1, max_length=20_000, description="the target, under teacher forcing")


@router.post("/explain")
async def explain(pair: Pair, request: Request) -> Json:
    """What the model looks at while it says the target."""
    service = service_of(request)
    served = service.shelf.find(pair.model)
    settings = service.decoding(served, **pair.asked)

    def work() -> dict[str, Any]:
        return explanation_as_json(served, served.model.explain(pair.text, pair.target, **settings.model_dump()))

    return Json(await service.call(request, served, work, pair.text, settings.beam))


def explanation_as_json(served: Served, seen: Explanation) -> dict[str, Any]:
    """All of an explanation as lists and numbers."""
    return {
        "model": served.name,
        "source": seen.source,
        "text": seen.text,
        "score": seen.score,
        "source_tokens": seen.source_tokens,
        "tokens": seen.tokens,
        "source_spans": seen.source_spans,
        "attention": seen.attention.tolist(),
        "scores": seen.scores,
        "alternatives": seen.alternatives,
        "heads": None if seen.heads is None else seen.heads.tolist(),
    }
