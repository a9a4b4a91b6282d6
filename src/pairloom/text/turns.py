"""A conversation as one source: the lines said so far, apart by a mark that no text holds by chance.

    how are you ␞ fine, and you ␞ a little tired

A model whose training pairs have such sources has learnt to reply to the last line with the others in mind; one that
has never seen the mark would only be confused by what came before, and reads the last line alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from pairloom.text.tokenizer import Tokenizer

TURN = "␞"  # U+241E, the picture of the record separator
BETWEEN = f" {TURN} "


def reads_turns(tokenizer: Tokenizer) -> bool:
    """Whether a source's tokenizer has an entry for the mark, as one that has learnt from conversations does."""
    return any(TURN in piece for piece in tokenizer.pieces)


def as_source(lines: Sequence[str], tokenizer: Tokenizer, most: int, turns: int | None = None) -> str:
    """The last `turns` lines as one source of at most `most` tokens; the earliest are left out first.

    Without `turns`, all where the tokenizer reads turns, otherwise the last one alone.
    """
    return BETWEEN.join(latest(lines, tokenizer, most, turns))


def latest(lines: Sequence[str], tokenizer: Tokenizer, most: int, turns: int | None = None) -> list[str]:
    """The lines of `as_source`, the last one always among them."""
    count = turns if turns is not None else len(lines) if reads_turns(tokenizer) else 1
    said = [" ".join(line.replace(TURN, " ").split()) for line in lines[-max(1, count) :]]

    def fits(begin: int) -> bool:
        return len(tokenizer.encode(BETWEEN.join(said[begin:]))) <= most

    # Fewer lines are fewer tokens, so the first that fits is found by halving: a few readings, however many lines.
    return said[bisect_left(range(len(said) - 1), True, key=fits) :]
