"""A conversation with a model: what was said, how replies are chosen, and undoing; for a terminal and for programs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from pairloom.decoding.explanation import Explanation
from pairloom.decoding.settings import DecodingSettings
from pairloom.folder import Folder
from pairloom.text.turns import as_source

NO_CIRCLES = 3
"""No so many tokens in a row come twice in a reply, if neither the model nor the user says otherwise: small models that
draw their words like to run in circles."""


class Answerer(Protocol):
    """What a conversation needs of a model (see `pairloom.load`)."""

    folder: Folder

    def settings(self, **asked: Any) -> DecodingSettings:
        """How the model is asked. Raises UsageError for settings that cannot be."""
        ...

    def stream(self, text: str, **settings: Any) -> Iterator[str]:
        """One output piece by piece."""
        ...

    def generate(self, texts: list[str], **settings: Any) -> list[str]:
        """The best output for each text."""
        ...

    def explain(self, text: str, target: str | None = None, **settings: Any) -> Explanation:
        """What the model looks at while it says `target`."""
        ...


@dataclass
class Conversation:
    """The lines so far. Replies are streamed where the search allows it; a beam gives its reply in one piece."""

    model: Answerer
    settings: dict[str, Any] = field(default_factory=dict)  # of DecodingSettings; what is not given: the model's own
    turns: int | None = None  # lines that the model reads; None: all that it has learnt to read
    lines: list[tuple[str, str]] = field(default_factory=list)  # (you | model, what was said)
    dice: random.Random = field(default_factory=random.Random)  # of the seeds of draws, if no seed is given

    def source(self, text: str) -> str:
        """What the model would read for `text` as the next line."""
        side = self.model.folder.settings.source
        said = [line for _, line in self.lines]
        return as_source([*said, text], self.model.folder.source, side.max_tokens, self.turns)

    def check(self, settings: dict[str, Any]) -> None:
        """Raises UsageError for settings that cannot be."""
        self.model.settings(**settings)

    def reply(self, text: str) -> Iterator[str]:
        """The reply to `text`, piece by piece; both become part of the conversation when it is whole."""
        source = self.source(text)
        guard = {} if "no_repeat_ngram" in self.model.folder.generation else {"no_repeat_ngram": NO_CIRCLES}
        settings = {"seed": self.dice.randrange(2**31), **guard, **self.settings}
        if settings.get("beam", 1) > 1:
            said = self.model.generate([source], **settings)[0]
            yield said
        else:
            pieces = []
            for piece in self.model.stream(source, **settings):
                pieces.append(piece)
                yield piece
            said = "".join(pieces)
        self.lines += [("you", text), ("model", said)]

    def undo(self) -> bool:
        """Takes the last line and its reply back. False: there is none."""
        if not self.lines:
            return False
        del self.lines[-2:]
        return True

    def attention(self) -> Explanation | None:
        """What the model looked at in its last reply; None before the first."""
        if len(self.lines) < 2:
            return None
        earlier = Conversation(self.model, turns=self.turns, lines=self.lines[:-2])
        return self.model.explain(earlier.source(self.lines[-2][1]), self.lines[-1][1])

    def transcript(self) -> str:
        """All lines as text, each after who said it."""
        return "".join(f"{who}\t{line}\n" for who, line in self.lines)
