"""Making `engine/` of a model folder: the arrays in int8, compared with torch before they are believed. Needs torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from pairloom.decoding import loop
from pairloom.decoding.hypotheses import Hypothesis
from pairloom.decoding.settings import DecodingSettings
from pairloom.engine.core import Engine
from pairloom.engine.products import Precision
from pairloom.engine.stored import INT8, EngineFacts, load_arrays, read_facts
from pairloom.folder import WEIGHTS, model_settings
from pairloom.models.protocol import EncoderDecoder
from pairloom.storage import file_hash, new_directory, replace_files
from pairloom.weights import ModelFolder

SINGLY = 300
"""Of the sources, so many are also answered one at a time in int8, at most: that has graphs of its own."""


@dataclass(frozen=True)
class EngineReport:
    """What came out of making an engine, and the outputs that scores can be computed of."""

    facts: EngineFacts
    torch: list[list[Hypothesis]]  # of the sources given, in their order
    float32: list[list[Hypothesis]]
    int8: list[list[Hypothesis]]
    singly: list[list[Hypothesis]]  # of the first sources, in int8 and one at a time


def write_engine(
    folder: ModelFolder,
    sources: Sequence[Sequence[int]] = (),  # ids of development sentences, without `</s>`
    *,
    settings: DecodingSettings | None = None,
    threads: int = 1,
) -> EngineReport:
    """Makes `engine/` in the folder, and searches `sources` with torch and with both precisions of the engine.

    The default is int8, if the texts in float32 are torch's; `choose_default` changes it. Raises FolderError for a
    folder whose weights do not fit its settings, StorageError for a disk that fails.
    """
    settings = settings or DecodingSettings(**folder.generation)
    path = folder.path
    kind, own, size = folder.settings.kind, model_settings(folder.settings), folder.settings.target.size
    precisions: tuple[Precision, ...] = ("float32", "int8")
    arrays = {one: load_arrays(path, folder.settings, one, stored=False) for one in precisions}
    engines = {one: Engine(kind, own, size, arrays[one], precision=one, threads=threads) for one in precisions}
    model: EncoderDecoder = folder.model
    plain = loop.generate(model, sources, settings=settings) if sources else []
    found = {name: engine.generate(sources, settings) if sources else [] for name, engine in engines.items()}
    singly = [engines["int8"].generate([source], settings)[0] for source in sources[:SINGLY]]
    facts = EngineFacts(
        weights=file_hash(path / WEIGHTS),
        sentences=len(sources),
        equal_float32=_equal(found["float32"], plain),
        equal_int8=_equal(found["int8"], plain),
    )
    with new_directory(path / "engine") as directory:
        (directory / INT8).write_bytes(save({name: np.ascontiguousarray(one) for name, one in arrays["int8"].items()}))
        (directory / "engine.json").write_text(_json(facts), "utf-8")
    return EngineReport(facts, plain, found["float32"], found["int8"], singly)


def choose_default(path: Path, default: str, measured: dict[str, Any]) -> EngineFacts:
    """Says which precision answers when nobody says otherwise, and what was measured to know that."""
    facts = EngineFacts.model_validate(
        {**read_facts(path).model_dump(by_alias=True), "default": default, "measured": measured}
    )
    replace_files(path / "engine", {"engine.json": _json(facts).encode()})
    return facts


def _json(facts: EngineFacts) -> str:
    return json.dumps(facts.model_dump(by_alias=True), ensure_ascii=False, indent=2) + "\n"


def _equal(found: list[list[Hypothesis]], wanted: list[list[Hypothesis]]) -> float | None:
    """The share of sources whose best text is the same."""
    same = [one[0].tokens == other[0].tokens for one, other in zip(found, wanted, strict=True)]
    return sum(same) / len(same) if same else None
