"""What the page shows of one text: the tokens of both sides, the attention, the decoding step by step, the beam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from pairloom.pictures.labels import visible
from pairloom.server.asking import service_of
from pairloom.server.own import Spoken
from pairloom.server.sending import Json, encoded
from pairloom.server.shelf import Served

if TYPE_CHECKING:
    from pairloom.decoding.explanation import Steps
    from pairloom.decoding.replay import Replay, States
    from pairloom.decoding.trace import Trace

router = APIRouter(tags=["pairloom"])

UNITS = 32
"""Numbers of each encoder state that are sent."""
MOST_WEIGHTS = 300_000
"""Weights of all layers and heads together that are sent; of longer texts only those that the model goes by."""


class Pair(Spoken):
    """One text, and perhaps a target that is read under teacher forcing beside the model's own output."""

    text: str = Field(min_length=1, max_length=20_000, description="the source")
    target: str | None = Field(None, min_length=1, max_length=20_000, description="a target to be read as well")


@router.post("/explain")
async def explain(pair: Pair, request: Request) -> Response:
    """The decoding of a text: the encoder's states, weights, the most probable tokens of each step, the whole beam.

    `attention` is [T, S] (tokens written by tokens read), `heads` [L, N, T, S], or null and `heads_left_out` where they
    are too many. Each entry of `beam.steps` is a list of alternatives whose `parent` is a place in the entry before it,
    and each of `beam.endings` the path of an output.
    """
    service = service_of(request)
    served = service.shelf.find(pair.model)
    settings = service.decoding(served, **pair.asked)
    service.check([*pair.before, pair.text, pair.target or ""])
    text = pair.read(served, pair.text)

    def work() -> bytes:
        found = served.model.replay(text, pair.target, **settings.model_dump())
        return encoded(
            replay_as_json(served, found)
        )  # here, for a long one takes its time, and nobody would be answered

    content = await service.call(request, served, work, text, width=settings.beam, target=pair.target or "")
    return Response(content, media_type=Json.media_type)


def replay_as_json(served: Served, found: Replay) -> dict[str, Any]:
    """A replay as lists and numbers; tokens as labels that can be seen."""
    folder = served.model.folder
    read = len(found.free.source_tokens) - 1
    return {
        "schema": 1,
        "model": served.name,
        "kind": folder.settings.kind,
        "source": found.free.source,
        "source_tokens": [visible(token) for token in found.free.source_tokens],
        "cut": max(0, len(folder.source.encode(found.free.source)) - read),
        "free": _steps(found.free),
        "forced": None if found.forced is None else _steps(found.forced),
        "states": _states(found.states),
        "beam": None if found.trace is None else _beam(served, found.trace),
    }


def _steps(steps: Steps) -> dict[str, Any]:
    too_many = steps.heads is not None and steps.heads.size > MOST_WEIGHTS
    return {
        "text": steps.text,
        "tokens": [visible(token) for token in steps.tokens],
        "score": steps.score,
        "scores": steps.scores,
        "ranks": steps.ranks,
        "alternatives": [[(visible(token), share) for token, share in step] for step in steps.alternatives],
        "attention": _rounded(steps.attention),
        "heads": None if too_many else _rounded(steps.heads),
        "heads_left_out": too_many,
    }


def _states(states: States) -> dict[str, Any]:
    """The units that differ most between the source tokens, and the plane of the first two components.

    A context vector, being a mean of the states by their weights, is the same mean of what is sent of them.
    """
    units = states.units(UNITS)
    if states.annotations is None:
        return {"size": len(states.context), "units": units, "values": [_rounded(states.context[units])]}
    places, shares = states.places()
    return {
        "size": states.annotations.shape[1],
        "units": units,
        "values": _rounded(states.annotations[:, units]),
        "places": _rounded(places),
        "shares": _rounded(shares),
    }


def _beam(served: Served, trace: Trace) -> dict[str, Any]:
    target = served.model.folder.target
    names = {one.token: visible(target.tokens([one.token])[0]) for step in trace.steps for one in step}
    return {
        **vars(trace),
        "steps": [[{**vars(one), "token": names[one.token]} for one in step] for step in trace.steps],
        "endings": [{**vars(one), "text": target.decode(one.tokens), "tokens": len(one.path)} for one in trace.endings],
    }


def _rounded(numbers: Any) -> Any:
    return None if numbers is None else np.round(np.asarray(numbers, dtype=np.float64), 5).tolist()
