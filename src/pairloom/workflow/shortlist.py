"""The shortlist of a model folder, which its engine can choose among: made of the pairs that the model learns from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from pairloom.engine.stored import SHORTLIST, load_shortlist
from pairloom.errors import PairloomError
from pairloom.folder import FolderSettings
from pairloom.storage import replace_files
from pairloom.text.corpus import Corpus
from pairloom.text.likely import Likely, find_likely

WORTH_IT = 4096
"""Tokens of the target from which on a run makes one by itself: of fewer, nothing is won."""


def add_shortlist(path: Path, settings: FolderSettings, pairs: Corpus) -> Likely:
    """Writes it into `engine/`, which there must be."""
    sizes = settings.source.size, settings.target.size
    likely = find_likely(pairs.source_side, pairs.target_side, sizes, joint=settings.joint)
    write_shortlist(path, likely)
    return likely


def write_shortlist(path: Path, likely: Likely) -> None:
    """Its arrays, in the manifest of `engine/`."""
    arrays = {name: np.ascontiguousarray(array) for name, array in likely._asdict().items()}
    replace_files(path / "engine", {SHORTLIST: save(arrays)})


def kept_shortlist(path: Path, settings: FolderSettings) -> Likely | None:
    """The one that is there, which does not depend on the weights; None if there is none that can be used."""
    try:
        arrays = load_shortlist(path, settings)
    except PairloomError:
        return None
    return Likely(**{name: np.array(array) for name, array in arrays.items()})
