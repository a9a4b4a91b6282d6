"""What the decoder reads while it learns: the true token before, its own, or now this, now that.

    Williams & Zipser 1989     teacher forcing: the true token, always
    Bengio et al. 2015         arXiv 1506.03099, section 2.4: scheduled sampling, the share of true tokens decays

    p, share of the budget    0.00   0.25   0.50   0.75   1.00     the paper's form, and what i and its constants are
    linear                    1.00   0.75   0.50   0.25   0.00     k - c i          k = 1, c = 1, i = p
    exponential               1.00   0.32   0.10   0.03   0.01     k^i              k = 0.955 = 0.01^(1/100), i = 100 p
    inverse_sigmoid           0.99   0.91   0.50   0.09   0.01     k/(k + e^(i/k))  k = 100, i = 2 k ln(k) p

The paper counts updates, which a budget in minutes does not know beforehand; here i grows with p, so five minutes and
five hours see the same curve. Its floor, given for the linear decay, holds for all three: a share never falls below
`forcing_ratio`. As in the paper a coin is tossed for each token, and what is to be learned stays the true target, even
after the decoder has left it.

Dimensions: B sentences, T target tokens, D what `logits` reads (see `models/protocol.py`).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from pairloom.learning.settings import TrainingSettings
from pairloom.models.protocol import BOS, PAD, UNK, EncoderDecoder, Memory

LAST = 0.01
"""Share of true tokens with which the exponential and the inverse sigmoid decay end."""

NEVER = [PAD, UNK, BOS]
"""Tokens that the decoder cannot read as its own, since no search lets it say them either."""


class Fed(NamedTuple):
    """What T steps of the decoder gave, whatever it read."""

    hidden: Tensor  # [B, T, D]
    penalty: Tensor | None  # [B, T], of models that have one


def share_of_truth(settings: TrainingSettings, progress: float) -> float:
    """With which probability a token is the true one, 0 to 1, when the share `progress` of the budget is spent."""
    p, floor = min(1.0, max(0.0, progress)), settings.forcing_ratio or 0.0
    match settings.forcing:
        case "teacher":
            return 1.0
        case "free":
            return 0.0
        case "ratio":
            return floor
        case "linear":
            return max(floor, 1.0 - p)
        case "exponential":
            return max(floor, math.pow(LAST, p))
        case "inverse_sigmoid":
            return max(floor, 1.0 / (1.0 + math.pow(1.0 / LAST, 2.0 * p - 1.0)))  # the formula with i put in


def feed(
    model: EncoderDecoder,
    memory: Memory,
    truth: Tensor,  # [B, T] `<s>` and the true tokens
    share: float,  # of true tokens, 0 to 1
    sample: bool = False,  # the own token is drawn from the model's distribution instead of being its best
) -> Fed:
    """All T steps, with gradients through the state from one to the next, and none through the choice of a token.

    Steps between two own tokens are one call of `decode`: with a share of 1, teacher forcing, that is all of them.
    Random draws come from torch's global generator, and there are none where the share is 1 or 0 and `sample` is False.
    """
    own = _coins(truth, share)
    borders = [0, *(own.any(0).nonzero()[:, 0].tolist()), truth.shape[1]]
    state = model.start(memory)
    parts: list[Tensor] = []
    penalties: list[Tensor] = []
    for begin, end in pairwise(borders):
        tokens = truth[:, begin:end]
        if begin:
            chosen = torch.where(own[:, begin], _own_token(model, parts[-1][:, -1], sample), tokens[:, 0])
            tokens = torch.cat([chosen[:, None], tokens[:, 1:]], dim=1)
        step = model.decode(tokens, memory, state)
        state = step.state
        parts.append(step.hidden)
        penalties += [] if step.penalty is None else [step.penalty]
    return Fed(torch.cat(parts, dim=1), torch.cat(penalties, dim=1) if penalties else None)


def _coins(truth: Tensor, share: float) -> Tensor:
    """[B, T] True = the model's own token is read there; never at the first place, which is `<s>`."""
    if share >= 1.0:
        return torch.zeros_like(truth, dtype=torch.bool)
    own = torch.rand(truth.shape, device=truth.device) >= share if share > 0.0 else torch.ones_like(truth).bool()
    own[:, 0] = False
    return own


def _own_token(model: EncoderDecoder, hidden: Tensor, sample: bool) -> Tensor:
    """[B, D] → [B] what the model says there.

    Detached, and not under `no_grad`: inside `autocast` that would leave copies of the weights without gradients in its
    cache, and the loss that reads them afterwards would teach the output layer nothing.
    """
    scores = model.logits(hidden.detach()).detach().float()
    scores = scores.index_fill(
        1, torch.tensor(NEVER, device=scores.device), -torch.inf
    )  # a copy: hidden stays as it is
    return torch.multinomial(scores.softmax(1), 1)[:, 0] if sample else scores.argmax(1)
