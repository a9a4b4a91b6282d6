"""`pairloom show` and `doctor`: what a folder is, and what this machine has."""

from __future__ import annotations

from pairloom.cli.output import one_line, show, show_json
from pairloom.cli.parser import Command, Parser, add_json, add_model, natural


def add_show(parser: Parser) -> None:
    """The arguments."""
    add_model(parser)
    text = "the tokens whose embeddings are closest to that of WORD, by cosine (DIR may be a .vec file)"
    parser.add_argument("--near", metavar="WORD", help=text)
    parser.add_argument("--count", type=natural, default=10, metavar="N", help="how many of them (10)")
    add_json(parser)


def show_model(*, directory: str, near: str | None, count: int, as_json: bool) -> int:
    """Settings, sizes, data, scores, curve; of a run under way, how far it is. Or the neighbours of a word."""
    if near is not None:
        return _show_neighbours(directory, near, count, as_json)
    from pairloom.workflow.show import describe

    described = describe(directory)
    if as_json:
        show_json(described.as_dict())
    else:
        show("\n".join(described.lines()))
    return 0


def _show_neighbours(directory: str, word: str, count: int, as_json: bool) -> int:
    from pairloom.workflow.vectors import neighbours

    found = neighbours(directory, word, count)
    if as_json:
        near = {side: [vars(one) for one in closest] for side, closest in found.items()}
        show_json({"word": word, "near": near})
        return 0
    for side, closest in found.items():
        show(f"{side}: closest to {one_line(word, 60)}, by cosine")
        for one in closest:
            show(f"  {one.similarity:6.3f}  {one_line(one.word, 60)}")
    return 0


def add_doctor(parser: Parser) -> None:
    """The arguments."""
    add_json(parser)


def doctor(*, as_json: bool) -> int:
    """Versions, processor, threads, extras."""
    from pairloom.workflow.doctor import examine

    found = examine()
    if as_json:
        show_json(found.as_dict())
    else:
        show("\n".join(found.lines()))
    return 0


SHOW = Command(
    "show",
    "DIR [--near WORD] [--json]",
    "what a model is: settings, sizes, data, scores, curve",
    ("pairloom show runs/mine", "pairloom show runs/mine --json", "pairloom show words.vec --near dog"),
    add_show,
    show_model,
)
DOCTOR = Command(
    "doctor",
    "[--json]",
    "versions, processor, threads, and what each extra adds",
    ("pairloom doctor", "pairloom doctor --json"),
    add_doctor,
    doctor,
)
