"""AdamW, and its state as named tensors, so that a checkpoint needs no pickle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from pairloom.learning.settings import TrainingSettings


def build(model: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019), its update fused into one kernel; biases are not decayed."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


def clip_gradient(parameters: Iterable[nn.Parameter], largest: float) -> float:
    """Scales the gradient of all parameters together down to the norm `largest` (Pascanu et al. 2013); returns the norm
    it had. torch's `clip_grad_norm_`, but for its pass through all gradients where there is nothing to scale."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = float(torch.stack(torch._foreach_norm(gradients)).norm())
    if norm > largest:
        torch._foreach_mul_(gradients, largest / (norm + 1e-6))
    return norm


def state_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """`exp_avg.NAME`, `exp_avg_sq.NAME` and `step.NAME` for every parameter that has been updated."""
    return {
        f"{moment}.{name}": value
        for name, parameter in model.named_parameters()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }


def restore(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """The opposite of `state_tensors`."""
    parameters = dict(model.named_parameters())
    optimizer.state.clear()
    for key, value in tensors.items():
        moment, name = key.split(".", 1)
        optimizer.state[parameters[name]][moment] = value.clone()
