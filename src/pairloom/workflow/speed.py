"""How fast this machine trains the model that `pairloom train` would make of some pairs: tried, for a few seconds."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path

from pairloom.errors import PairloomError
from pairloom.text.columns import TAB, Columns
from pairloom.text.findings import BREAKS
from pairloom.text.pairs import PairSource
from pairloom.workflow.prepare import open_data, prepare
from pairloom.workflow.settings import RunSettings
from pairloom.workflow.sizing import measure

SAMPLED_PAIRS = 25_000
"""Enough for the same units, sizes and batches as all pairs would get."""


def training_speed(pairs: PairSource, seconds: float = 3.0) -> float | None:
    """Target tokens a second of real updates, on the first pairs, in a temporary folder that is removed again.

    The first updates of a process are slow, so this is rather too low than too high. None where the pairs are too few
    to begin a run. Raises DataError if no pair is usable.
    """
    with tempfile.TemporaryDirectory(prefix="pairloom-") as name:
        sample = Path(name) / "sample.tsv"
        with sample.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            for pair in islice(pairs, SAMPLED_PAIRS):
                text, _, features = pair.source.partition(TAB) if pairs.settings.features else (pair.source, "", "")
                file.write("\t".join(part.translate(BREAKS) for part in (text, pair.target, features)) + "\n")
        columns = Columns(source=1, target=2, features=3) if pairs.settings.features else None
        try:
            return _try(RunSettings(pairs=(str(sample),), columns=columns, steps=1), Path(name), seconds)
        except PairloomError:
            return None


def _try(settings: RunSettings, folder: Path, seconds: float) -> float | None:
    prepared = prepare(settings, open_data(settings), folder)
    corpora = (prepared.train, prepared.development)
    return measure(prepared.plan, prepared.folder, corpora, prepared.device, seconds) or None
