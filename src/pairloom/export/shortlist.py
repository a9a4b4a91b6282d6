"""The shortlist of a model that was trained before there was one, or with a small vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pairloom.decoding.choice import has_engine
from pairloom.engine.stored import why_no_shortlist
from pairloom.errors import UsageError
from pairloom.folder import read_folder
from pairloom.storage import locked
from pairloom.text.corpus import build_corpus
from pairloom.text.likely import Likely
from pairloom.text.pairs import open_pairs
from pairloom.workflow.model import Model
from pairloom.workflow.shortlist import add_shortlist


def export_shortlist(path: str | Path, pairs: Sequence[str]) -> Likely:
    """Makes `engine/shortlist.safetensors` of pairs like those that the model was trained on; anew if there is one.

    Raises UsageError where the folder can have none, or no pairs are given.
    """
    path = Path(path)
    folder = read_folder(path)
    settings = folder.settings
    if problem := why_no_shortlist(settings):
        raise UsageError(f"{path}: {problem}")
    if not has_engine(folder):
        raise UsageError(f"{path} has no engine/: `pairloom export {path} --to engine --dev PAIRS` makes it")
    if not pairs:
        raise UsageError("a shortlist is made of the training pairs: name them with --pairs")
    opened = open_pairs(pairs, Model(folder).reading(pairs))
    limits = settings.source.max_tokens, settings.target.max_tokens
    with TemporaryDirectory() as place, locked(path):
        both = ((pair.source, pair.target) for pair in opened)
        corpus = build_corpus(Path(place) / "pairs", both, folder.source, folder.target, *limits, "")
        return add_shortlist(path, settings, corpus)
