"""The engine of a model that was trained before there was one, where ONNX Runtime was missing, or on other pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pairloom.errors import UsageError
from pairloom.folder import read_json
from pairloom.metrics import default_metrics
from pairloom.storage import locked, replace_files
from pairloom.text.pairs import open_pairs, questions
from pairloom.weights import load_folder
from pairloom.workflow.card import card
from pairloom.workflow.engine import JUDGED, Judged, judge
from pairloom.workflow.model import Model
from pairloom.workflow.shortlist import kept_shortlist, write_shortlist


def export_engine(path: str | Path, dev: Sequence[str] = ()) -> Judged:
    """Makes `engine/` in a model folder, anew if there is one, and writes what came out into its card.

    On the pairs `dev` (the first `JUDGED`) the engine is compared with torch; without any nothing is known of int8, and
    float32 is the default. Raises UsageError where the folder can have none.
    """
    path = Path(path)
    folder = load_folder(path)
    opened = open_pairs(dev, Model(folder).reading(dev)) if dev else ()
    settings = folder.settings
    lines = questions(((pair.source, pair.target) for pair in opened), settings.merge)[:JUDGED]
    with locked(path):
        listed = kept_shortlist(path, settings)
        judged = judge(folder, lines, settings.metrics or default_metrics(settings.target.unit))
        if listed is not None and judged.engine is not None:
            write_shortlist(path, listed)
        facts = read_json(path / "training.json")
        if "result" in facts:
            text = card(path.resolve().name, settings, facts, judged.note)
            replace_files(path, {"README.md": text.encode()})
    if judged.engine is None:
        raise UsageError(f"{path}: no engine: {judged.note}")
    return judged
