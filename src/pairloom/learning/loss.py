"""Cross-entropy in chunks: the matrix [tokens, V] never exists whole.

With V = 8,192 a batch of 1,500 tokens has 50 MB of logits and as much of their gradient. So the hidden states are cut
into chunks, and for each one logits, loss *and gradient* are computed and forgotten before the next. Nothing is
computed twice.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 512
"""Target tokens whose logits exist at once."""

STRIP = 128
"""Target tokens of which the loss is computed at once: 128 rows of 8,000 numbers stay in the cache, 512 do not."""


def backward_in_chunks(
    hidden: Tensor,  # [N, D] the real target tokens only, padding left out
    targets: Tensor,  # [N] ids
    logits: Callable[[Tensor], Tensor],  # [n, D] → [n, V]
    label_smoothing: float,
    divisor: float,
    penalty: Tensor | None = None,  # [N] what the model itself adds to the loss of each token (`Step.penalty`)
) -> Tensor:
    """Adds the gradient of ((summed loss + summed penalty) / divisor) to every parameter, and returns the summed loss
    alone, a scalar.

    Label smoothing after Szegedy et al. 2016, section 7, as Vaswani et al. 2017, section 5.4 use it. A penalty is the
    coverage loss of See et al. 2017, second term of equation 13, with their lambda inside.
    """
    leaf = hidden.detach().requires_grad_()
    total = torch.zeros((), device=hidden.device)
    for start in range(0, len(targets), CHUNK):
        piece = slice(start, start + CHUNK)
        scores = logits(leaf[piece])
        loss, gradient = smoothed_cross_entropy(scores.detach(), targets[piece], label_smoothing, divisor)
        scores.backward(gradient)  # type: ignore[no-untyped-call]
        total += loss
    # Both ends of the one graph at once: it is walked a single time, and then it is gone.
    ends, gradients = [hidden], [leaf.grad]
    if penalty is not None and penalty.requires_grad:
        summed = penalty.float().sum()
        ends, gradients = [*ends, summed], [*gradients, torch.full_like(summed, 1 / divisor)]
    torch.autograd.backward(ends, gradients)
    return total


@torch.no_grad()
def smoothed_cross_entropy(
    scores: Tensor,  # [n, V] logits
    targets: Tensor,  # [n] ids
    smoothing: float,  # epsilon: the truth is (1 - epsilon) one-hot + epsilon / V
    divisor: float = 1.0,  # of the gradient
) -> tuple[Tensor, Tensor]:
    """The summed loss -Σ truth · log p, a scalar in float32, and its gradient by the logits, (p - truth) / divisor
    [n, V], in their own precision; in between everything is float32.

    The same as torch's `cross_entropy` and its backward pass, in less than a third of their time: those walk through
    [n, V] nine times and take the exponential twice, this takes it once. log p = score - log Σ exp is got from the
    largest p of a row, which is never small, so that no logarithm of zero can occur.
    """
    share = smoothing / scores.shape[1]
    gradient, total = torch.empty_like(scores), torch.zeros((), device=scores.device)
    for start in range(0, len(targets), STRIP):
        strip = slice(start, start + STRIP)
        logit, place = scores[strip].float(), targets[strip, None]
        p = logit.softmax(1)
        normaliser = logit.amax(1) - p.amax(1).log()
        total += normaliser.sum() - (1 - smoothing) * logit.gather(1, place).sum()
        if smoothing:
            total -= share * logit.sum()
            p.sub_(share)
        p.scatter_add_(1, place, p.new_full(place.shape, smoothing - 1))
        gradient[strip] = p if divisor == 1.0 else p.div_(divisor)
    return total, gradient


@torch.no_grad()
def loss_and_exact(
    hidden: Tensor, mask: Tensor, targets: Tensor, logits: Callable[[Tensor], Tensor]
) -> tuple[float, int]:
    """hidden [B, T, D], mask and targets [B, T] → the summed loss (not smoothed), and how many targets are wholly
    right.

    A target is wholly right when the best token is the true one at every step. Since the tokens before it are then the
    true ones, that is exactly the case in which greedy decoding gives the target: an exact-match score for the price of
    one pass, without decoding.
    """
    flat, truth = hidden[mask], targets[mask]
    right = torch.zeros_like(mask)
    hits, total = [], 0.0
    for start in range(0, len(truth), CHUNK):
        piece = slice(start, start + CHUNK)
        scores = logits(flat[piece]).float()
        total += float(functional.cross_entropy(scores, truth[piece], reduction="sum"))
        hits.append(scores.argmax(dim=1) == truth[piece])
    right[mask] = torch.cat(hits)
    return total, int((right | ~mask).all(dim=1).sum())
