"""Looking at the memory in turn: what a decoder passes on when one step's attention matters to the next.

    Luong, Pham, Manning 2015     arXiv 1508.04025, section 3.3: input feeding
    See, Liu, Manning 2017        arXiv 1704.04368, section 2.3: the coverage vector, equation 10; its loss, equation 12

Dimensions: B sentences, S source tokens, T target tokens, E embedding, H hidden state, A annotation, N heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from pairloom.models.protocol import pad_to
from pairloom.models.recurrent import LSTMState, RecurrentState
from pairloom.models.scores import Look, mean_of_heads


@dataclass(frozen=True)
class FedState(RecurrentState):
    """The state of a decoder with input feeding, coverage, or both; what it does without has no columns.

    A memory is trimmed when long sentences leave, a state is not: `coverage` may have more columns than the memory.
    """

    fed: Tensor  # [B, E] the attentional vector of the step before, or [B, 0]
    coverage: Tensor  # [B, S] float32, the sum of the attention so far, or [B, 0]
    length_fields: ClassVar[tuple[str, ...]] = ("coverage",)


@dataclass(frozen=True)
class FedLSTMState(LSTMState):
    """`FedState` with the cell of an LSTM."""

    fed: Tensor  # [B, E] or [B, 0]
    coverage: Tensor  # [B, S] float32 or [B, 0]
    length_fields: ClassVar[tuple[str, ...]] = ("coverage",)


def first_state(cells: RecurrentState, fed: int, coverage: int) -> RecurrentState:
    """The state of the cells before the first token, with so many columns fed and covered: all zero."""
    if not fed and not coverage:
        return cells
    kind = FedLSTMState if isinstance(cells, LSTMState) else FedState
    rows = len(cells.hidden)
    nothing = torch.zeros(rows, coverage, device=cells.hidden.device)
    return kind(**vars(cells), fed=cells.hidden.new_zeros(rows, fed), coverage=nothing)


def next_state(
    before: RecurrentState, cells: RecurrentState, fed: Tensor | None, coverage: Tensor | None
) -> RecurrentState:
    """The state of the cells after a step, with what is passed on beside it."""
    if not isinstance(before, FedState | FedLSTMState):
        return cells
    fed = before.fed if fed is None else fed
    return replace(before, **vars(cells), fed=fed, coverage=before.coverage if coverage is None else coverage)


def coverage_of(state: RecurrentState, length: int) -> Tensor:
    """The coverage [B, S], with the memory's length."""
    assert isinstance(state, FedState | FedLSTMState)
    return pad_to(state.coverage[:, :length], length)


class Looks(NamedTuple):
    """What T steps saw."""

    weights: Tensor  # [B, N, T, S]
    context: Tensor  # [B, T, A]
    covered: Tensor | None  # [B, T, S] the coverage before each step
    coverage: Tensor | None  # [B, S] the coverage after the last


class InTurn:
    """One look after the other, the coverage of each passed on to the next: for the time of one call of `decode`."""

    def __init__(
        self,
        look: Callable[[Tensor, Tensor | None], Look],  # queries [B, T, H] and coverage [B, S]
        coverage: Tensor | None,  # [B, S] so far; None: nothing is passed on
    ) -> None:
        self._look, self._coverage = look, coverage
        self._looks: list[Look] = []
        self._covered: list[Tensor] = []

    def ask(self, query: Tensor) -> Tensor:
        """The query of the next step [B, H] → its context [B, A]."""
        look = self._look(query.unsqueeze(1), self._coverage)
        self._looks.append(look)
        if self._coverage is not None:
            self._covered.append(self._coverage)
            self._coverage = self._coverage + mean_of_heads(look.weights)[:, 0]  # equation 10
        return look.context[:, 0]

    def looks(self) -> Looks:
        """All of them."""
        weights = torch.cat([look.weights for look in self._looks], dim=2)
        context = torch.cat([look.context for look in self._looks], dim=1)
        return Looks(weights, context, torch.stack(self._covered, 1) if self._covered else None, self._coverage)


def coverage_loss(weights: Tensor, covered: Tensor) -> Tensor:
    """Σ_i min(a_i, c_i), what is looked at again: [B, T, S] twice → [B, T] (See et al. 2017, equation 12)."""
    return torch.minimum(weights, covered).sum(dim=2)
