"""How the learning rate and the average of the weights move through a run."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor


def inverse_square_root(peak: float, step: int, warmup: int) -> float:
    """Linear warm-up over the first `warmup` steps, then a fall with the inverse square root of the step, counted from
    1, whatever the budget (Vaswani et al. 2017, equation 3).

    The paper writes d_model^-0.5 * min(step^-0.5, step * warmup^-1.5). Its largest value is (d_model * warmup)^-0.5, at
    step = warmup; with that as `peak` this is the same formula. The paper's base model, d_model = 512 and warmup =
    4,000, has a peak of 6.99e-4. A warm-up of 0 is one of a single step.
    """
    rising = max(1, warmup)
    return peak * min(step / rising, math.sqrt(rising / step))


def learning_rate(peak: float, step: int, warmup: int, progress: float) -> float:
    """Linear warm-up over the first `warmup` steps (at most the first quarter of the budget), and a linear decay to
    zero over the whole budget. With a tenth, a short run of LSTMs was hurt for good in its first updates (docs/LOG.md).

    `progress` is the share of the budget spent, in time as well as in steps, so that a run of five minutes ends with
    its learning rate at zero just as a run of an hour does (Howard & Ruder 2018, section 3.2; Defazio et al. 2023).
    """
    rising = min(1.0, max(step / warmup, 4 * progress)) if warmup else 1.0
    return peak * rising * max(0.0, 1.0 - progress)


@torch.no_grad()
def update_average(average: Iterable[Tensor], current: Iterable[Tensor], updates: int) -> None:
    """Polynomial-decay averaging (Shamir & Zhang 2013, section 4, eta = 9): a mean over about the last tenth of the
    run.

    The window grows with the run, so there is no decay to choose: five minutes and five hours need the same code.
    """
    weight = 10.0 / (updates + 10.0)
    torch._foreach_lerp_(list(average), list(current), weight)
