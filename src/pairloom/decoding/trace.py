"""A beam search laid open: what it weighed at each step, what became of each alternative, and why the winner won.

The search itself is `Beam` in the one generation loop; here is only a beam that notes what passes through its hands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal, NamedTuple

from torch import Tensor

from pairloom.decoding.beam import Beam, BeamProgress
from pairloom.decoding.choosers import Choice
from pairloom.decoding.hypotheses import length_penalty, prepare
from pairloom.decoding.inputs import evaluating
from pairloom.decoding.loop import run
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.models.protocol import EOS, EncoderDecoder

Fate = Literal["alive", "finished", "dropped"]
"""It goes on; it ended here with `</s>`; K others were better."""
Reason = Literal["enough", "out of reach", "limit"]
"""Why a search ends: patience x K have finished and no live one is ahead; none can still enter the n best; the output
is too long."""


@dataclass(frozen=True)
class Alternative:
    """One continuation that was weighed at one step."""

    token: int
    parent: int | None  # what it continues: a place among the alternatives of the step before; None at the first step
    score: float  # log P of all tokens up to this one
    normalised: float  # score / length penalty of so many tokens
    fate: Fate


@dataclass(frozen=True)
class Ending:
    """One output that the search has found."""

    path: tuple[int, ...]  # at each step from the first its place among the alternatives
    tokens: tuple[int, ...]  # without `</s>`
    finished: bool  # False: cut at the limit
    score: float  # log P, natural logarithm
    penalty: float  # (5 + length)^alpha / 6^alpha, `</s>` counted in the length
    normalised: float  # score / penalty: the endings are ordered by it


@dataclass(frozen=True)
class Trace:
    """One search from the first step to the last."""

    width: int  # K
    alpha: float  # of the length penalty
    steps: list[list[Alternative]]  # at most 2K a step, best first
    endings: list[Ending]  # the finished first, best first; the first is the winner
    reason: Reason
    bound: float | None  # the best normalised score that a live hypothesis could still have reached; None: none lived


class Weighed(NamedTuple):
    """What a beam of one sentence has decided at one step."""

    candidates: tuple[Tensor, Tensor, Tensor]  # scores, rows, tokens [1, 2K]
    choice: Choice
    after: BeamProgress


@dataclass(frozen=True)
class NotingBeam(Beam):
    """The beam that keeps what it has weighed. One of them serves one search."""

    candidates_seen: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list, compare=False)
    weighed: list[Weighed] = field(default_factory=list, compare=False)

    def candidates(self, progress: BeamProgress, log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = super().candidates(progress, log_probs)
        self.candidates_seen.append(found)
        return found

    def advance(self, progress: BeamProgress, log_probs: Tensor) -> tuple[Choice, BeamProgress]:
        choice, after = super().advance(progress, log_probs)
        self.weighed.append(Weighed(self.candidates_seen[-1], choice, after))
        return choice, after


def trace_beam(
    model: EncoderDecoder,
    source: Sequence[int],  # ids without `</s>`
    settings: DecodingSettings,
) -> Trace:
    """The search that `generate` makes with these settings. Raises UsageError for sampling, which searches nothing.

    With `nbest` = `beam` all K outputs are found; the winner is the same whatever `nbest` is.
    """
    if settings.sample:
        raise UsageError("sample=true: sampling draws one token after the other, there is no beam to trace")
    s = settings
    beam = NotingBeam(s.beam, s.nbest, s.length_penalty, s.patience, s.no_repeat_ngram)
    with evaluating(model):
        for _ in run(model, prepare([source], settings, None), beam, 1):
            pass
    return _laid_open(beam)


def _laid_open(beam: NotingBeam) -> Trace:
    steps: list[list[Alternative]] = []
    paths: list[tuple[int, ...]] = [()] * beam.width  # of each live row
    endings: list[Ending] = []
    for number, weighed in enumerate(beam.weighed):
        penalty = length_penalty(number + 1, beam.alpha)
        scores, parents, tokens = (part[0].tolist() for part in weighed.candidates)
        rows = [0] * beam.width if weighed.choice.rows is None else weighed.choice.rows.tolist()
        going_on = list(zip(rows, weighed.choice.tokens.tolist(), strict=True))
        step: list[Alternative] = []
        grown: dict[tuple[int, int], tuple[int, ...]] = {}
        for place, (score, row, token) in enumerate(zip(scores, parents, tokens, strict=True)):
            if score == -inf:
                break  # the rest is not allowed
            fate = _fate(place, beam.width, token, (row, token) in going_on)
            path = (*paths[row], place)
            grown[row, token] = path
            parent = paths[row][-1] if paths[row] else None
            step.append(Alternative(token, parent, score, score / penalty, fate))
            if fate == "finished":
                endings.append(_ending(path, [*steps, step], score, penalty, finished=True))
        steps.append(step)
        paths = [grown.get(row, ()) for row in going_on]

    last = beam.weighed[-1].after
    live = [score for score in last.scores[0].tolist() if score > -inf]
    at_limit = int(last.lengths[0]) >= int(last.limits[0])
    if at_limit:
        penalty = length_penalty(len(steps), beam.alpha)
        cut = zip(paths, live, strict=False)
        endings += [_ending(path, steps, score, penalty, finished=False) for path, score in cut if path]
    endings.sort(key=lambda ending: (ending.finished, ending.normalised), reverse=True)
    return Trace(
        width=beam.width,
        alpha=beam.alpha,
        steps=steps,
        endings=endings,
        reason=_reason(beam, last, at_limit),
        bound=live[0] / length_penalty(int(last.limits[0]), beam.alpha) if live else None,
    )


def _fate(place: int, width: int, token: int, goes_on: bool) -> Fate:
    if token == EOS:
        return "finished" if place < width else "dropped"
    return "alive" if goes_on else "dropped"


def _ending(
    path: tuple[int, ...], steps: Sequence[Sequence[Alternative]], score: float, penalty: float, *, finished: bool
) -> Ending:
    tokens = [steps[number][place].token for number, place in enumerate(path)]
    return Ending(path, tuple(tokens[:-1] if finished else tokens), finished, score, penalty, score / penalty)


def _reason(beam: Beam, last: BeamProgress, at_limit: bool) -> Reason:
    if bool(beam.enough(last)[0]):
        return "enough"
    return "limit" if at_limit else "out of reach"
