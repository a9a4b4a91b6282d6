"""Defaults that fit the data: what a few thousand words need is not what thirty thousand sentences need.

Every number here was found by measuring; docs/decisions/0003-defaults-from-the-data.md has the runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError

from pairloom.errors import UsageError
from pairloom.folder import explain
from pairloom.learning.settings import TrainingSettings
from pairloom.models import SETTINGS
from pairloom.text.report import FEW, most_passes
from pairloom.text.tokenizer import Unit
from pairloom.workflow.settings import RunSettings

SYMBOLS: tuple[Unit, ...] = ("character", "jamo", "space", "byte")
"""Units of which a target has many and the language few: spellings, sounds, dates."""


SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "attention": {
        "few": {"embedding": 128, "encoder_hidden": 128, "hidden": 256, "dropout": 0.3, "input_feeding": True},
        "many": {"embedding": 128, "encoder_hidden": 192, "hidden": 384, "dropout": 0.3},
        "text": {"embedding": 256, "encoder_hidden": 256, "hidden": 512, "dropout": 0.3},
    },
    "rnn": {
        "few": {"embedding": 128, "hidden": 256, "layers": 1, "dropout": 0.5},
        "many": {"embedding": 128, "hidden": 384, "layers": 2, "dropout": 0.3},
        "text": {"embedding": 256, "hidden": 512, "layers": 2, "dropout": 0.3},
    },
    "transformer": {
        "few": {"size": 128, "feed_forward": 512, "heads": 4, "dropout": 0.3},
        "many": {"size": 192, "feed_forward": 768, "heads": 4, "dropout": 0.2},
        "text": {"size": 256, "feed_forward": 1024, "heads": 4, "dropout": 0.3},
    },
    "hybrid": {
        "few": {"size": 128, "feed_forward": 512, "heads": 4, "hidden": 256, "dropout": 0.4},
        "many": {"size": 192, "feed_forward": 768, "heads": 4, "hidden": 384, "dropout": 0.2},
        "text": {"size": 256, "feed_forward": 1024, "heads": 4, "hidden": 512, "dropout": 0.3},
    },
}
"""kind → amount of data → settings of the model: few or many pairs of short symbols, or running text."""

LADDER: tuple[str, ...] = ("small", "medium", "large")
"""The sizes by the names that a user can say; the sizes alone, for dropout and feeding follow the amount of data."""

USUAL = {"few": "small", "many": "medium", "text": "large"}
"""amount of data → the size that suits it, with enough time."""

SIZED = {"embedding", "encoder_hidden", "hidden", "layers", "size", "feed_forward", "heads"}
"""Settings of a model that are its size."""

RATES: dict[str, dict[str, Any]] = {
    "few": {"batch_tokens": 600, "select": "exact"},  # and `most_passes`
    "many": {"batch_tokens": 2000, "select": "exact"},
    "text": {"batch_tokens": 1500, "select": "loss"},
}
"""amount of data → settings of training."""

KIND_RATES: dict[str, dict[str, Any]] = {
    "attention": {"learning_rate": 4e-3},
    "transformer": {"learning_rate": 1e-3},
    "hybrid": {"learning_rate": 1e-3},
}
"""kind → settings of training in which it differs, whatever the data."""

TEXT_RATES: dict[str, dict[str, Any]] = {"transformer": {"batch_tokens": 600}}
"""kind → settings of training in which it differs for running text on a processor: what a Transformer lacks there in an
hour is updates. (A GPU hardly computes a small batch sooner than a large one.)"""

REASONS = {
    "few": "few pairs of short symbols: a small model, at most {passes} passes",
    "many": "many pairs of short symbols: a model of medium size",
    "text": "running text: the size of a sentence model",
}


@dataclass(frozen=True)
class Plan:
    """What will be trained, and how."""

    kind: str
    size: str  # one of `LADDER`
    model: dict[str, Any]  # the model's settings, complete
    training: TrainingSettings
    summary: str  # of the model's settings, for people
    reason: str  # for people


def make_plan(
    settings: RunSettings, target_unit: Unit, pairs: int, device: torch.device, size: str | None = None
) -> Plan:
    """Sizes and rates from the kind of symbols and the number of pairs; then what the user set otherwise.

    `size`: another one of `LADDER` than the usual.
    """
    if settings.kind not in SETTINGS:
        raise UsageError(f"--model {settings.kind} is not there (yet); there is: {', '.join(SETTINGS)}")
    amount = ("few" if pairs < FEW else "many") if target_unit in SYMBOLS else "text"
    usual, rates = _usual(settings, amount), {**RATES[amount], **KIND_RATES.get(settings.kind, {})}
    if amount == "text" and device.type == "cpu":
        rates |= TEXT_RATES.get(settings.kind, {})
    if amount == "few":
        rates["most_epochs"] = most_passes(pairs)
    chosen = size or USUAL[amount]
    other = SIZES[settings.kind][next(name for name, one in USUAL.items() if one == chosen)]
    try:
        model = SETTINGS[settings.kind].model_validate(
            {**usual, **{name: value for name, value in other.items() if name in SIZED}, **settings.model}
        )
        training = TrainingSettings.model_validate(
            {
                **rates,
                **_budget(settings),
                "seed": settings.seed,
                "precision": _precision(settings, device),
                **settings.training,
            }
        )
    except ValidationError as error:
        raise UsageError("\n  ".join(["these settings are not valid:", *explain(error)])) from None
    why = REASONS[amount].format(passes=training.most_epochs)
    reason = why if chosen == USUAL[amount] else f"{chosen} instead of {USUAL[amount]}, which is usual"
    return Plan(settings.kind, chosen, model.model_dump(), training, model.summary(), reason)


def check_plan(settings: RunSettings, device: torch.device) -> None:
    """Raises UsageError for settings that can be right for no data, before anything is read, written or removed."""
    possible: tuple[tuple[Unit, int], ...] = (("character", 1), ("character", FEW), ("bpe", FEW))
    found: list[UsageError] = []
    for unit, pairs in possible:
        try:
            make_plan(settings, unit, pairs, device)
        except UsageError as error:
            found.append(error)
    if len(found) == len(possible):
        raise found[-1]


def _usual(settings: RunSettings, amount: str) -> dict[str, Any]:
    """The model's settings that suit so much data, without what would contradict the attention that was asked for."""
    feeds_itself = settings.model.get("attention") == "additive"
    usual = SIZES[settings.kind][amount]
    return {name: value for name, value in usual.items() if not (feeds_itself and name == "input_feeding")}


def _budget(settings: RunSettings) -> dict[str, Any]:
    given = {name: getattr(settings, name) for name in ("minutes", "epochs", "steps")}
    chosen = {name: value for name, value in given.items() if value is not None}
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join('--' + name for name in chosen)} are both budgets: choose one")
    return chosen or {"minutes": 10.0}


def _precision(settings: RunSettings, device: torch.device) -> str:
    if settings.precision != "auto":
        return settings.precision
    return "bfloat16" if has_fast_bfloat16(device) else "float32"


def choose_device(asked: str) -> torch.device:
    """The device asked for, or the best there is. Raises UsageError for one that is not there."""
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if asked == "auto":
        return torch.device("cuda" if present["cuda"] else "mps" if present["mps"] else "cpu")
    if not present[asked]:
        raise UsageError(
            f"--device {asked}: there is none here; there is: {', '.join(n for n, p in present.items() if p)}"
        )
    return torch.device(asked)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the arithmetic units multiply bfloat16 themselves (AVX-512 BF16 or AMX; NVIDIA from Ampere on)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
