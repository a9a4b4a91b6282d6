"""Models: integers in, integers out, one file each.

Two literal dicts are all that the rest of the house needs to know: SETTINGS here, kind → type of its settings, which
needs no torch, and MODELS in `kinds.py`, kind → class.
"""

from __future__ import annotations

from pairloom.models.attention_settings import AttentionSettings
from pairloom.models.hybrid_settings import HybridSettings
from pairloom.models.rnn_settings import RNNSettings
from pairloom.models.settings import ModelSettings
from pairloom.models.transformer_settings import TransformerSettings

SETTINGS: dict[str, type[ModelSettings]] = {
    "rnn": RNNSettings,
    "attention": AttentionSettings,
    "transformer": TransformerSettings,
    "hybrid": HybridSettings,
}
"""kind → the type of its settings."""
