"""Text in, text out: a model folder that answers.

    generator = Generator(read_folder("runs/mine"))
    for output in generator.generate(["...", "..."], DecodingSettings(beam=5)): print(output.text)

Several folders are an ensemble: Generator(read_folder("runs/1"), read_folder("runs/2")).

One output for each input, in the order of the input; a blank input gives an empty output. Nothing is kept between
calls but the model, so any number of threads can share a generator. The model in torch is built when it is first
needed: importing this imports no torch.
"""

from __future__ import annotations

import collections.abc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple
from unicodedata import combining

from pydantic import ValidationError

from pairloom.decoding.choice import Answering, Engines
from pairloom.decoding.ensemble import as_one
from pairloom.decoding.hypotheses import Hypothesis
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import FolderError, UsageError
from pairloom.folder import Folder, explain
from pairloom.text.components import Unit
from pairloom.text.normal import normal_form

if TYPE_CHECKING:
    from pairloom.decoding.explanation import Array, Explanation
    from pairloom.decoding.plain import PlainEngine
    from pairloom.decoding.replay import Replay
    from pairloom.decoding.scoring import TargetScore

SAMPLING = ("sample", "temperature", "top_k", "top_p")
"""Settings that only sampling uses."""
PLAIN = Engines()
"""Torch answers everything."""
WINDOW = 32
"""Batches of input that are read ahead, so that sentences of like length can be decoded together."""


@dataclass(frozen=True)
class Candidate:
    """One text that the model proposes."""

    text: str
    tokens: list[str]
    score: float  # sum of log-probabilities, natural logarithm, `</s>` included
    normalised: float  # score / length penalty, by which candidates are ordered
    finished: bool  # False: cut at the limit of length


@dataclass(frozen=True)
class Output:
    """What the model says to one input: its candidates, best first."""

    source: str
    candidates: list[Candidate] = field(default_factory=list)
    cut: int = 0  # source tokens left out because the text was longer than the model has ever read

    @property
    def text(self) -> str:
        """The best candidate; empty for a blank input."""
        return self.candidates[0].text if self.candidates else ""


class Reading(NamedTuple):
    """What the model reads of a text."""

    ids: list[int]  # without `</s>`, cut where the model never read further
    cut: int = 0  # tokens that are left out

    @property
    def length(self) -> int:
        """Tokens, `</s>` counted."""
        return len(self.ids) + 1


class Ending(NamedTuple):
    """How an output ended that was given out in pieces."""

    tokens: int  # that were written, `</s>` not counted
    finished: bool  # False: cut at the limit of length


Pieces = collections.abc.Generator[str, None, Ending]
"""An output piece by piece; what the generator returns says how it ended."""


def _own_settings(folder: Folder) -> dict[str, Any]:
    """generation.json, checked: the names that it has, with values of the right type. Raises FolderError."""
    try:
        settings = DecodingSettings.model_validate(folder.generation)
    except ValidationError as error:
        raise FolderError(f"{folder.path / 'generation.json'} is not valid:", explain(error)) from None
    except UsageError as error:  # settings that exclude each other
        raise FolderError(f"{folder.path / 'generation.json'} is not valid:", str(error).splitlines()) from None
    return settings.model_dump(include=set(folder.generation))


def _sure(text: str, unit: Unit) -> str:
    """The part of an output that no further token can change: a character may need several bytes, a syllable several
    letters."""
    if unit != "jamo":
        return text.rstrip("\ufffd")
    begins = [place for place, char in enumerate(text) if not combining(char)]
    return text[: begins[-1]] if begins else ""


class Generator:
    """Asks one model, or several as one."""

    def __init__(self, *folders: Folder, engines: Engines = PLAIN) -> None:
        """`engines`: see `choose_engines`. Raises FolderError for models that cannot answer together (see `as_one`)."""
        self.folder = as_one([replace(folder, generation=_own_settings(folder)) for folder in folders])
        self.engines = engines
        self._plain: PlainEngine | None = None
        self._loading = Lock()

    @property
    def plain(self) -> PlainEngine:
        """The model in torch, which is built at the first call."""
        with self._loading:
            if self._plain is None:
                from pairloom.decoding.plain import PlainEngine

                self._plain = PlainEngine(self.folder, self.engines.precision, self.engines.threads)
        return self._plain

    def settings(self, **asked: Any) -> DecodingSettings:
        """The folder's own way of being asked, with what the user wants otherwise."""
        known = dict(self.folder.generation)
        if asked.get("sample"):  # what only a search uses does not matter then
            known = {name: value for name, value in known.items() if name not in ("beam", "length_penalty", "patience")}
        elif asked.get("sample") is False or (asked.get("beam") and asked.get("sample") is None):
            # Nor what only sampling uses, where a search is asked for.
            known = {name: value for name, value in known.items() if name not in SAMPLING}
        return DecodingSettings(**{**known, **{name: value for name, value in asked.items() if value is not None}})

    def generate(
        self,
        texts: Iterable[str],
        settings: DecodingSettings,
        prefix: str = "",
        first: int = 0,
        read: Iterable[Reading] | None = None,
    ) -> Iterator[Output]:
        """One output for each text, in order; lazily, a window of `WINDOW` batches at a time.

        `prefix` is what every output begins with; `first` is the place of the first text in a longer input, so that
        sampling draws the same for a text wherever that input is cut. `read`: what `read` gives for the texts, where
        that is known already.
        """
        texts, known = iter(texts), None if read is None else iter(read)
        forced = self.folder.target.encode(self._normal(prefix)) if prefix else []
        while window := list(islice(texts, WINDOW * settings.batch)):
            readings = self.read(window) if known is None else list(islice(known, len(window)))
            yield from self._window(window, readings, settings, forced, first)
            first += len(window)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What the model reads of each text."""
        source, most = self.folder.source, self.folder.settings.source.max_tokens
        normal = [self._normal(text) for text in texts]
        # For one text, the threads that encode many at a time cost more than they bring.
        encoded = [source.encode(normal[0])] if len(normal) == 1 else source.encode_all(normal)
        return [Reading(ids[:most], max(0, len(ids) - most)) for ids in encoded]

    def _window(
        self, texts: list[str], readings: list[Reading], settings: DecodingSettings, prefix: list[int], first: int
    ) -> list[Output]:
        filled = [place for place, text in enumerate(texts) if text.strip()]
        sources = [readings[place].ids for place in filled]
        found = self._search(sources, settings, prefix, [first + place for place in filled])
        outputs = [Output(text) for text in texts]
        for place, hypotheses in zip(filled, found, strict=True):
            candidates = [self.candidate(hypothesis) for hypothesis in hypotheses]
            outputs[place] = Output(texts[place], candidates, cut=readings[place].cut)
        return outputs

    def _search(
        self,
        sources: list[list[int]],
        settings: DecodingSettings,
        prefix: Sequence[int] = (),
        numbers: Sequence[int] | None = None,
    ) -> list[list[Hypothesis]]:
        """The outputs of the sources, by the engine that answers such questions."""
        prefixes = [prefix] * len(sources) if prefix else None
        if self.engines.fast is not None and self.engines.answering(settings, prefixes).engine == "onnx":
            return self.engines.fast.generate(sources, settings, prefixes, numbers)
        return self.plain.generate(sources, settings, prefixes, numbers)

    def answering(self, settings: DecodingSettings, prefix: str = "") -> Answering:
        """Which engine answers this, and how. Raises UsageError where the one asked for cannot."""
        forced = self.folder.target.encode(self._normal(prefix)) if prefix else []
        return self.engines.answering(settings, [forced] if forced else None)

    def candidate(self, one: Hypothesis) -> Candidate:
        """A hypothesis as text."""
        names = self.folder.target.tokens(one.tokens)
        return Candidate(self._said(one.tokens), names, one.score, one.normalised, one.finished)

    def _said(self, tokens: Sequence[int]) -> str:
        """A line of output is a line: a model that has seen bytes could make a line break."""
        return " ".join(self.folder.target.decode(tokens).splitlines())

    def stream(self, text: str, settings: DecodingSettings) -> Pieces:
        """The output of greedy search or sampling piece by piece; the pieces together are the text."""
        if not text.strip():  # as everywhere: nothing in, nothing out
            return Ending(0, True)
        written = self.plain.stream(self.ids(text), settings)
        tokens: list[int] = []
        given = 0
        while True:
            try:
                tokens.append(next(written))
            except StopIteration as end:
                finished = bool(end.value)
                break
            sure = _sure(self._said(tokens), self.folder.target.unit)
            if len(sure) > given:
                yield sure[given:]
                given = len(sure)
        if rest := self._said(tokens)[given:]:
            yield rest
        return Ending(len(tokens), finished)

    def score(self, pairs: Sequence[tuple[str, str]], batch: int = 64) -> list[TargetScore]:
        """log P(target | source) of each pair. Raises UsageError for a blank side."""
        blank = [place for place, pair in enumerate(pairs) if not (pair[0].strip() and pair[1].strip())]
        if blank:
            raise UsageError(f"pair {blank[0]} (counted from 0) has a blank side: it has no probability")
        sources = [self.ids(source) for source, _ in pairs]
        targets = [self.folder.target.encode(self._normal(target)) for _, target in pairs]
        return self.plain.score(sources, targets, batch)

    def encode(self, texts: Sequence[str]) -> Array:
        """The context vector of each text, [B, D]."""
        return self.plain.encode([self.ids(text) for text in texts])

    def explain(self, text: str, target: str | None = None, settings: DecodingSettings | None = None) -> Explanation:
        """What the model looks at while it says `target` (or, without one, its own output for `text`)."""
        if not text.strip():
            raise UsageError("there is nothing to explain in a blank text")
        source = self.ids(text)
        if target is None:
            target_ids = self._search([source], settings or self.settings())[0][0].tokens
        else:
            target_ids = self.folder.target.encode(self._normal(target))
        return self.plain.explain(self._normal(text), source, target_ids)

    def replay(self, text: str, target: str | None = None, settings: DecodingSettings | None = None) -> Replay:
        """The decoding of `text` step by step, and of `target` under teacher forcing beside it if there is one."""
        if not text.strip():
            raise UsageError("there is nothing to replay in a blank text")
        forced = self.folder.target.encode(self._normal(target)) if target and target.strip() else None
        return self.plain.replay(self._normal(text), self.ids(text), forced, settings or self.settings())

    def ids(self, text: str) -> list[int]:
        """A source as the model reads it: in its normal form, cut where it never read further, without `</s>`."""
        return self.read([text])[0].ids

    def _normal(self, text: str) -> str:
        form = self.folder.settings.normal_form
        return text if form == "none" else normal_form(form, text)
