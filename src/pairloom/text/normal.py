"""Unicode normal forms, in linear time whatever the text is.

Python's `unicodedata.normalize` takes quadratic time on long runs of combining marks (100,000 of them: 8 seconds),
which a stranger could use to stop a program. Long texts therefore go through the normaliser of `tokenizers`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from tokenizers import normalizers

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]

LONG = 2_000
"""Characters from which on the linear normaliser is used; below, Python's own is quicker."""

_LINEAR = {form: getattr(normalizers, form)() for form in ("NFC", "NFD", "NFKC", "NFKD")}
_SURROGATES = re.compile("[\ud800-\udfff]")


def normal_form(form: Form, text: str) -> str:
    """The text in that form. A long text loses its lone surrogates to U+FFFD, since no other program can hold them."""
    if text.isascii():
        return text
    if len(text) < LONG:
        return unicodedata.normalize(form, text)
    result: str = _LINEAR[form].normalize_str(_SURROGATES.sub("\ufffd", text))
    return result
