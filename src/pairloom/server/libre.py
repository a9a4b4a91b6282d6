"""LibreTranslate's interface, as its clients use it: JSON, forms and queries."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from pairloom.server.asking import asked_for, described, service_of
from pairloom.server.guards import key_matches, wrong_key
from pairloom.server.languages import Detected, codes, detect, name_of
from pairloom.server.markup import HTML
from pairloom.server.problems import ProblemError, bad, too_large
from pairloom.server.sending import Json
from pairloom.server.service import Service
from pairloom.server.settings import MOST_TEXTS
from pairloom.server.translating import Translation, translate_each

router = APIRouter(tags=["LibreTranslate"])


class Keyed(BaseModel):
    """Parameters that this interface does not know are passed over, as LibreTranslate does."""

    model_config = ConfigDict(frozen=True)

    api_key: str = Field("", max_length=1000)


class Translate(Keyed):
    """POST /translate"""

    q: str | list[str] = Field(description="a text or several", max_length=10**6)
    source: str = Field("auto", max_length=40, description="a language's code, or auto")
    target: str = Field(max_length=40)
    format: Literal["text", "html"] = "text"
    alternatives: int = Field(0, ge=0, le=255)


class Detect(Keyed):
    """POST /detect"""

    q: str = Field(max_length=10**6)


@router.post("/translate", openapi_extra=described(Translate))
async def translate_texts(request: Request) -> Json:
    """Translates a text or a list of texts; `source` may be `auto`."""
    asked = await asked_for(request, Translate)
    service = _allowed(request, asked)
    texts = [asked.q] if isinstance(asked.q, str) else asked.q
    if not texts:
        raise bad("q is empty", param="q")
    if len(texts) > min(MOST_TEXTS, service.settings.limits.texts):
        raise too_large(f"{len(texts)} texts, at most {service.settings.limits.texts} in one request")
    if asked.alternatives + 1 > service.settings.limits.alternatives:
        raise bad(f"{asked.alternatives} alternatives, at most {service.settings.limits.alternatives - 1}")
    service.check(texts)
    sources = [_detected(service, text, asked.target) for text in texts] if asked.source == "auto" else []
    names = [one.language for one in sources] or [asked.source] * len(texts)
    found = await translate_each(
        service,
        request,
        names,
        asked.target,
        texts,
        markup=HTML if asked.format == "html" else None,
        alternatives=asked.alternatives,
    )
    return Json(_answer(asked, found, sources))


def _answer(asked: Translate, found: list[Translation], sources: list[Detected]) -> dict[str, Any]:
    """One text has one of each, a list has lists."""
    one = isinstance(asked.q, str)
    answer: dict[str, Any] = {"translatedText": found[0].text if one else [each.text for each in found]}
    if asked.alternatives:
        answer["alternatives"] = found[0].alternatives if one else [each.alternatives for each in found]
    if sources:
        languages = [{"confidence": each.confidence, "language": each.language} for each in sources]
        answer["detectedLanguage"] = languages[0] if one else languages
    return answer


def _detected(service: Service, text: str, target: str) -> Detected:
    found = detect(service.shelf, text, target)
    if not found:
        raise bad(f"no model here translates into {target:.40}", code="no_pair", param="target")
    return found[0]


def _allowed(request: Request, asked: Keyed) -> Service:
    """The service, for whoever has shown the key in the header, the query or the body."""
    service = service_of(request)
    key = service.settings.key
    if key is not None and not request.scope["state"]["key_shown"] and not key_matches(asked.api_key, key):
        raise wrong_key(request.url.path, given=bool(asked.api_key))
    return service


@router.post("/detect", openapi_extra=described(Detect))
async def detect_language(request: Request) -> Json:
    """Which of the languages that models here read the text is in."""
    asked = await asked_for(request, Detect)
    service = _allowed(request, asked)
    service.check([asked.q])
    found = detect(service.shelf, asked.q)
    return Json([{"confidence": one.confidence, "language": one.language} for one in found])


@router.get("/languages")
async def languages(request: Request) -> Json:
    """The languages that models here read or write, and what each can be turned into."""
    found = codes(service_of(request).shelf)
    every = dict.fromkeys([*found, *(target for targets in found.values() for target in targets)])
    return Json([{"code": code, "name": name_of(code), "targets": found.get(code, [])} for code in every])


@router.get("/frontend/settings")
async def frontend(request: Request) -> Json:
    """What a front of LibreTranslate asks first."""
    service = service_of(request)
    found = codes(service.shelf)
    source = next(iter(found), "")
    target = found[source][0] if source else ""
    return Json(
        {
            "apiKeys": service.settings.key is not None,
            "keyRequired": service.settings.key is not None,
            "charLimit": service.settings.limits.characters,
            "frontendTimeout": 500,
            "filesTranslation": False,
            "supportedFilesFormat": [],
            "suggestions": False,
            "language": {
                "source": {"code": source, "name": name_of(source) if source else ""},
                "target": {"code": target, "name": name_of(target) if target else ""},
            },
        }
    )


@router.get("/health")
async def health(request: Request) -> Json:
    """As /readyz, in LibreTranslate's words."""
    if not service_of(request).ready:
        raise ProblemError(503, "not ready", retry_after=5)
    return Json({"status": "ok"})
