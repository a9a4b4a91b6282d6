"""Attention as one page that needs nothing else: point at a token, and what it attends to lights up."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from math import ceil
from string import Template

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.cells import cell_len

from pairloom.pictures.figure import checked_weights, scale_top
from pairloom.pictures.labels import heading, visible

_LEVELS = 10
"""Shades in attention.css: `.l1` to `.l10`."""

_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'"

_TABLE_CELLS = 40_000
"""A larger table would make the page slow; the tokens above it still show every weight."""


def attention_page(
    weights: ArrayLike,
    source: Sequence[str],
    target: Sequence[str],
    *,
    title: str | None = None,
    score: float | None = None,
) -> str:
    """One HTML page for attention weights [T, S]: it loads nothing, and runs no script but its own (by its hash).

    The weights and the tokens stand in it as JSON (`<script type="application/json" id="data">`). `score` is the
    log-probability of the target. UsageError: shape and labels do not fit.
    """
    array = checked_weights(weights, source, target)
    top = scale_top(array)
    page = files("pairloom.pictures") / "page"
    style, script = ((page / f"attention.{kind}").read_text("utf-8") for kind in ("css", "js"))
    data = {
        "source": list(source),
        "target": list(target),
        "weights": [[float(str(weight)) for weight in row] for row in array],  # the shortest text of each float32
        "top": top,
        "score": score,
    }
    return Template((page / "attention.html").read_text("utf-8")).substitute(
        policy=f"{_POLICY}; style-src {_hash(style)}; script-src {_hash(script)}",
        style=style,
        script=script,
        title=escape(heading(title)) if title else "Attention",
        score="" if score is None else f'<p class="score">log-probability {score:.4f}</p>',
        target=_tokens("target", target),
        source=_tokens("source", source),
        table=_table(array, source, target, top),
        data=json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
    )


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _text(token: str) -> str:
    return escape(visible(token))


def _tokens(side: str, tokens: Sequence[str]) -> str:
    """The tokens as buttons; one of a side is in the order of the tabulator key, the arrow keys reach the others."""
    buttons = (
        f'<button type="button" id="{side}-{number}" tabindex="{0 if number == 1 else -1}" aria-pressed="false">'
        f'<span class="token">{_text(token)}</span><span class="share" aria-hidden="true"></span></button>'
        for number, token in enumerate(tokens, 1)
    )
    return "\n".join(buttons)


def _table(weights: NDArray[np.float32], source: Sequence[str], target: Sequence[str], top: float) -> str:
    if weights.size > _TABLE_CELLS:
        return f"<p>{len(target)} × {len(source)} weights are too many for a table; point at a token to read them.</p>"
    kinds = ["small" if weights.size <= 200 else "large"]
    if any(cell_len(visible(token)) > 4 for token in source):
        kinds.append("tall")
    head = "".join(f'<th scope="col"><span>{_text(token)}</span></th>' for token in source)
    rows = (
        f'<tr><th scope="row">{_text(token)}</th>{"".join(_cell(float(weight), top) for weight in row)}</tr>'
        for token, row in zip(target, weights, strict=True)
    )
    return (
        f'<table id="table" class="{" ".join(kinds)}" aria-label="Attention weights: a row for each target token, '
        f'a column for each source token"><thead><tr><td></td>{head}</tr></thead>\n<tbody lang="">'
        + "\n".join(rows)
        + "</tbody></table>"
    )


def _cell(weight: float, top: float) -> str:
    if weight < 0.01:
        return "<td></td>"
    return f'<td class="l{min(_LEVELS, ceil(_LEVELS * weight / top))}">{weight:.2f}</td>'
