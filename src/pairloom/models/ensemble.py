"""Several models that answer as one: at every step the mean of their probabilities.

    Sutskever, Vinyals, Le 2014   arXiv 1409.3215   table 1: an ensemble of five LSTMs is 4.2 BLEU better than one

    p(y_t | y_<t, x) = 1/M  sum_m  p_m(y_t | y_<t, x)

The members share the vocabularies and nothing else: kinds and sizes may differ. It is never trained and no folder holds
one, so it is not in `MODELS`; `decoding/ensemble.py` makes one out of folders.

Dimensions: M members, B sentences, S source tokens, T target tokens, V target vocabulary (see `protocol.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import cast

import torch
from torch import Tensor, nn

from pairloom.models.protocol import Memory, Model, State, Step


@dataclass(frozen=True)
class EnsembleMemory(Memory):
    """What each member may look at."""

    members: tuple[Memory, ...]


@dataclass(frozen=True)
class EnsembleState(State):
    """Where each member is."""

    members: tuple[State, ...]


class Ensemble(Model):
    """M models after the `EncoderDecoder` protocol as one."""

    def __init__(self, members: Sequence[Model]) -> None:
        """At least one member; all with the same ids for the same tokens, which nobody can check here."""
        nn.Module.__init__(self)  # no settings and no vocabularies of its own
        self.members = nn.ModuleList(members)

    def encode(
        self,
        source: Tensor,  # [B, S] ids, ending with `</s>`
        source_mask: Tensor,  # [B, S]
    ) -> EnsembleMemory:
        memories = tuple(member.encode(source, source_mask) for member in self._each())
        return EnsembleMemory(mask=source_mask, members=memories)

    def start(self, memory: Memory) -> EnsembleState:
        assert isinstance(memory, EnsembleMemory)
        pairs = zip(self._each(), memory.members, strict=True)
        return EnsembleState(members=tuple(member.start(own) for member, own in pairs))

    def decode(
        self,
        tokens: Tensor,  # [B, T] ids of the previous tokens
        memory: Memory,
        state: State,
        *,
        attention: bool = False,
    ) -> Step:
        """hidden [B, T, V] is the logarithm of the mean probability; attention [B, T, S] the mean of those members'
        that have one. The members' heads are different things, and none is given."""
        assert isinstance(memory, EnsembleMemory)
        assert isinstance(state, EnsembleState)
        total: Tensor | None = None
        after: list[State] = []
        looks: list[Tensor] = []
        for member, own, at in zip(self._each(), memory.members, state.members, strict=True):
            step = member.decode(tokens, own, at, attention=attention)
            # in float32, one member after the other: [B, T, V] is large, and M of them need not be there at once
            log_probs = member.logits(step.hidden).float().log_softmax(-1)
            total = log_probs if total is None else torch.logaddexp(total, log_probs)
            after.append(step.state)
            looks += [] if step.attention is None else [step.attention]
        assert total is not None
        mean = torch.stack(looks).mean(0) if looks else None
        return Step(total - log(len(after)), EnsembleState(members=tuple(after)), mean)

    def logits(self, hidden: Tensor) -> Tensor:
        """[..., V] → the same: log-probabilities are logits whose softmax they are."""
        return hidden

    def context(self, memory: Memory) -> Tensor:
        """[B, the sum of the members' D]: their contexts one after the other."""
        assert isinstance(memory, EnsembleMemory)
        return torch.cat([member.context(own) for member, own in zip(self._each(), memory.members, strict=True)], dim=1)

    def _each(self) -> list[Model]:
        return [cast(Model, member) for member in self.members]
