"""Texts of any length, with tags or without, through a model that reads sentences: for LibreTranslate and DeepL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from pairloom.decoding.generator import Output
from pairloom.server.languages import pair_for
from pairloom.server.markup import Dialect, Marked
from pairloom.server.segments import Cut, cut
from pairloom.server.service import Service
from pairloom.server.shelf import Served


@dataclass(frozen=True)
class Translation:
    """One text in the other language."""

    text: str
    alternatives: list[str]  # other outputs of the model, best first, without `text`


async def translate_each(
    service: Service,
    request: Request,
    languages: Sequence[str],  # of each text
    target: str,
    texts: Sequence[str],
    *,
    markup: Dialect | None = None,
    alternatives: int = 0,
    sentences: bool = True,
) -> list[Translation]:
    """Each text from its own language, by the model that reads it; see `translate`. ProblemError: there is none."""
    models = {name: pair_for(service.shelf, name, target) for name in languages}
    options: dict[str, Any] = {"markup": markup, "alternatives": alternatives, "sentences": sentences}
    found: dict[int, Translation] = {}
    for name, served in models.items():
        places = [place for place, other in enumerate(languages) if other == name]
        some = await translate(service, request, served, [texts[place] for place in places], **options)
        found.update(zip(places, some, strict=True))
    return [found[place] for place in range(len(texts))]


async def translate(
    service: Service,
    request: Request,
    served: Served,
    texts: Sequence[str],
    *,
    markup: Dialect | None = None,
    alternatives: int = 0,
    sentences: bool = True,
) -> list[Translation]:
    """Each text translated; with `markup`, what stands between tags. All of them go into the queue as one request."""
    service.check(texts)
    settings = service.decoding(served, **wider(served, alternatives))
    documents = [_parse(text, markup) for text in texts]
    cuts = [
        [cut(document.parts[place], served.reads, sentences=sentences) for place in document.texts]
        for document in documents
    ]
    pieces = [piece for of_one in cuts for one in of_one for piece in one.pieces]
    outputs = iter(await service.outputs(request, served, pieces, settings))
    found = []
    for document, of_one in zip(documents, cuts, strict=True):
        said = [[next(outputs) for _ in one.pieces] for one in of_one]
        versions = [_version(document, of_one, said, place, markup is not None) for place in range(alternatives + 1)]
        others = [one for one in dict.fromkeys(versions[1:]) if one != versions[0]]
        found.append(Translation(versions[0], others))
    return found


def wider(served: Served, alternatives: int) -> dict[str, int]:
    """What a model must be asked to have alternatives: as many outputs, and no narrower beam."""
    if not alternatives:
        return {}
    usual = served.model.settings()
    wanted = alternatives + 1
    return {"nbest": wanted} if usual.sample else {"nbest": wanted, "beam": max(wanted, usual.beam)}


def _parse(text: str, markup: Dialect | None) -> Marked:
    return Marked(text, markup) if markup else Marked.plain(text)


def _version(document: Marked, cuts: Sequence[Cut], said: Sequence[Sequence[Output]], place: int, markup: bool) -> str:
    """The document with the candidates at `place`, or a piece's last where it has fewer."""
    answers = {}
    for at, one, outputs in zip(document.texts, cuts, said, strict=True):
        chosen = [
            output.candidates[min(place, len(output.candidates) - 1)].text if output.candidates else ""
            for output in outputs
        ]
        answers[at] = one.joined(chosen)
    return document.joined(answers) if markup else "".join(answers.values())
