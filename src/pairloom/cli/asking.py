"""`pairloom generate` and `score`: what a model says, and how probable a text is."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from math import exp
from typing import TYPE_CHECKING, Any

from pairloom.cli.lines import arriving, open_lines, windows
from pairloom.cli.output import is_terminal, say, show, show_json
from pairloom.cli.parser import (
    Command,
    Parser,
    add_columns,
    add_json,
    add_machine,
    add_models,
    add_pairs,
    add_search,
    folders_and_pairs,
    folders_and_rest,
)
from pairloom.errors import UsageError
from pairloom.text.files import STDIN
from pairloom.text.findings import BREAKS

if TYPE_CHECKING:
    from pairloom.decoding.explanation import Explanation
    from pairloom.decoding.generator import Output
    from pairloom.text.files import Lines
    from pairloom.workflow.model import Model

NOTHING: dict[str, Any] = {"text": "", "tokens": [], "score": None, "normalised": None, "finished": True}
"""What a blank line is answered with."""


def open_model(directories: Sequence[str], machine: dict[str, Any]) -> Model:
    """The model (of several folders: the ensemble) on the engine asked for."""
    import pairloom

    return pairloom.load(*directories, **machine)


# -- generate ----------------------------------------------------------------------------------------------------------


def add_generate(parser: Parser) -> None:
    """The arguments."""
    add_models(parser)
    parser.add_argument("files", nargs="*", metavar="FILE", help="the lines to answer; default: standard input (-)")
    parser.rest = "files"
    parser.add_argument("--nbest", type=int, metavar="N", dest="decoding.nbest", help="N outputs a line, apart by tabs")
    parser.add_argument("--prefix", default="", metavar="TEXT", help="what every output begins with")
    text = "with --json: the attention of each output, too"
    parser.add_argument("--attention", action="store_true", help=text)
    add_json(parser)
    add_search(parser)
    add_machine(parser, searches=True)


def generate(
    *,
    directory: str,
    files: Sequence[str],
    prefix: str,
    attention: bool,
    as_json: bool,
    decoding: dict[str, Any],
    machine: dict[str, Any],
) -> int:
    """One line in, one line out, in order, always."""
    directories, files = folders_and_rest(directory, files)
    if len(files) > 1:
        raise UsageError(f"{len(files)} files of lines: give one, or join them with cat")
    if attention and not as_json:
        raise UsageError("--attention needs --json; `pairloom attend` draws it")
    model = open_model(directories, machine)
    answering = model.answering(prefix, **decoding)
    by = {"engine": answering.engine, "precision": answering.precision}
    file = files[0] if files else STDIN
    lines = open_lines(file)
    typed = file == STDIN and is_terminal(sys.stdin)
    if typed:
        say("type a line and press Enter for its answer; Ctrl-D (on Windows Ctrl-Z, Enter) ends")
    counter = _Counter(shown=is_terminal(sys.stderr) and not typed and not is_terminal(sys.stdout))
    parts = _windows(model, lines, file, decoding, one_by_one=typed)
    for number, output in enumerate(_answers(model, parts, prefix, decoding, counter), start=1):
        if as_json:
            wanted = attention and output.candidates
            weights = attention_as_json(model.explain(output.source, output.text)) if wanted else {}
            show_json({"line": number, **_as_json(output), **weights, **by})
        else:
            show("\t".join(one.text.translate(BREAKS) for one in output.candidates))
        counter.cut += output.cut > 0
    counter.finish(lines)
    return 0


def _windows(
    model: Model, lines: Lines, file: str, decoding: dict[str, Any], *, one_by_one: bool
) -> Iterator[list[str]]:
    """The lines in groups that are answered together."""
    from pairloom.decoding.generator import WINDOW

    batch = decoding.get("batch", model.folder.generation.get("batch", 64))
    most = 1 if one_by_one else WINDOW * max(1, batch)
    return arriving(lines, most) if file == STDIN else windows(lines, most)


def _answers(
    model: Model, parts: Iterator[list[str]], prefix: str, decoding: dict[str, Any], counter: _Counter
) -> Iterator[Output]:
    """The outputs, flushed window by window."""
    first = 0
    for part in parts:
        yield from model.outputs(part, prefix, first, **decoding)
        sys.stdout.flush()
        counter.add(len(part))
        first += len(part)


def _as_json(output: Output) -> dict[str, Any]:
    candidates = [vars(one) for one in output.candidates]
    best = candidates[0] if candidates else NOTHING
    return {"source": output.source, **best, "cut": output.cut, "candidates": candidates}


def attention_as_json(explained: Explanation) -> dict[str, Any]:
    """The weights, and the tokens that they lie on."""
    return {
        "source_tokens": explained.source_tokens,
        "attention": [[round(w, 4) for w in row] for row in explained.attention.tolist()],
    }


class _Counter:
    """Signs of life for long inputs, and a summary of what was unusual."""

    def __init__(self, shown: bool) -> None:
        self.shown, self.lines, self.cut = shown, 0, 0

    def add(self, lines: int) -> None:
        self.lines += lines
        if self.shown:
            print(f"\r{self.lines:,} lines", end="", file=sys.stderr, flush=True)

    def finish(self, lines: Lines) -> None:
        if self.shown:
            say("")
        if lines.replaced:
            say(f"{lines.replaced:,} of {self.lines:,} lines were not UTF-8: what could not be read became U+FFFD")
        if self.cut or lines.cut:
            say(f"{self.cut + lines.cut:,} of {self.lines:,} lines were longer than the model reads, and were cut")


# -- score -------------------------------------------------------------------------------------------------------------


def add_score(parser: Parser) -> None:
    """The arguments."""
    add_models(parser)
    add_pairs(parser)
    add_columns(parser)
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="pairs scored at the same time (64)")
    add_json(parser)
    add_machine(parser, torch_only=True)


def score(
    *,
    directory: str,
    pairs: Sequence[str],
    columns: str | None,
    batch: int,
    as_json: bool,
    machine: dict[str, Any],
) -> int:
    """log P(target | source) of each pair, its source and its target; the perplexity of all."""
    directories, pairs = folders_and_pairs(directory, pairs)
    if machine.get("engine") == "onnx":
        raise UsageError("--engine onnx: it searches; how probable a given text is, torch computes: leave it out")
    model = open_model(directories, {**machine, "engine": "torch"})
    from pairloom.decoding.generator import WINDOW, Generator
    from pairloom.text.pairs import open_pairs

    generator = Generator(model.folder, engines=model.engines)  # an ensemble's folder is one
    opened = open_pairs(pairs, model.reading(pairs, columns))
    count, tokens, total = 0, 0, 0.0
    rows = iter(opened)
    while part := list(islice(rows, WINDOW * max(1, batch))):
        for pair, one in zip(part, generator.score([pair[:2] for pair in part], batch), strict=True):
            count, tokens, total = count + 1, tokens + len(one.tokens), total + one.score
            if as_json:
                show_json({**pair._asdict(), "score": one.score, "token_scores": one.tokens})
            else:
                show(f"{one.score:.4f}\t{pair.source.translate(BREAKS)}\t{pair.target.translate(BREAKS)}")
        sys.stdout.flush()
    perplexity = exp(min(700.0, -total / tokens))
    if opened.skipped:
        say("\n".join(opened.report()))
    if as_json:
        summary = {"pairs": count, "skipped": opened.skipped, "tokens": tokens, "score": total}
        show_json({**summary, "perplexity": perplexity})
    else:
        say(f"{count:,} pairs, {tokens:,} target tokens: log-probability {total:.2f}, perplexity {perplexity:.3f}")
    return 0


GENERATE = Command(
    "generate",
    "DIR... [FILE] [options]",
    "one line in, one line out",
    (
        "pairloom generate runs/mine sources.txt > outputs.txt",
        "echo 'guten Morgen' | pairloom generate runs/mine --beam 5 --nbest 3",
        "pairloom generate runs/mine sources.txt --sample --temperature 0.8 --seed 1 --json",
        "pairloom generate runs/seed1 runs/seed2 runs/seed3 sources.txt     # an ensemble",
    ),
    add_generate,
    generate,
)
SCORE = Command(
    "score",
    "DIR... PAIRS... [options]",
    "log-probability of given pairs, and perplexity",
    (
        "pairloom score runs/mine test.tsv > scored.tsv     # log-probability, source, target",
        "pairloom score runs/mine test.de test.en | sort -n | head     # the least probable pairs",
    ),
    add_score,
    score,
)
