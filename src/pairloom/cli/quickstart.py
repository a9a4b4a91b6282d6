"""`pairloom quickstart`: from nothing to a model, a score, pictures, and what to try next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pairloom.cli.output import colours, command, one_line, program, say, show, show_json, width
from pairloom.cli.parser import Command, Parser, add_json

if TYPE_CHECKING:
    from pairloom.workflow.quickstart import Kind, Result


def add_quickstart(parser: Parser) -> None:
    """The arguments."""
    text = "dates: as people write them in 17 languages → ISO 8601 (3 minutes); pronounce: English words → phonemes (8)"
    parser.add_argument("kind", nargs="?", choices=("dates", "pronounce"), default="dates", help=text)
    parser.add_argument("--out", metavar="DIR", help="where pairs, model and pictures go (runs/quickstart-dates)")
    parser.add_argument("--minutes", type=float, metavar="M", help="budget of training (2.5, pronounce 7.8)")
    parser.add_argument("--fresh", action="store_true", help="train again, even if it is there already")
    add_json(parser)


def quickstart(*, kind: Kind, out: str | None, minutes: float | None, fresh: bool, as_json: bool) -> int:
    """Trains, judges on pairs never seen, and shows; what is there already is only shown."""
    from pairloom.cli.progress import listener
    from pairloom.workflow.quickstart import quickstart as begin

    with listener() as on_event:
        result = begin(kind, out or f"runs/quickstart-{kind}", minutes=minutes, fresh=fresh, on_event=on_event, say=say)
    if result.finished_before:
        say(f"{result.folder} is there already: these are its results (--fresh trains again)")
    if as_json:
        show_json(result.as_dict())
    else:
        _show(result)
    return 0


def _show(result: Result) -> None:
    from pairloom.pictures import attention_in_terminal, sparkline

    show(f"on {result.lines:,} {result.what} that the model has never seen, with 95% intervals:")
    for score in result.scores:
        show(f"  {score}")
    relation = (
        "reached" if result.reached else "NOT reached; a slow or busy machine needs more time: --fresh --minutes N"
    )
    show(f"  the mark ({result.mark}) is {relation}")
    show("\nsix of them:")
    for example in result.examples:
        sign = "✓" if example.right else f"✗ right: {one_line(' or '.join(example.answers))}"
        show(f"  {one_line(example.source)} → {one_line(example.output)}  {sign}")
    seen = result.explained
    show(f"\nwhat the model looks at while it writes {one_line(seen.text)!r} (each line one token):\n")
    picture = attention_in_terminal(seen.attention, seen.source_tokens, seen.tokens, width=width(), color=colours())
    show(picture, own=True)
    curve = sparkline(result.curve)
    show(f"\nthe development loss, {len(result.curve)} times: {curve}  {result.curve[0]:.2f} → {result.curve[-1]:.2f}")
    show("\nthe model and what belongs to it:")
    for name, meaning in result.files().items():
        show(f"  {name:<{max(map(len, result.files()))}}  {meaning}")
    show("\ntry next:")
    for line in next_commands(result):
        show(f"  {line}")
    show(f"\nand with your own pairs (source<TAB>target): {program()} train pairs.tsv --out runs/mine --minutes 5")


def next_commands(result: Result) -> list[str]:
    """Three commands to type; they work as they stand."""
    text, model = result.examples[0].source, str(result.folder / "model")
    merge = ["--merge"] if result.kind == "pronounce" else []
    return [
        f"echo {shlex.quote(result.examples[-1].source)} | {command('generate', model, '--nbest', '3')}",
        command("attend", model, text, "--out", str(result.folder / "mine.html")),
        command("evaluate", model, str(result.folder / "test.tsv"), *merge),
    ]


QUICKSTART = Command(
    "quickstart",
    "[dates|pronounce] [--out DIR] [options]",
    "three minutes to a model, a score, pictures, and what to try next",
    ("pairloom quickstart", "pairloom quickstart pronounce --out runs/words"),
    add_quickstart,
    quickstart,
)
