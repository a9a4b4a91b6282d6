"""What a report on data consists of: findings with advice and examples, fit to be printed on any terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
EXAMPLES = 5
_EXCERPT = 100  # characters


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing: how often, where for example, and what to do."""

    kind: str
    severity: Severity
    count: int
    message: str
    advice: str
    examples: tuple[str, ...] = ()  # "file:line: excerpt", up to 5

    def lines(self) -> list[str]:
        """For people: the message, the advice, the examples."""
        head = f"{self.severity}: {self.message}"
        return [head, f"    {self.advice}", *(f"      {example}" for example in self.examples)]


@dataclass
class Seen:
    """How often something was met, with the first places."""

    name: str  # of the file
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, line: int, text: str) -> None:
        """One more at this line."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example(self.name, line, text))

    def finding(self, kind: str, severity: Severity, message: str, advice: str) -> list[Finding]:
        """As a finding; none if nothing was met."""
        if not self.count:
            return []
        return [Finding(kind, severity, self.count, message, advice, tuple(self.examples))]


def example(name: str, line: int, text: str) -> str:
    """`file:line: excerpt`, in which what a terminal could act on or not show is written as an escape."""
    return f"{name}:{line}: {excerpt(text)}"


def excerpt(text: str, length: int = _EXCERPT) -> str:
    """The beginning of a text, in printable characters. A tab (before the features of a source) reads `<TAB>`."""
    cut = text if len(text) <= length else text[: length - 1] + "…"
    return "".join(char if char.isprintable() else escape(char) for char in cut)


def escape(char: str) -> str:
    """A character as its code: U+200B."""
    return "<TAB>" if char == "\t" else f"<U+{ord(char):04X}>"


BREAKS = str.maketrans("\t\r\n", "   ")
"""For `str.translate`: a text that has to stay one field of one line."""


def printable(text: str) -> str:
    """Lines of text in which nothing can act on a terminal: line ends, tabs and joiners stay, other characters that are
    not shown become their codes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t\u200c\u200d" else escape(char) for char in text)


def counted(count: int, noun: str, nouns: str = "") -> str:
    """`1 pair`, `1,200 pairs`."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def characters(codes: Iterable[int], limit: int = 12) -> str:
    """Some code points for a message, visible ones as they are, others as U+...."""
    shown = [chr(code) if chr(code).isprintable() and chr(code) != " " else escape(chr(code)) for code in codes]
    return " ".join(shown[:limit]) + (f" and {len(shown) - limit:,} more" if len(shown) > limit else "")
