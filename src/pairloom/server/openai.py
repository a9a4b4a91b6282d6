"""OpenAI's interface for chat, as far as a model can serve it. What it cannot is refused with 400, not passed over."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response

from pairloom.decoding.generator import Ending
from pairloom.server.asking import service_of
from pairloom.server.problems import ProblemError, bad
from pairloom.server.sending import NO_STORE, Json, event
from pairloom.server.service import Service
from pairloom.server.shelf import Served
from pairloom.text.turns import as_source, reads_turns

router = APIRouter(prefix="/v1", tags=["OpenAI"])

NOTHING: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0, None),
    "presence_penalty": (0, None),
    "logprobs": (False, None),
    "logit_bias": ({}, None),
    "stop": (None, []),
    "store": (False, None),
    "tools": ([], None),
    "tool_choice": ("none", None),
    "response_format": ({"type": "text"}, None),
    "modalities": (["text"], None),
    "service_tier": ("auto", None),
}
"""Fields that this interface does not serve → the values of them that ask for nothing, and so may be sent."""


class Part(BaseModel):
    """A part of a message's content; only text can be read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["text"]
    text: str = Field(max_length=10**6)


class Message(BaseModel):
    """A line of the conversation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["user", "assistant"] = Field(description="models learnt from pairs take no instructions (`system`)")
    content: str | Annotated[list[Part], Field(min_length=1, max_length=100)] = Field(max_length=10**6)
    refusal: None = Field(None, description="clients send the replies of this server back as they came")

    @property
    def text(self) -> str:
        """The content as one line."""
        return self.content if isinstance(self.content, str) else "\n".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """What a stream tells besides its text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    include_usage: bool = False


class Completion(BaseModel):
    """POST /v1/chat/completions. A field that is not here is refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(max_length=200)
    messages: list[Message] = Field(min_length=1, max_length=1000)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(None, ge=0, le=2, description="0 is greedy search")
    top_p: float | None = Field(None, ge=0, le=1)
    max_tokens: int | None = Field(None, ge=1, le=10**6)
    max_completion_tokens: int | None = Field(None, ge=1, le=10**6)
    n: int | None = Field(None, ge=1, le=128)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    user: str | None = Field(None, max_length=1000, description="who asks; has no influence on an answer")

    @model_validator(mode="before")
    @classmethod
    def _without_what_asks_for_nothing(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if value not in NOTHING.get(name, ())}

    @property
    def asked(self) -> dict[str, Any]:
        """The same as settings of a search."""
        found: dict[str, Any] = {}
        if self.temperature == 0 or self.top_p == 0:
            return {"sample": False, "beam": 1, **self._length}
        if self.temperature is not None or (self.top_p or 1) < 1:
            found = {"sample": True, "temperature": self.temperature or 1.0}
        if self.top_p:
            found["top_p"] = self.top_p
        if self.seed is not None:
            found["seed"] = self.seed % 2**31
        return {**found, **self._length}

    @property
    def _length(self) -> dict[str, int]:
        most = self.max_completion_tokens or self.max_tokens
        return {"max_length": most} if most else {}


@router.get("/models")
async def models(request: Request) -> Json:
    """The models by name."""
    service = service_of(request)
    return Json({"object": "list", "data": [_listed(one) for one in service.shelf.models.values()]})


@router.get("/models/{name}")
async def model(name: str, request: Request) -> Json:
    """One model."""
    return Json(_listed(service_of(request).shelf.find(name)))


def _listed(served: Served) -> dict[str, Any]:
    return {"id": served.name, "object": "model", "created": served.created, "owned_by": "pairloom"}


@router.post("/chat/completions")
async def complete(completion: Completion, request: Request) -> Response:
    """The reply to the last line of a conversation."""
    service = service_of(request)
    served = service.shelf.find(completion.model)
    lines = [message.text for message in completion.messages]
    service.check(lines)
    text = _source(served, completion.messages[-1].role, lines)
    if completion.stream:
        return await _streamed(service, served, completion, text, request)
    if completion.stream_options is not None:
        raise bad(
            "stream_options without stream=true: there is no stream that they could be of", param="stream_options"
        )
    count = completion.n or 1
    settings = service.decoding(served, **_several(served, completion, count))
    (output,) = await service.outputs(request, served, [text], settings, seeded=completion.seed is not None)
    choices = [
        {
            "index": place,
            "message": {"role": "assistant", "content": one.text, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop" if one.finished else "length",
        }
        for place, one in enumerate(output.candidates)
    ]
    written = sum(len(one.tokens) + one.finished for one in output.candidates)
    usage = usage_of(served.model.read([text])[0].length, written)
    return Json({**_head(served, "chat.completion"), "choices": choices, "usage": usage})


def _source(served: Served, last: str, lines: list[str]) -> str:
    """What the model reads of a conversation. Raises ProblemError 400 for one that it cannot reply to."""
    folder = served.model.folder
    if last != "user":
        raise bad("the last message must be of the user: that is what is replied to", param="messages")
    if len(lines) > 1 and not reads_turns(folder.source):
        raise bad(
            f"{len(lines)} messages: {served.name} has not learnt from conversations, and would read the last"
            " one alone. Send only that.",
            code="no_conversations",
            param="messages",
        )
    if not lines[-1].strip():
        raise bad("the last message is blank", param="messages")
    return as_source(lines, folder.source, folder.settings.source.max_tokens)


def _several(served: Served, completion: Completion, count: int) -> dict[str, Any]:
    """The settings for `count` replies: draws of a model that samples, the best of a beam otherwise."""
    asked = completion.asked
    if count == 1:
        return asked
    usual = served.model.settings()
    if asked.get("sample", usual.sample):
        return {**asked, "nbest": count}
    return {**asked, "nbest": count, "beam": max(count, asked.get("beam", usual.beam))}  # no narrower than for one


def usage_of(read: int, written: int) -> dict[str, int]:
    """Tokens, counted with the end of each side."""
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _head(served: Served, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid4().hex}", "object": kind, "created": int(time.time()), "model": served.name}


async def _streamed(
    service: Service, served: Served, completion: Completion, text: str, request: Request
) -> StreamingResponse:
    if (completion.n or 1) > 1:
        raise bad("a stream has one reply (n=1)", param="n")
    settings = service.streaming(served, **completion.asked)
    pieces = await service.stream(request, served, text, settings, seeded=completion.seed is not None)
    wants_usage = completion.stream_options is not None and completion.stream_options.include_usage
    events = _chunks(served, pieces, read=served.model.read([text])[0].length if wants_usage else None)
    return StreamingResponse(events, media_type="text/event-stream", headers=NO_STORE)


async def _chunks(served: Served, pieces: AsyncIterator[str | Ending], *, read: int | None) -> AsyncIterator[bytes]:
    """The events of a stream; the last one before `[DONE]` says what it was."""
    head = _head(served, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]
        return event({**head, "choices": choices, **({"usage": None} if read is not None else {})})

    try:
        yield chunk({"role": "assistant", "content": ""})
        async for piece in pieces:
            if isinstance(piece, str):
                yield chunk({"content": piece})
                continue
            yield chunk({}, "stop" if piece.finished else "length")
            if read is not None:
                yield event({**head, "choices": [], "usage": usage_of(read, piece.tokens + piece.finished)})
        yield b"data: [DONE]\n\n"
    except ProblemError as problem:
        yield event({"error": {"message": problem.message, "type": "server_error", "code": problem.code}})
