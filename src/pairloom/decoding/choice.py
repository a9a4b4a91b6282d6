"""Which engine answers: ONNX Runtime where it is installed and the folder has what it needs, otherwise torch.

No torch here. An engine that searches only (`Fast`) is asked first whether it can do what is wanted; what it cannot
(sampling, attention, scores of given pairs) is done by torch, which can do everything.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, cast

from pairloom.decoding.hypotheses import Hypothesis
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.folder import Folder

ENGINES = ("auto", "torch", "onnx")
PRECISIONS = ("auto", "float32", "bfloat16", "int8")


class Fast(Protocol):
    """What an engine without torch offers; `pairloom.engine.Engine` is one."""

    @property
    def precision(self) -> str:
        """float32 or int8."""
        ...

    def supports(self, settings: DecodingSettings, prefixes: Sequence[Sequence[int]] | None) -> str | None:
        """None, or why it cannot answer this."""
        ...

    def together(self, settings: DecodingSettings) -> int:
        """Sentences that a thread searches at the same time."""
        ...

    def generate(
        self,
        sources: Sequence[Sequence[int]],
        settings: DecodingSettings,
        prefixes: Sequence[Sequence[int]] | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[list[Hypothesis]]:
        """As `loop.generate`, the same text in float32."""
        ...


class Answering(NamedTuple):
    """Who answers something, for people and for --json."""

    engine: str  # onnx or torch
    precision: str
    threads: int
    reason: str = ""  # why it is torch, where another engine was to be tried first


@dataclass(frozen=True)
class Engines:
    """The engines of one model."""

    fast: Fast | None = None  # None: torch does everything
    required: bool = False  # what `fast` cannot do is refused, not done by torch
    precision: str = "float32"  # of torch
    threads: int | None = None  # None: as many as there are
    reason: str = ""  # why there is no `fast`, where one would have been taken
    shortlist: bool = False  # `fast` chooses among the words that are likely for a source

    def answering(self, settings: DecodingSettings, prefixes: Sequence[Sequence[int]] | None = None) -> Answering:
        """Who answers this. Raises UsageError where that may only be an engine that cannot."""
        threads = self.threads or cores()
        if self.fast is None:
            return Answering("torch", self.precision, threads, self.reason)
        obstacle = self.fast.supports(settings, prefixes)
        if obstacle is None:
            return Answering("onnx", self.fast.precision, threads)
        if self.required:
            options = "--shortlist" if self.shortlist else "--engine and --precision"
            raise UsageError(f"the engine onnx cannot do this ({obstacle}): leave {options} out")
        return Answering("torch", self.precision, threads, obstacle)

    def together(self, settings: DecodingSettings, prefixes: Sequence[Sequence[int]] | None = None) -> int:
        """Sentences that are answered at the same time: more of them at once gain nothing, and wait for each other."""
        if self.fast is None or self.fast.supports(settings, prefixes) is not None:
            return settings.batch
        return self.fast.together(settings) * (self.threads or cores())


def choose_engines(
    folders: Sequence[Folder],
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    *,
    shortlist: bool = False,
) -> Engines:
    """The engines for a model or, of several folders, an ensemble. Raises UsageError for what cannot be, with the
    remedy, and FolderError for an `engine/` that does not fit its folder."""
    _check(engine, precision, threads, shortlist)
    plain = Engines(precision="bfloat16" if precision == "bfloat16" else "float32", threads=threads)
    if engine == "torch" or precision == "bfloat16":
        return plain
    obstacle = why_not(folders)
    required = engine == "onnx" or precision == "int8" or shortlist
    if obstacle is None:
        from pairloom.engine import Engine

        (folder,) = folders
        precision = cast(Literal["auto", "float32", "int8"], precision)
        fast = Engine.load(
            folder.path, folder.settings, precision=precision, threads=threads or cores(), shortlist=shortlist
        )
        return Engines(fast, required, threads=threads, shortlist=shortlist)
    if required:
        asked = "--shortlist" if shortlist else "--engine onnx" if engine == "onnx" else "--precision int8"
        raise UsageError(f"{asked}: {obstacle}")
    return Engines(threads=threads, reason=obstacle)


def _check(engine: str, precision: str, threads: int | None, shortlist: bool) -> None:
    found = []
    for name, given, known in (("engine", engine, ENGINES), ("precision", precision, PRECISIONS)):
        if given not in known:
            found.append(f"no {name} is called {given!r}; there are: {', '.join(known)}")
    if threads is not None and threads < 1:
        found.append(f"threads={threads}: at least one is needed")
    if engine == "torch" and precision == "int8":
        found.append("the engine torch computes in float32 or bfloat16; int8 needs the engine onnx (or auto)")
    if engine == "onnx" and precision == "bfloat16":
        found.append("the engine onnx computes in float32 or int8; bfloat16 needs the engine torch (or auto)")
    if shortlist and (engine == "torch" or precision == "bfloat16"):
        found.append("only the engine onnx chooses among a shortlist: leave --shortlist out, or the engine to pairloom")
    if found:
        raise UsageError("\n".join(found))


def why_not(folders: Sequence[Folder]) -> str | None:
    """Why no fast engine can answer for these folders, with the remedy; None if one can."""
    if len(folders) != 1:
        return "several models answer together in torch only: ask one model, or leave the engine to pairloom"
    if not has_runtime():
        return "ONNX Runtime is not installed: pip install 'pairloom[fast]'"
    folder = folders[0]
    if not has_engine(folder):
        return f"{folder.path} has no engine/: `pairloom export {folder.path} --to engine --dev PAIRS` makes it"
    return None


def has_runtime() -> bool:
    """Whether ONNX Runtime is installed; it is not imported for that."""
    return importlib.util.find_spec("onnxruntime") is not None


def has_engine(folder: Folder) -> bool:
    """Whether the folder holds what the engine needs."""
    return (folder.path / "engine" / "engine.json").is_file()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
