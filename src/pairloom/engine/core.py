"""The engine: answers of a model from ONNX Runtime, without torch."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from pairloom.decoding.hypotheses import Hypothesis, Sentence, prepare
from pairloom.decoding.settings import DecodingSettings
from pairloom.engine.build import FOLDS, MODELS, build, build_rest
from pairloom.engine.layout import FIRST, Layout
from pairloom.engine.overflow import safe
from pairloom.engine.products import Precision, add_blocks
from pairloom.engine.protocol import Form
from pairloom.engine.quantising import quantised
from pairloom.engine.running import Graphs, run
from pairloom.engine.session import open_session
from pairloom.engine.shortlist import BIAS, Shortlist
from pairloom.engine.stored import chosen_precision, load_arrays, load_shortlist
from pairloom.engine.tracing import Steps, trace_beam, trace_greedy
from pairloom.engine.wire import Array
from pairloom.folder import FolderSettings, model_settings
from pairloom.models.settings import ModelSettings
from pairloom.text.components import EOS, PAD

CHUNK = 32
"""Sentences that a worker searches at a time, greedily."""
ROWS = 80
"""Rows of a beam that a worker searches at a time: with more, the scores of a step no longer fit its cache."""


class Engine:
    """One model. Any number of threads can share it."""

    def __init__(
        self,
        kind: str,
        settings: ModelSettings,
        size: int,  # V, entries of the target vocabulary
        arrays: Mapping[str, Array],
        *,
        precision: Precision,
        threads: int = 1,
        likely: Mapping[str, Array] | None = None,  # a shortlist; see `text.likely.Likely`
    ) -> None:
        self.kind, self.settings = kind, settings
        self.arrays = safe(arrays) if precision == "int8" else dict(arrays)
        self.precision, self.threads = precision, threads
        self.layout = Layout(size)
        self._graphs: dict[Form, Graphs] = {}
        self.shortlist = None if likely is None else Shortlist(likely, self.arrays, self.layout)
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(threads) if threads > 1 else None

    @classmethod
    def of_weights(
        cls,
        kind: str,
        settings: ModelSettings,
        size: int,
        weights: Mapping[str, Array],
        *,
        precision: Precision = "float32",
        threads: int = 1,
    ) -> Self:
        """From torch's weights as numpy arrays."""
        arrays = FOLDS[kind](weights, settings, Layout(size))
        arrays = quantised(arrays) if precision == "int8" else arrays
        return cls(kind, settings, size, arrays, precision=precision, threads=threads)

    @classmethod
    def load(
        cls,
        path: Path,
        settings: FolderSettings,
        *,
        precision: Literal["auto", "float32", "int8"] = "auto",
        threads: int = 1,
        stored: bool = True,  # False: whatever lies in `engine/` is not looked at
        shortlist: bool = False,  # the search chooses among what is likely for its source
    ) -> Self:
        """The engine of a model folder. Raises FolderError for arrays that do not fit the settings, and
        UsageError where a shortlist is asked for and there is none."""
        likely = load_shortlist(path, settings) if shortlist else None
        chosen = chosen_precision(path, precision)
        arrays = load_arrays(path, settings, chosen, stored=stored)
        size, model = settings.target.size, model_settings(settings)
        return cls(settings.kind, model, size, arrays, precision=chosen, threads=threads, likely=likely)

    def supports(self, settings: DecodingSettings, prefixes: Sequence[Sequence[int]] | None) -> str | None:
        """None, or what the engine does not do."""
        if settings.sample:
            return "sampling"
        if settings.no_repeat_ngram:
            return "no_repeat_ngram"
        if prefixes is not None and any(prefixes):
            return "a prefix"
        if self.layout.end == 0:
            return "a vocabulary without tokens"
        return None

    def together(self, settings: DecodingSettings) -> int:
        """Sentences that a thread searches at the same time."""
        most = CHUNK if settings.beam == 1 else min(CHUNK, max(4, ROWS // settings.beam))
        return min(most, settings.batch)

    def generate(
        self,
        sources: Sequence[Sequence[int]],
        settings: DecodingSettings,
        prefixes: Sequence[Sequence[int]] | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[list[Hypothesis]]:
        """As `decoding.loop.generate`."""
        sentences = prepare(sources, settings, prefixes, numbers)
        order = sorted(range(len(sentences)), key=lambda place: -len(sentences[place].source))
        size = max(1, min(self.together(settings), math.ceil(len(sentences) / self.threads)))
        chunks = [order[begin : begin + size] for begin in range(0, len(order), size)]
        tasks = [[sentences[place] for place in chunk] for chunk in chunks]
        if self._workers is None or len(tasks) < 2:
            results = [self._search(task, settings) for task in tasks]
        else:
            results = list(self._workers.map(lambda task: self._search(task, settings), tasks))
        found: list[list[Hypothesis]] = [[] for _ in sentences]
        for chunk, hypotheses in zip(chunks, results, strict=True):
            for place, each in zip(chunk, hypotheses, strict=True):
                found[place] = each
        return found

    def _search(self, sentences: Sequence[Sentence], settings: DecodingSettings) -> list[list[Hypothesis]]:
        limits = np.array([sentence.limit for sentence in sentences])
        longest = max(len(sentence.source) for sentence in sentences) + 1
        rows = [[*sentence.source, EOS, *[PAD] * (longest - 1 - len(sentence.source))] for sentence in sentences]
        encoded: dict[str, Array] = {
            "source": np.array(rows, np.int64),
            "lengths": np.array([len(sentence.source) + 1 for sentence in sentences], np.int32),
        }
        alpha, width = settings.length_penalty, settings.beam
        layout, listed, inputs = self.layout, 0, dict[str, Array]()
        if self.shortlist is not None:
            chosen = self.shortlist.choose([sentence.source for sentence in sentences])
            layout, listed, inputs = chosen.layout, chosen.listed, chosen.inputs
            encoded[BIAS] = chosen.bias
        graphs = self._graphs_of(Form(width, single=len(sentences) == 1, listed=listed))
        if width == 1:
            tokens, gains = run(graphs, encoded, limits, inputs)
            return trace_greedy(tokens, gains, limits.tolist(), layout, alpha)
        decisive = math.ceil(max(settings.patience * width, settings.nbest))
        most = int(limits.max())
        penalties = ((5 + np.arange(1, most + 1, dtype=np.float32)) / 6) ** np.float32(alpha)
        searching: dict[str, Array] = {
            **inputs,
            "penalties": penalties,
            "final": penalties[limits - 1][:, None],
            "best": np.array([settings.nbest - 1]),
            "done": np.full((len(sentences), min(decisive, most * width)), -np.inf, np.float32),
        }
        collected = run(graphs, encoded, limits, searching)
        if len(sentences) == 1:
            collected = [one[:, None] for one in collected]
        return trace_beam(Steps(*collected), limits.tolist(), layout, settings.nbest, alpha)

    def _graphs_of(self, form: Form) -> Graphs:
        """The sessions of a search; made when first asked for."""
        with self._lock:
            if form not in self._graphs:
                self._graphs[form] = self._open(form)
            return self._graphs[form]

    def _open(self, form: Form) -> Graphs:
        if form.rows == "one":
            for name in [name.removesuffix(".quantised") for name in self.arrays if name.endswith(".quantised")]:
                add_blocks(self.arrays, name)
        layout = Layout(FIRST + form.listed) if form.listed else self.layout
        model = MODELS[self.kind](self.settings, layout, form)
        first = build(self.arrays, model, layout)
        lock = threading.Lock()
        opened: list[Any] = []

        def rest() -> Any:
            with lock:
                if not opened:
                    graph = build_rest(self.arrays, model, layout, first).graph
                    opened.append(open_session(graph, quickly=form.single))
                return opened[0]

        return Graphs(
            first=open_session(first.graph, quickly=form.single),
            rest=rest,
            tables={"table": self.arrays["table"]},
            embedding={"embedding": self.arrays["embedding"]},
            memory=first.memory,
            carried=first.carried,
            collected=first.collected,
            by_sentence=model.by_sentence,
            width=form.width,
            end=layout.end,
        )
