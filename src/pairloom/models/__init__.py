"""Models: integers in, integers out. One file each; these two dicts are all that the rest of the house must know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pairloom.models.attention_settings import AttentionSettings
from pairloom.models.settings import HybridSettings, ModelSettings, RNNSettings, TransformerSettings

if TYPE_CHECKING:
    from pairloom.models.kinds import MODELS

__all__ = ["MODELS", "SETTINGS"]

SETTINGS: dict[str, type[ModelSettings]] = {
    "rnn": RNNSettings,
    "attention": AttentionSettings,
    "transformer": TransformerSettings,
    "hybrid": HybridSettings,
}
"""kind → its settings, without torch."""


def __getattr__(name: str) -> Any:
    """`MODELS`, loaded when it is asked for, as it needs torch."""
    if name != "MODELS":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pairloom.models.kinds import MODELS

    return MODELS
