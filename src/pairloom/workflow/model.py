"""The face of a trained model in Python: `load`, and the `Model` that it gives. `training.py` beside it has `train`.

Importing this imports no torch, and no metrics: both come when they are first needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from pairloom.decoding.choice import Answering, Engines, choose_engines
from pairloom.decoding.generator import PLAIN, Generator, Output, Pieces, Reading
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.folder import Folder, explain, read_folder
from pairloom.text.columns import Columns, parse_columns, text_part

if TYPE_CHECKING:
    from pairloom.decoding.explanation import Explanation
    from pairloom.decoding.replay import Replay
    from pairloom.metrics import Example, LengthRow, Score
    from pairloom.text.pairs import PairsSettings

Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Evaluation:
    """How good a model's own outputs are."""

    scores: list[Score]
    worst: list[Example]  # the ten worst, worst first
    by_length: list[LengthRow]  # the first metric by length of source
    lines: int
    outputs: list[str]
    skipped: str  # on unusable lines, the first of them by file:line; empty if there were none


class Model:
    """A trained model, or several as one. Nothing is kept between calls; threads may share it."""

    def __init__(self, *folders: Folder, engines: Engines = PLAIN) -> None:
        """`engines`: who answers; see `choose_engines`."""
        self._generator = Generator(*folders, engines=engines)
        self.folder, self.engines = self._generator.folder, engines

    def generate(self, texts: Iterable[str], **settings: Any) -> list[str]:
        """The best output for each text, in order; a blank text gives "". Settings: see `DecodingSettings`."""
        return [output.text for output in self.outputs(texts, **settings)]

    def outputs(
        self,
        texts: Iterable[str],
        prefix: str = "",
        first: int = 0,
        read: Iterable[Reading] | None = None,
        **settings: Any,
    ) -> Iterator[Output]:
        """The outputs with tokens, scores and n-best candidates, lazily. `first`, `read`: see `Generator.generate`."""
        return self._generator.generate(texts, self._settings(settings), prefix, first, read)

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What the model reads of each text."""
        return self._generator.read(texts)

    def answering(self, prefix: str = "", **settings: Any) -> Answering:
        """Which engine answers with these settings, in what precision, and why not a faster one."""
        return self._generator.answering(self._settings(settings), prefix)

    def stream(self, text: str, **settings: Any) -> Pieces:
        """One output piece by piece, by greedy search (or with `sample=True`); returns how it ended."""
        sampling = settings.get("sample", self.folder.generation.get("sample") and "beam" not in settings)
        given = settings if sampling else {"beam": 1, **settings}
        return self._generator.stream(text, self._settings({"nbest": 1, **given}))

    def explain(self, text: str, target: str | None = None, **settings: Any) -> Explanation:
        """Tokens of both sides, attention [T, S], probabilities and alternatives, of `target` or of the output.

        `explain(...).looking(layer, head)` has the attention of one layer and head, both counted from 1.
        """
        return self._generator.explain(text, target, self._settings(settings))

    def replay(self, text: str, target: str | None = None, **settings: Any) -> Replay:
        """The decoding step by step: the encoder's states, the ten most probable tokens, the weights, the whole beam.

        With `target`, also how the model reads that one under teacher forcing. Works without attention too.
        """
        return self._generator.replay(text, target, self._settings(settings))

    def score(self, pairs: Sequence[tuple[str, str]], batch: int = 64) -> list[float]:
        """log P(target | source) of each pair, natural logarithm."""
        return [one.score for one in self._generator.score(pairs, batch)]

    def perplexity(self, pairs: Sequence[tuple[str, str]]) -> float:
        """exp of the mean negative log-probability a target token, `</s>` included."""
        tokens = [value for one in self._generator.score(pairs) for value in one.tokens]
        return float(np.exp(-np.mean(tokens)))

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Each source as one vector, [B, D]: what the decoder starts from, or (Transformer, hybrid) the mean of the
        annotations; of an ensemble, those of its members one after the other."""
        return self._generator.encode(texts)

    def evaluate(
        self,
        pairs: Paths,
        metrics: Sequence[str] | None = None,
        *,
        merge: bool | None = None,
        columns: str | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> Evaluation:
        """Scores the model's outputs for the sources of `pairs` (a path, or two line-aligned ones).

        `merge`: pairs of the same source are several right answers to one question (pronunciations). What is not given
        is as the model's recipe said, `columns` as those of the pairs that it was trained on. `seed`: of the bootstrap,
        and of the draws if it samples.
        """
        from pairloom.text.pairs import open_pairs, questions

        opened = open_pairs(path_names(pairs), self.reading(pairs, columns))
        merging = self.folder.settings.merge if merge is None else merge
        both = questions(((pair.source, pair.target) for pair in opened), merging)
        evaluation = self.evaluate_lines(both, metrics, seed=seed, **settings)
        return Evaluation(**{**vars(evaluation), "skipped": "\n".join(opened.report())})

    def evaluate_lines(
        self,
        lines: Sequence[tuple[str, Sequence[str]]],
        metrics: Sequence[str] | None = None,
        *,
        seed: int = 0,
        **settings: Any,
    ) -> Evaluation:
        """The same for sources with their right answers at hand."""
        from pairloom.metrics import by_length, default_metrics, score, worst
        from pairloom.metrics.scores import expand

        asked = metrics or self.folder.settings.metrics or default_metrics(self.folder.settings.target.unit)
        names = expand(asked)  # the tables below are of the first one, which `rouge` would not be
        sources, references = [source for source, _ in lines], [list(answers) for _, answers in lines]
        said = self.generate(sources, **settings, seed=seed)
        texts = [text_part(source) for source in sources] if self.folder.settings.source.features else sources
        return Evaluation(
            scores=score(said, references, names, seed=seed),
            worst=worst(said, references, sources, metric=names[0]),
            by_length=by_length(texts, said, references, names[0], seed=seed),
            lines=len(lines),
            outputs=said,
            skipped="",
        )

    def reading(self, pairs: Paths, columns: str | None = None) -> PairsSettings:
        """How pairs for this model are read: in its normal form, and a table by the columns given or its own."""
        from pairloom.text.pairs import PairsSettings

        own = self.folder.settings.columns if len(path_names(pairs)) == 1 else None
        chosen: Columns | None = parse_columns(columns) if columns else own
        return PairsSettings(normal_form=self.folder.settings.normal_form, columns=chosen)

    def settings(self, **asked: Any) -> DecodingSettings:
        """How the model is asked: its folder's own way, with what is asked for otherwise. UsageError, naming what is
        wrong, for settings that cannot be."""
        return self._settings(asked)

    def _settings(self, given: dict[str, Any]) -> DecodingSettings:
        try:
            return self._generator.settings(**given)
        except ValidationError as error:
            raise UsageError("\n  ".join(["these settings are not valid:", *explain(error)])) from None


def path_names(paths: Paths) -> list[str]:
    """One path or several as strings."""
    return [str(paths)] if isinstance(paths, str | Path) else [str(path) for path in paths]


def load(
    *paths: Paths,
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    shortlist: bool = False,
) -> Model:
    """The model in a folder; of several folders, an ensemble: the mean of their probabilities at every step.

    `engine` is auto, torch or onnx, `precision` auto, float32, bfloat16 (torch) or int8 (onnx): auto takes onnx where
    it is installed and the folder has an `engine/`, in the precision that was found good when that was made.
    With `shortlist` that engine chooses among the words that are likely for a source, and a score is the probability
    among these; what torch does (streams, explanations, scores of given pairs) knows the whole vocabulary.

    Raises UsageError for an engine that cannot be had, and FolderError, naming all that is wrong with a folder, or what
    keeps the models from answering together.
    """
    folders = [read_folder(path) for some in paths for path in path_names(some)]
    return Model(*folders, engines=choose_engines(folders, engine, precision, threads, shortlist=shortlist))
