"""pairloom: from pairs of text to a model that turns one side into the other.

    import pairloom
    model = pairloom.train("pairs.tsv", out="runs/mine", minutes=5)
    model.generate(["..."])

The names below are loaded when they are first used: `import pairloom` is quick and does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pairloom.version import __version__

if TYPE_CHECKING:
    from pairloom.workflow.model import Evaluation, Model, load
    from pairloom.workflow.training import train, training
    from pairloom.workflow.vectors import vectors

__all__ = ["Evaluation", "Model", "__version__", "load", "train", "training", "vectors"]

_PLACES = {
    **dict.fromkeys(("Evaluation", "Model", "load"), "pairloom.workflow.model"),
    **dict.fromkeys(("train", "training"), "pairloom.workflow.training"),
    "vectors": "pairloom.workflow.vectors",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'pairloom' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
