"""What the settings of every kind of model have in common. Nothing here or in `*_settings.py` needs torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Cell = Literal["rnn", "gru", "lstm"]
"""The recurrent cells that there are (see `recurrent.py`)."""


class ModelSettings(BaseModel):
    """Sizes and choices of one kind of model."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # of all kinds, only one is needed

    def summary(self) -> str:
        """For people, in a few words."""
        raise NotImplementedError


def whole_heads(size: int, heads: int) -> None:
    """Raises ValueError where a vector of `size` cannot be cut into so many heads."""
    if size % heads:
        raise ValueError(f"size {size} cannot be cut into {heads} heads: choose a divisor of it")
