"""Checkpoints of a run: `checkpoints/step-N/`, each a whole directory of safetensors and JSON with its manifest.

What is newest and whole is computed on load, by looking; there is no pointer that could point at nothing. The two
newest are kept, so that a damaged one has one before it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from pairloom.errors import FolderError
from pairloom.storage import check_manifest, disk_errors, new_directory

KEPT = 2
_NAME = re.compile(r"step-(\d{1,12})")


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on as if it had never stopped."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]  # group (weights, average, best, optimizer, random) → name → tensor
    state: Mapping[str, Any]  # counters, best scores, time spent: plain JSON


def save_checkpoint(directory: Path, checkpoint: Checkpoint) -> Path:
    """Writes `directory`/step-N whole or not at all, then removes what is older than the two newest."""
    final = directory / f"step-{checkpoint.step}"
    with new_directory(final) as beside:
        for group, tensors in checkpoint.tensors.items():
            save_file(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
                beside / f"{group}.safetensors",
            )
        (beside / "state.json").write_text(json.dumps(checkpoint.state), "utf-8")
    with disk_errors(directory):
        for _, old in _found(directory)[KEPT:]:
            shutil.rmtree(old)
    return final


def newest_checkpoint(directory: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """The newest whole checkpoint, or None. A damaged one is named through `say`, and the one before it is used."""
    for step, path in _found(directory):
        try:
            findings = check_manifest(path)
        except FolderError as error:
            findings = [str(error)]
        if findings:
            say(f"{path} is damaged and is passed over: {findings[0]}")
            continue
        groups = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
        return Checkpoint(step=step, tensors=groups, state=json.loads((path / "state.json").read_text("utf-8")))
    return None


def _found(directory: Path) -> list[tuple[int, Path]]:
    """Every checkpoint in the directory, the newest first."""
    if not directory.is_dir():
        return []
    named = (
        (_NAME.fullmatch(path.name), path) for path in directory.iterdir() if path.is_dir() and not path.is_symlink()
    )
    return sorted(((int(match[1]), path) for match, path in named if match), reverse=True)
