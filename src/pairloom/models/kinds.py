"""The classes of the models. Importing this imports torch; `pairloom.models` has their settings without it."""

from __future__ import annotations

from pairloom.models.attention import AttentionModel
from pairloom.models.hybrid import HybridModel
from pairloom.models.protocol import Model
from pairloom.models.rnn import RNNModel
from pairloom.models.transformer import TransformerModel

MODELS: dict[str, type[Model]] = {
    "rnn": RNNModel,
    "attention": AttentionModel,
    "transformer": TransformerModel,
    "hybrid": HybridModel,
}
"""kind → class. Each class has a `settings_type` and is made by (settings, source_size, target_size, joint)."""
