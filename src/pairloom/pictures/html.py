"""Attention as one page that needs nothing else: point at a token, and what it attends to lights up."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from math import ceil
from string import Template
from typing import Any

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

_CHOICE_CELLS = 2_000_000
"""More weights to choose from would make a page of more than some 15 MB."""


def attention_page(
    weights: ArrayLike,
    source: Sequence[str],
    target: Sequence[str],
    *,
    title: str | None = None,
    score: float | None = None,
    choices: Mapping[str, ArrayLike] | None = None,
) -> str:
    """One HTML page for attention weights [T, S]: it loads nothing, and runs no script but its own (by its hash).

    The weights and the tokens stand in it as JSON (`<script type="application/json" id="data">`). `score` is the
    log-probability of the target. `choices` are matrices of the same tokens by name (layers and heads), of which the
    reader can choose; the first should be `weights`, which the page opens with. UsageError: shape and labels do not
    fit.
    """
    array = checked_weights(weights, source, target)
    top = scale_top(array)
    page = files("pairloom.pictures") / "page"
    style, script = ((page / f"attention.{kind}").read_text("utf-8") for kind in ("css", "js"))
    data: dict[str, Any] = {
        "source": list(source),
        "target": list(target),
        "weights": [[float(str(weight)) for weight in row] for row in array],  # the shortest text of each float32
        "top": top,
        "score": score,
        "choices": _choices(choices or {}, source, target),
    }
    return Template((page / "attention.html").read_text("utf-8")).substitute(
        policy=f"{_POLICY}; style-src {_hash(style)}; script-src {_hash(script)}",
        style=style,
        script=script,
        title=escape(heading(title)) if title else "Attention",
        score="" if score is None else f'<p class="score">log-probability {score:.4f}</p>',
        choice=_selector(data["choices"], choices or {}),
        target=_tokens("target", target),
        source=_tokens("source", source),
        table=_table(array, source, target, top),
        data=json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
    )


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _text(token: str) -> str:
    return escape(visible(token))


def _choices(choices: Mapping[str, ArrayLike], source: Sequence[str], target: Sequence[str]) -> list[dict[str, Any]]:
    """The matrices for the script; none if they are too many for a page."""
    if len(choices) * len(source) * len(target) > _CHOICE_CELLS:
        return []
    found = []
    for weights in choices.values():
        array = checked_weights(weights, source, target)
        rows = [[round(float(weight), 4) for weight in row] for row in array]
        found.append({"weights": rows, "top": scale_top(array)})
    return found


def _selector(kept: Sequence[object], choices: Mapping[str, ArrayLike]) -> str:
    """A list to choose from, which the script shows: without it nothing could be chosen."""
    if not choices:
        return ""
    if not kept:
        return f'<p class="hint">The weights of {len(choices)} layers and heads are too many for one page.</p>'
    options = "".join(
        f'<option value="{number}">{escape(heading(name))}</option>' for number, name in enumerate(choices)
    )
    return (
        f'<p id="choice" hidden><label for="weights">Weights of</label> '
        f'<select id="weights" autocomplete="off">{options}</select></p>'
    )


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
