"""Models: integers in, integers out. One file each; this dict is all that the rest of the house needs to know."""

from __future__ import annotations

from pairloom.models.attention import AttentionModel

MODELS = {"attention": AttentionModel}
"""kind → class. Each class has a `settings_type` and is made by (settings, source_size, target_size, joint)."""
