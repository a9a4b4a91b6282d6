"""DeepL's interface, version 2, as far as a model can serve it; what it cannot is refused, not passed over."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, field_validator

from pairloom.server.asking import asked_for, described, service_of
from pairloom.server.languages import base, codes, detect, name_of
from pairloom.server.markup import HTML, XML
from pairloom.server.problems import bad
from pairloom.server.sending import Json
from pairloom.server.settings import MOST_TEXTS
from pairloom.server.translating import translate_each

router = APIRouter(prefix="/v2", tags=["DeepL"])

UNLIMITED = 10**12
"""What DeepL itself gives as the limit of accounts without one."""

DIALECTS = {None: None, "html": HTML, "xml": XML}


class Translate(BaseModel):
    """POST /v2/translate. A field that is not here is refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: list[str] = Field(min_length=1, max_length=MOST_TEXTS)
    target_lang: str = Field(min_length=2, max_length=40)
    source_lang: str | None = Field(None, max_length=40)
    tag_handling: Literal["html", "xml"] | None = None
    split_sentences: Literal["0", "1", "nonewlines"] = "1"
    preserve_formatting: bool = Field(False, description="no effect: nothing is corrected in a model's output anyway")
    show_billed_characters: bool = False
    formality: Literal["default", "prefer_more", "prefer_less"] = Field(
        "default", description="no effect: a preference for what there is not. What insists on it is refused"
    )
    model_type: Literal["latency_optimized", "quality_optimized", "prefer_quality_optimized"] | None = Field(
        None, description="no effect: there is one model for a pair of languages"
    )

    @field_validator("text", mode="before")
    @classmethod
    def _one_or_many(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    @field_validator("split_sentences", mode="before")
    @classmethod
    def _as_word(cls, given: Any) -> Any:
        return str(int(given)) if isinstance(given, bool | int) else given


class Listing(BaseModel):
    """GET /v2/languages"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["source", "target"] = "source"


@router.post("/translate", openapi_extra=described(Translate))
async def translate_texts(request: Request) -> Json:
    """Translates texts; tags are kept with `tag_handling`."""
    asked = await asked_for(request, Translate)
    service = service_of(request)
    service.check(asked.text)
    texts = asked.text
    if asked.split_sentences == "nonewlines":
        texts = [" ".join(text.splitlines()) for text in texts]
    if asked.source_lang:
        names = [asked.source_lang] * len(texts)
    else:
        found = [detect(service.shelf, text, asked.target_lang) for text in texts]
        if not all(found):
            raise bad(f"target_lang {asked.target_lang} is not supported", param="target_lang")
        names = [one[0].language for one in found]
    said = await translate_each(
        service,
        request,
        names,
        asked.target_lang,
        texts,
        markup=DIALECTS[asked.tag_handling],
        sentences=asked.split_sentences != "0",
    )
    service.characters += sum(map(len, texts))
    translations: list[dict[str, Any]] = [
        {"detected_source_language": base(name).upper(), "text": one.text}
        for name, one in zip(names, said, strict=True)
    ]
    if asked.show_billed_characters:
        for text, translation in zip(texts, translations, strict=True):
            translation["billed_characters"] = len(text)
    return Json({"translations": translations})


@router.get("/languages")
async def languages(request: Request) -> Json:
    """The languages that can be translated from, or with `type=target` those into."""
    asked = await asked_for(request, Listing)
    found = codes(service_of(request).shelf)
    every = dict.fromkeys(target for targets in found.values() for target in targets)
    if asked.type == "source":
        return Json([{"language": code.upper(), "name": name_of(code)} for code in found])
    return Json([{"language": code.upper(), "name": name_of(code), "supports_formality": False} for code in every])


@router.get("/usage")
async def usage(request: Request) -> Json:
    """Characters translated since the server's start; there is no limit."""
    return Json({"character_count": service_of(request).characters, "character_limit": UNLIMITED})
