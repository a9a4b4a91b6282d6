"""pairloom's own interface: all that a model can be asked, and what the models are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from pairloom.decoding.generator import Ending, Output
from pairloom.server.asking import service_of
from pairloom.server.problems import ProblemError, bad
from pairloom.server.sending import NO_STORE, Json, event
from pairloom.server.service import Service
from pairloom.server.settings import MOST_TEXTS
from pairloom.server.shelf import Served
from pairloom.text.turns import as_source, latest, reads_turns

router = APIRouter(tags=["pairloom"])


class Search(BaseModel):
    """How outputs are chosen; what is not given is as the model's own generation.json has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(None, max_length=200, description="a name from /models; the first, if none is given")
    beam: int | None = Field(None, ge=1, le=256, description="hypotheses kept per sentence; 1 is greedy search")
    nbest: int | None = Field(None, ge=1, le=256, description="outputs for each text, best first")
    sample: bool | None = Field(None, description="draw each token instead of searching")
    temperature: float | None = Field(None, gt=0, le=100, description="sampling: below 1 is bolder")
    top_k: int | None = Field(None, ge=0, le=10**6, description="sampling: only the k most probable tokens; 0 = all")
    top_p: float | None = Field(None, gt=0, le=1, description="sampling: the smallest set that holds this probability")
    seed: int | None = Field(None, ge=0, lt=2**31, description="sampling: of the draws; without one they are fresh")
    length_penalty: float | None = Field(None, ge=0, le=10, description="alpha of Wu et al. 2016, equation 14")
    max_length: int | None = Field(None, ge=1, le=10**6, description="most tokens of an output")
    no_repeat_ngram: int | None = Field(None, ge=0, le=1000, description="no n-gram of so many tokens twice")

    @property
    def asked(self) -> dict[str, Any]:
        """The settings that were given."""
        return self.model_dump(exclude_none=True, include=set(Search.model_fields) - {"model"})


class Spoken(Search):
    """Texts that may be lines of a conversation."""

    before: Annotated[list[str], Field(max_length=200)] = Field(
        [], description="of a conversation: the lines said before, oldest first, for models that have learnt from such"
    )

    def read(self, served: Served, text: str) -> str:
        """The source that the model reads for a text."""
        return self.read_all(served, [text])[0]

    def read_all(self, served: Served, texts: Sequence[str]) -> list[str]:
        """The same for several."""
        if not self.before:
            return list(texts)
        tokenizer, most = served.model.folder.source, served.model.folder.settings.source.max_tokens
        if not reads_turns(tokenizer):
            return [as_source([text], tokenizer, most, 1) for text in texts]
        turns = len(self.before) + 1
        *before, _ = latest([*self.before, ""], tokenizer, most, turns)  # what no text leaves room for goes out once
        return [as_source([*before, text], tokenizer, most, turns) for text in texts]


class Question(Spoken):
    """Texts to be answered."""

    texts: Annotated[list[str], Field(min_length=1, max_length=MOST_TEXTS, description="one output for each, in order")]
    prefix: str = Field("", max_length=10_000, description="what every output begins with")
    attention: bool = Field(False, description="with the source tokens and the attention of each best output")
    stream: bool = Field(False, description="one text, its output piece by piece as server-sent events")


@router.post("/generate")
async def generate(question: Question, request: Request) -> Response:
    """Outputs for texts: JSON, or with `stream` server-sent events `piece`, then `done` (or `error`)."""
    service = service_of(request)
    served = service.shelf.find(question.model)
    service.check([*question.before, *question.texts])
    texts = question.read_all(served, question.texts)
    if question.stream:
        return await _streamed(service, served, question, texts, request)
    settings = service.decoding(served, **question.asked)
    seeded = question.seed is not None
    outputs = await service.outputs(request, served, texts, settings, prefix=question.prefix, seeded=seeded)
    found = [output_as_json(output) for output in outputs]
    if question.attention:
        for output, entry in zip(outputs, found, strict=True):
            if output.candidates:
                entry.update(await _attention(service, served, output, request))
    return Json({"model": served.name, "outputs": found})


async def straight(body: bytes, request: Request) -> Response | None:
    """The same, for a body of JSON that is as it should be. None: it is not, and FastAPI says what is wrong with it."""
    if not request.headers.get("content-type", "").startswith("application/json"):
        return None
    try:
        question = Question.model_validate_json(body)
    except ValidationError:
        return None
    return await generate(question, request)


async def _attention(service: Service, served: Served, output: Output, request: Request) -> dict[str, Any]:
    """The weights on the tokens of both sides, the ends included."""
    seen = await service.call(request, served, lambda: served.model.explain(output.source, output.text), output.source)
    return {"source_tokens": seen.source_tokens, "target_tokens": seen.tokens, "attention": seen.attention.tolist()}


async def _streamed(
    service: Service, served: Served, question: Question, texts: Sequence[str], request: Request
) -> Response:
    if len(texts) != 1:
        raise bad(f"{len(texts)} texts: a stream has one")
    if question.prefix or question.attention or (question.nbest or 1) > 1:
        raise bad("a stream has no prefix, no attention and one output")
    settings = service.streaming(served, **question.asked)
    pieces = await service.stream(request, served, texts[0], settings, seeded=question.seed is not None)
    return StreamingResponse(_events(served, pieces), media_type="text/event-stream", headers=NO_STORE)


async def _events(served: Served, pieces: AsyncIterator[str | Ending]) -> AsyncIterator[bytes]:
    said = []
    try:
        async for piece in pieces:
            if isinstance(piece, str):
                said.append(piece)
                yield event({"text": piece}, "piece")
        yield event({"model": served.name, "text": "".join(said)}, "done")
    except ProblemError as problem:
        yield event({"code": problem.code, "message": problem.message}, "error")


def output_as_json(output: Output) -> dict[str, Any]:
    """The best candidate's fields, and all candidates."""
    candidates = [vars(one) for one in output.candidates]
    best = candidates[0] if candidates else {"text": "", "tokens": [], "score": None, "normalised": None}
    return {"source": output.source, **best, "cut": output.cut, "candidates": candidates}


@router.get("/models")
async def models(request: Request) -> Json:
    """What can be asked: names, kinds, units, languages, and how each is asked by default."""
    service = service_of(request)
    return Json({"models": [describe(one, service) for one in service.shelf.models.values()]})


def describe(served: Served, service: Service) -> dict[str, Any]:
    """One model."""
    folder = served.model.folder
    settings = served.model.settings()
    return {
        "name": served.name,
        "kind": folder.settings.kind,
        "dialogue": served.dialogue,
        "languages": {"source": served.source or None, "target": served.target or None},
        "source": {"unit": folder.settings.source.unit, "max_tokens": folder.settings.source.max_tokens},
        "target": {"unit": folder.settings.target.unit},
        "defaults": settings.model_dump(exclude={"batch", "seed"}),
        "limits": service.settings.limits.model_dump(include={"texts", "characters", "alternatives", "beam", "length"}),
    }
