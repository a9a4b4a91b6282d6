"""`pairloom show` and `doctor`: what a folder is, and what this machine has."""

from __future__ import annotations

from pairloom.cli.output import show, show_json
from pairloom.cli.parser import Command, Parser, add_json, add_model


def add_show(parser: Parser) -> None:
    """The arguments."""
    add_model(parser)
    add_json(parser)


def show_model(*, directory: str, as_json: bool) -> int:
    """Settings, sizes, data, scores, curve; of a run under way, how far it is."""
    from pairloom.workflow.show import describe

    described = describe(directory)
    if as_json:
        show_json(described.as_dict())
    else:
        show("\n".join(described.lines()))
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
    "DIR [--json]",
    "what a model is: settings, sizes, data, scores, curve",
    ("pairloom show runs/mine", "pairloom show runs/mine --json"),
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
