"""`pairloom export`: a model in another form."""

from __future__ import annotations

from collections.abc import Sequence

from pairloom.cli.output import say, show, show_json
from pairloom.cli.parser import Command, Parser, add_json, add_model
from pairloom.errors import UsageError

TARGETS = ("engine", "shortlist")
LATER = ("onnx", "ctranslate2", "web")
"""Forms of the plan that no release has yet."""


def add_export(parser: Parser) -> None:
    """The arguments."""
    add_model(parser)
    text = (
        "into the folder itself: engine, what ONNX Runtime answers from (--engine onnx); shortlist, the words that are "
        "likely for a source (--shortlist). Training makes both already, the second for 4,096 words or more"
    )
    parser.add_argument("--to", required=True, choices=(*TARGETS, *LATER), metavar="FORM", dest="form", help=text)
    text = "pairs on which the engine is compared with torch; without them float32 is its default"
    parser.add_argument("--dev", nargs="+", default=(), metavar="PAIRS", help=text)
    text = "of a shortlist: the pairs that the model was trained on"
    parser.add_argument("--pairs", nargs="+", default=(), metavar="PAIRS", help=text)
    add_json(parser)


def export(*, directory: str, form: str, dev: Sequence[str], pairs: Sequence[str], as_json: bool) -> int:
    """Makes it, and says what it is."""
    if form in LATER:
        raise UsageError(f"--to {form} is not there yet; there is: {', '.join(TARGETS)}")
    if (dev and form == "shortlist") or (pairs and form != "shortlist"):
        raise UsageError("--dev is of --to engine, --pairs of --to shortlist")
    if form == "shortlist":
        return _shortlist(directory, pairs, as_json)
    from pairloom.export.engine import export_engine

    judged = export_engine(directory, dev)
    assert judged.engine is not None
    if as_json:
        show_json({"folder": directory, "engine": judged.engine.model_dump(by_alias=True)})
    else:
        show(judged.note)
        say(f"the engine is in {directory}/engine; `pairloom generate {directory}` uses it")
    return 0


def _shortlist(directory: str, pairs: Sequence[str], as_json: bool) -> int:
    from pairloom.export.shortlist import export_shortlist

    likely = export_shortlist(directory, pairs)
    each, always = likely.by_source.shape[1], len(likely.always)
    if as_json:
        show_json({"folder": directory, "shortlist": {"each": each, "always": always}})
    else:
        show(f"{each} likely words for each token of the source, and {always} for every source")
        say(f"`pairloom generate {directory} --shortlist` chooses among them")
    return 0


EXPORT = Command(
    "export",
    "DIR --to engine|shortlist [--dev PAIRS...] [--pairs PAIRS...] [options]",
    "make (or make anew) what answers fast",
    (
        "pairloom export runs/old --to engine --dev dev.tsv",
        "pairloom export runs/old --to engine --dev val.de val.en",
        "pairloom export runs/old --to shortlist --pairs train.de train.en",
    ),
    add_export,
    export,
)
