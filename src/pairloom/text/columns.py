"""Which column of a table of pairs is what, and a source that carries features: `text<TAB>features`.

    parse_columns("source=1,target=2,features=3")       # TSV: columns are counted from 1
    parse_columns("source=orth,target=phon")            # JSON lines, Parquet: columns have names

Features are marks on the source: what a form of a word is to be, the language of the answer, a level of politeness.
A source with features stays one string, so that all that works on strings (held-out pairs, generating, judging) still
does: the text, a tab, and the features between semicolons. No text of a table with features holds a tab: one that does
(JSON can) has a space instead.
"""

from __future__ import annotations

import re
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pairloom.errors import UsageError

TAB = "\t"
_BETWEEN = re.compile(r"[;|\s]+")
_FORM = "source=1,target=2 or source=1,target=2,features=3 (TSV), source=NAME,target=NAME (JSON lines, Parquet)"

Column = int | str


class Columns(BaseModel):
    """Where in a table source, target and features stand: numbers from 1, or names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Column = Field(description="of the source text")
    target: Column = Field(description="of the target text")
    features: Column | None = Field(None, description="of the features of the source, if it has any")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        given = self.given()
        if len({type(column) for column in given.values()}) > 1:
            raise ValueError("numbers (TSV) and names (JSON lines, Parquet) cannot be mixed")
        if len(set(given.values())) < len(given):
            raise ValueError("source, target and features must be different columns")
        for name, column in given.items():
            if isinstance(column, int) and not 1 <= column <= 10_000:
                raise ValueError(f"{name}={column}: columns are counted from 1")
            if isinstance(column, str) and not 1 <= len(column) <= 200:
                raise ValueError(f"{name}: a name has 1 to 200 characters")
        return self

    @property
    def numbered(self) -> bool:
        """Whether the columns are numbers, as a TSV has them."""
        return isinstance(self.source, int)

    def given(self) -> dict[str, Column]:
        """Those that there are, by what they hold."""
        named: dict[str, Column | None] = {"source": self.source, "target": self.target, "features": self.features}
        return {name: column for name, column in named.items() if column is not None}

    def __str__(self) -> str:
        """As `parse_columns` reads it."""
        return ",".join(f"{name}={column}" for name, column in self.given().items())


def parse_columns(text: str) -> Columns:
    """Raises UsageError for what says no columns, with the form that does."""
    found: dict[str, Column] = {}
    for part in text.split(","):
        name, equal, column = (piece.strip() for piece in part.partition("="))
        if not equal or name not in Columns.model_fields or name in found or not column:
            raise UsageError(f"columns {text!r}: {part!r} is not understood; the form is {_FORM}")
        found[name] = int(column) if column.isascii() and column.isdigit() and len(column) < 9 else column
    missing = [name for name in ("source", "target") if name not in found]
    if missing:
        raise UsageError(f"columns {text!r}: {' and '.join(missing)} missing; the form is {_FORM}")
    try:
        return Columns.model_validate(found)
    except ValueError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ") if hasattr(error, "errors") else str(error)
        raise UsageError(f"columns {text!r}: {reason}; the form is {_FORM}") from None


def split_features(text: str) -> list[str]:
    """`V;PST;3;SG`, `V PST 3 SG` or `V|PST|3|SG` → the four features."""
    return [feature for feature in _BETWEEN.split(text) if feature]


def with_features(text: str, features: str) -> str:
    """The source as one string: always the same one for the same features, and the text alone where there are none."""
    plain = text.replace(TAB, " ")
    found = split_features(features)
    return plain + TAB + ";".join(found) if found else plain


def text_part(source: str) -> str:
    """A source with features without them."""
    return source.partition(TAB)[0]
