"""`pairloom train`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pairloom.cli.output import command, one_line, say, show, show_json, show_scores
from pairloom.cli.parser import Command, Parser, add_json, add_pairs, assignment, natural, sections
from pairloom.recipes.shelf import names

if TYPE_CHECKING:
    from pairloom.workflow import events as ev
    from pairloom.workflow.model import Model


UNITS = ("character", "jamo", "word", "space", "bpe", "unigram", "byte")
SECTIONS = ("model", "training", "generation")
KINDS = ("rnn", "attention", "transformer", "hybrid")


def add_train(parser: Parser) -> None:
    """The arguments."""
    add_pairs(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder of the model")
    parser.add_argument("--dev", nargs="+", default=(), metavar="PAIRS", help="to judge by; default: a slice of PAIRS")
    parser.add_argument("--fresh", action="store_true", help="remove the run that is in DIR and start anew")
    add_json(parser)
    budget = parser.add_argument_group("budget (one of them; default: 10 minutes)")
    budget.add_argument("--minutes", type=float, metavar="M", dest="settings.minutes", help="wall time")
    budget.add_argument("--epochs", type=int, metavar="N", dest="settings.epochs", help="passes over the pairs")
    budget.add_argument("--steps", type=int, metavar="N", dest="settings.steps", help="updates of the weights")
    _add_recipes(parser.add_argument_group("recipes (what you say yourself wins over them)"))
    _add_texts(parser.add_argument_group("texts (what is not given is chosen from the data, and said)"))
    _add_model(parser.add_argument_group("model and machine"))


def _add_recipes(group: argparse._ArgumentGroup) -> None:
    text = f"settings that suit a task: {', '.join(names('task'))}"
    group.add_argument("--task", metavar="NAME", dest="settings.task", help=text)
    text = f"those of a paper, or a file of your own (.toml): {', '.join(names('recipe'))}"
    group.add_argument("--recipe", metavar="NAME", dest="settings.recipe", help=text)


def _add_texts(group: argparse._ArgumentGroup) -> None:
    text = "a TSV's columns, counted from 1: source=1,target=2,features=3; names in JSON lines and Parquet"
    group.add_argument("--columns", metavar="LIST", dest="settings.columns", help=text)
    for side in ("source", "target"):
        name = f"settings.{side}_unit"
        text = f"what a {side} token is: {', '.join(UNITS)}"
        group.add_argument(f"--{side}-unit", choices=UNITS, metavar="UNIT", dest=name, help=text)
    group.add_argument("--vocabulary", type=int, metavar="N", dest="settings.vocabulary", help="entries, at most")
    joint, text = argparse.BooleanOptionalAction, "one vocabulary for both sides"
    group.add_argument("--joint", action=joint, default=None, dest="settings.joint", help=text)
    for side in ("source", "target"):
        text = f"longest {side} in tokens; what is longer is cut (400)"
        group.add_argument(f"--max-{side}", type=int, metavar="N", dest=f"settings.max_{side}", help=text)
    forms = ("NFC", "NFD", "NFKC", "NFKD", "none")
    text = f"of Unicode: {', '.join(forms)} (NFC)"
    group.add_argument("--normal-form", choices=forms, metavar="FORM", dest="settings.normal_form", help=text)
    text = "stop at unusable lines instead of skipping them"
    group.add_argument("--strict", action="store_const", const=True, dest="settings.strict", help=text)


def _add_model(group: argparse._ArgumentGroup) -> None:
    text = "attention (LSTM; the default), rnn (fixed context vector), transformer, or hybrid (of the two)"
    group.add_argument("--model", choices=KINDS, metavar="KIND", dest="settings.kind", help=text)
    sizes = ("auto", "small", "medium", "large")
    text = "auto: what suits the data and, with a budget in minutes, what this machine can train in them (measured)"
    group.add_argument("--size", choices=sizes, metavar="SIZE", dest="settings.size", help=text)
    text = "embeddings start from these .vec files: one for both sides, or source and target"
    group.add_argument("--vectors", nargs="+", metavar="FILE", dest="settings.vectors", help=text)
    text = "of the initial weights, the dropout and the order of batches (1)"
    group.add_argument("--seed", type=int, metavar="N", dest="settings.seed", help=text)
    text = "of which sources are held out where there is no --dev (1); models of an ensemble need the same"
    group.add_argument("--split-seed", type=int, metavar="N", dest="settings.split_seed", help=text)
    devices = ("auto", "cpu", "cuda", "mps")
    group.add_argument("--device", choices=devices, dest="settings.device", help="where the model is trained")
    text = "auto: bfloat16 where the processor multiplies it faster"
    group.add_argument("--precision", choices=("auto", "float32", "bfloat16"), dest="settings.precision", help=text)
    group.add_argument("--threads", type=natural, metavar="N", dest="settings.threads", help="threads of the processor")
    text = "any other setting of the sections model, training and generation, e.g. model.dropout=0.4; may be repeated"
    name = "SECTION.KEY=VALUE"
    group.add_argument("--set", action="append", default=[], type=assignment, metavar=name, dest="changes", help=text)


def train(
    *,
    pairs: Sequence[str],
    out: str,
    dev: Sequence[str],
    fresh: bool,
    changes: Sequence[tuple[str, str, Any]],
    settings: dict[str, Any],
    as_json: bool,
) -> int:
    """Trains; at the end the scores, the folder, and a line to type."""
    chosen = {**settings, **sections(changes, SECTIONS)}
    import pairloom
    from pairloom.cli.progress import listener

    seen = _Seen()
    with listener() as show_progress:

        def on_event(event: ev.Event) -> None:
            seen.take(event)
            show_progress(event)

        model = pairloom.train(pairs, out=out, dev=dev, fresh=fresh, on_event=on_event, **chosen)
    if not seen.anything:
        say(f"{out}: this run is finished already; --fresh would start it anew")
    if as_json:
        show_json({"folder": out, "finished_before": not seen.anything, **_facts(model)})
    else:
        _show(model, out, seen.source)
    return 0


class _Seen:
    """What the end needs to know of the events."""

    def __init__(self) -> None:
        self.anything = False
        self.source = ""  # of a development pair, for the line to type

    def take(self, event: ev.Event) -> None:
        from pairloom.workflow.events import Validation

        self.anything = True
        if isinstance(event, Validation) and event.samples:
            self.source = event.samples[0].source


def _facts(model: Model) -> dict[str, Any]:
    names = ("result", "development", "parameters", "precision", "seed", "versions", "settings")
    return {name: model.folder.training[name] for name in names if name in model.folder.training}


def _show(model: Model, out: str, source: str) -> None:
    from pairloom.metrics import Score

    judged = model.folder.training.get("development", {"pairs": 0, "scores": []})
    show(f"on {judged['pairs']:,} development pairs, with 95% intervals:")
    show_scores([Score(**one) for one in judged["scores"]])
    show(f"model: {out}")
    asked = command("generate", out)
    if source and len(source) <= 80 and one_line(source) == source:
        show(f"use it: printf '%s\\n' {shlex.quote(source)} | {asked}")
    else:
        show(f"use it: {asked} FILE")


TRAIN = Command(
    "train",
    "PAIRS... --out DIR [options]",
    "learn from a file of pairs: a model in a folder",
    (
        "pairloom train pairs.tsv --out runs/mine --minutes 5",
        "pairloom train train.de train.en --dev val.de val.en --out runs/de-en --minutes 20",
        "pairloom train words.tsv --out runs/words --source-unit jamo --target-unit space --set model.dropout=0.4",
    ),
    add_train,
    train,
)
