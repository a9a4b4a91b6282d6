"""`pairloom attend`: what a model looks at while it writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairloom.cli.asking import attention_as_json, open_model
from pairloom.cli.output import colours, say, show, show_json, width
from pairloom.cli.parser import Command, Parser, add_json, add_machine, add_search, natural
from pairloom.errors import UsageError
from pairloom.text.findings import BREAKS

if TYPE_CHECKING:
    from pairloom.decoding.explanation import Table


def add_attend(parser: Parser) -> None:
    """The arguments."""
    parser.add_argument("directories", nargs="+", metavar="DIR", help="the folder of a model, or of several (the mean)")
    parser.add_argument("text", metavar="TEXT", help="the source")
    parser.add_argument("--target", metavar="TEXT", help="what to explain; default: the model's own output")
    parser.add_argument("--out", metavar="FILE", help="the picture: .png, .svg or .html (there, point at a token)")
    text = "of this layer, from 1; default: what the model itself goes by"
    parser.add_argument("--layer", type=natural, metavar="N", help=text)
    text = "of this head, from 1; default: the mean of the layer's heads"
    parser.add_argument("--head", type=natural, metavar="N", help=text)
    text = "draw words, not the pieces that they are made of"
    parser.add_argument("--words", action="store_true", help=text)
    add_json(parser)
    add_search(parser)
    add_machine(parser)


def attend(
    *,
    directories: Sequence[str],
    text: str,
    target: str | None,
    out: str | None,
    layer: int | None,
    head: int | None,
    words: bool,
    as_json: bool,
    decoding: dict[str, Any],
    machine: dict[str, Any],
) -> int:
    """Draws the attention into the terminal and, with `out`, into a file."""
    from pairloom.pictures import attention_in_terminal, draw_attention

    if out is not None and Path(out).suffix.lower() not in (".png", ".svg", ".html"):
        raise UsageError(f"--out {out}: the picture is drawn as .png, .svg or .html; give one of these endings")
    stray = [word for word in directories[1:] if not Path(word).is_dir()]
    if stray:
        raise UsageError(f"{stray[0]!r} is no folder of a model; if it belongs to TEXT, put that into quotes")
    model = open_model(directories, machine)
    explained = model.explain(_whole(text), None if target is None else _whole(target), **decoding)
    explained = explained.looking(layer, head)
    seen = explained.by_words() if words else explained.by_tokens()
    sides = (seen.attention, seen.source, seen.target)
    if out is not None:
        choices = _choices(layer, head, seen)
        title = f"{explained.source} → {explained.text}"
        draw_attention(*sides, out, title=title, score=explained.score, choices=choices)
    if as_json:
        sound = {name: value for name, value in vars(explained).items() if name not in ("attention", "heads")}
        layers, heads = explained.counts
        chosen = {"layer": layer, "head": head, "layers": layers, "heads": heads}
        show_json({**sound, **attention_as_json(explained), **chosen, "score": explained.score, "file": out})
        return 0
    show(explained.text.translate(BREAKS))
    show()
    show(attention_in_terminal(*sides, width=width(), color=colours()), own=True)
    if out is not None:
        say(f"the picture: {out}")
    return 0


def _choices(layer: int | None, head: int | None, seen: Table) -> dict[str, Any]:
    """What the page lets its reader choose from, by name: first what was asked for, then every layer and head."""
    if seen.heads is None or seen.heads.shape[:2] == (1, 1):
        return {}
    every: dict[str, Any] = {}
    for number, heads in enumerate(seen.heads, start=1):
        every[_name(number, None)] = heads.mean(0)
        every |= {_name(number, place): weights for place, weights in enumerate(heads, start=1)}
    first = _name(layer or 1, head) if layer or head else "what the model goes by"
    return {first: seen.attention, **every}


def _name(layer: int, head: int | None) -> str:
    return f"layer {layer}" + (", mean of its heads" if head is None else f", head {head}")


def _whole(text: str) -> str:
    """An argument without what is no text: bytes that were not UTF-8 arrive as lone surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


ATTEND = Command(
    "attend",
    "DIR... TEXT [--target TEXT] [--out FILE] [--layer N] [--head N] [options]",
    "draw what the model looks at while it writes",
    (
        "pairloom attend runs/mine 'guten Morgen'",
        "pairloom attend runs/mine 'guten Morgen' --target 'good morning' --out attention.html",
        "pairloom attend runs/transformer 'guten Morgen' --layer 2 --head 3",
    ),
    add_attend,
    attend,
)
