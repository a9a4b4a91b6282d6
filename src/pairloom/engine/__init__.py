"""Answers from ONNX Runtime, without torch: the search of every model as one graph, in float32 and int8.

`Engine` answers; `write_engine` (which needs torch) makes `engine/` in a model folder. Both are loaded when asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairloom.engine.core import Engine
    from pairloom.engine.write import EngineReport, choose_default, write_engine

__all__ = ["Engine", "EngineReport", "choose_default", "write_engine"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "Engine":
        from pairloom.engine import core

        return core.Engine
    from pairloom.engine import write

    return getattr(write, name)
