"""What is done faster than torch does it, against what torch does."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from pairloom.learning.allocator import IdleMemory, keep_freed_memory
from pairloom.learning.loss import smoothed_cross_entropy
from pairloom.models.attention import AttentionModel
from pairloom.models.attention_settings import AttentionSettings, Kind
from pairloom.models.dropout import Dropout
from pairloom.models.fed import _Steps
from pairloom.models.protocol import State


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_gradient_are_those_of_torch(smoothing: float) -> None:
    torch.manual_seed(0)
    scores, targets = (3 * torch.randn(9, 50)).requires_grad_(), torch.randint(0, 50, (9,))
    expected = functional.cross_entropy(scores, targets, reduction="sum", label_smoothing=smoothing)
    torch.autograd.backward(expected)
    loss, gradient = smoothed_cross_entropy(scores.detach(), targets, smoothing)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, scores.grad)


def test_a_token_without_probability_costs_much_but_is_finite() -> None:
    scores = torch.tensor([[200.0, 0.0, -200.0]])
    loss, gradient = smoothed_cross_entropy(scores, torch.tensor([2]), 0.1)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert loss > 300


@pytest.mark.parametrize("shape", [(1001,), (7, 13, 5), (0,)])
def test_dropout_keeps_the_mean_and_drops_its_share(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    dropped = Dropout(0.3)(torch.ones(shape))
    assert dropped.shape == shape
    assert set(dropped.unique().tolist()) <= {0.0, torch.tensor(1 / 0.7).item()}


def test_dropout_is_random_in_its_share_only() -> None:
    torch.manual_seed(0)
    layer, ones = Dropout(0.3), torch.ones(200_000)
    once, again = layer(ones), layer(ones)
    assert (once == 0).float().mean().item() == pytest.approx(0.3, abs=0.005)
    assert ((once == 0) & (again == 0)).float().mean().item() == pytest.approx(0.09, abs=0.005)
    torch.manual_seed(0)
    torch.testing.assert_close(layer(ones), once)
    assert layer.eval()(ones) is ones


def test_dropout_hands_the_gradient_to_what_was_kept() -> None:
    values = torch.randn(100, requires_grad=True)
    dropped = Dropout(0.5)(values)
    torch.autograd.backward(dropped.sum())
    assert values.grad is not None
    torch.testing.assert_close(values.grad, (dropped != 0).float() * 2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc only")
def test_malloc_is_told_to_keep_its_memory() -> None:
    assert isinstance(keep_freed_memory(), bool)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc only")
def test_idle_memory_is_given_back_now_and_then() -> None:
    idle = IdleMemory()
    assert [idle.give_back(seconds) for seconds in (29.0, 30.5, 60.0, 61.0)] == [False, True, False, True]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc only")
def test_what_was_freed_in_pieces_goes_back_to_the_kernel() -> None:
    """In a process of its own: pieces of 64 kB, every second one freed, can only be returned as pages amid the heap."""
    script = """
from pathlib import Path
from pairloom.learning.allocator import IdleMemory, keep_freed_memory
keep_freed_memory()
def resident(): return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096
pieces = [bytes(65_536) for _ in range(3_000)]
for piece in range(0, 3_000, 2): pieces[piece] = None
before = resident()
assert IdleMemory().give_back(31.0)
print(before - resident())
"""
    given_back = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(given_back) > 60_000_000  # of the 98 million that lie idle


@pytest.mark.parametrize(
    ("attention", "copy"), [("scaled_dot", False), ("dot", False), ("general", False), ("scaled_dot", True)]
)
def test_input_feeding_as_one_function_is_input_feeding_step_by_step(attention: Kind, copy: bool) -> None:
    torch.manual_seed(0)
    sizes = {"embedding": 6, "encoder_hidden": 4, "hidden": 8, "dropout": 0.0}
    settings = AttentionSettings.model_validate({**sizes, "input_feeding": True, "attention": attention, "copy": copy})
    kind = torch.float32 if copy else torch.float64  # what a copying model packs is float32
    model = AttentionModel(settings, 20, 20, joint=copy).to(kind).train()
    source, mask = torch.randint(4, 20, (3, 5)), torch.ones(3, 5, dtype=torch.bool)
    mask[1, 3:] = False
    tokens, weights = torch.randint(4, 20, (3, 7)), torch.randn(3, 7, 20, dtype=kind)

    def run(parts: list[int]) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """One call of `decode` for each part of the target; of one token it steps, of more it is one function."""
        model.zero_grad()
        memory = model.encode(source, mask)
        state: State = model.start(memory)
        hidden, seen = [], []
        for part in torch.split(tokens, parts, dim=1):
            step = model.decode(part, memory, state, attention=True)
            state = step.state
            hidden.append(step.hidden)
            assert step.attention is not None
            seen.append(step.attention)
        logits = model.logits(torch.cat(hidden, dim=1))
        torch.autograd.backward((logits * weights).sum())
        return logits.detach(), torch.cat(seen, dim=1), [p.grad for p in model.parameters() if p.grad is not None]

    expected = run([1] * 7)
    for parts in ([7], [2, 5]):
        torch.testing.assert_close(run(parts), expected, rtol=1e-5, atol=1e-6)


def test_input_feeding_as_one_function_has_the_gradient_of_its_dropout() -> None:
    torch.manual_seed(0)
    steps, rows, words, size, fed = 3, 2, 4, 3, 2
    shapes = [
        (steps, rows, 4 * size), (4 * size, fed + size), (fed, 2 * size), (fed,), (rows, words, size),
        (rows, words, size), (rows, fed), (rows, size), (rows, size),
    ]  # fmt: skip
    learned = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    closed = torch.zeros(rows, words, dtype=torch.float64)
    closed[0, 2:] = -torch.inf
    kept = [torch.randint(0, 2, (steps, rows, width)).double() for width in (size, fed)]

    def run(*given: torch.Tensor) -> list[torch.Tensor]:
        parts: tuple[torch.Tensor, ...] = _Steps.apply(*given, closed, *kept, 0.5, 1.4)  # type: ignore[no-untyped-call]
        return [part for part in parts if part.dtype == torch.float64]  # all but the weights, which are always float32

    assert len(run(*learned)) == 5
    assert torch.autograd.gradcheck(run, learned)
