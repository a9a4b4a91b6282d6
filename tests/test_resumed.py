"""A run that is killed and called again is the run that nobody stopped, to the bit: every kind, every feeding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pairloom
from pairloom.models.kinds import MODELS
from runs import facts, killed, saves, settings

pytestmark = pytest.mark.usefixtures("one_thread")


def assert_killed_twice_it_ends_in_the_same_bits(pairs: Path, out: Path, given: dict[str, Any]) -> None:
    pairloom.train(pairs, out=out / "whole", **given)
    for number in (1, 2):
        killed(pairs, out / "parts", given, saves(number))
        assert list((out / "parts" / "checkpoints").iterdir())
    pairloom.train(pairs, out=out / "parts", **given)
    assert facts(out / "parts") == facts(out / "whole")


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 50, "forcing": "ratio", "forcing_ratio": 0.6, "own": "sample"},
        {"epochs": 3, "precision": "bfloat16", "forcing": "linear", "select": "exact"},
    ],
    ids=["float32, own tokens drawn", "bfloat16, scheduled sampling"],
)
def test_every_kind_of_model(kind: str, changes: dict[str, Any], tiny_pairs: Path, tmp_path: Path) -> None:
    assert_killed_twice_it_ends_in_the_same_bits(tiny_pairs, tmp_path, settings(kind, **changes))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("transformer", {"forcing": "free"}),
        ("attention", {"forcing": "exponential", "forcing_ratio": 0.1}),
        ("rnn", {"forcing": "inverse_sigmoid", "own": "sample", "precision": "bfloat16"}),
        (
            "attention",
            {
                "forcing": "free",
                "own": "sample",
                "joint": True,
                "model": {"copy": True, "coverage": True, "input_feeding": True, "decoder_layers": 2},
            },
        ),
        (
            "attention",
            {"forcing": "inverse_sigmoid", "model": {"attention": "additive", "cell": "gru", "readout": "maxout"}},
        ),
    ],
    ids=["free", "exponential", "inverse sigmoid", "copy, coverage and input feeding", "additive attention, GRU"],
)
def test_every_feeding_and_what_a_state_can_hold(
    kind: str, changes: dict[str, Any], tiny_pairs: Path, tmp_path: Path
) -> None:
    assert_killed_twice_it_ends_in_the_same_bits(tiny_pairs, tmp_path, settings(kind, **changes))
