"""The plain engine: the model in torch, asked step by step. It does everything, and every other engine is held to it.

Ids in, ids out: `generator.py` is the edge to text. Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch

from pairloom.decoding import loop
from pairloom.decoding.explanation import Array, Explanation
from pairloom.decoding.hypotheses import Hypothesis
from pairloom.decoding.inputs import device_of, evaluating, source_batch
from pairloom.decoding.replay import Replay, follow, replay
from pairloom.decoding.scoring import TargetScore, score_targets
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.folder import Folder
from pairloom.models.protocol import EncoderDecoder
from pairloom.weights import with_weights


class PlainEngine:
    """One model, or several as one, in float32 or (products only) in bfloat16."""

    name = "torch"

    def __init__(self, folder: Folder, precision: str = "float32", threads: int | None = None) -> None:
        """`threads`: of torch, and so of everything in this process that uses it; None leaves them as they are."""
        if threads is not None:
            torch.set_num_threads(threads)
        self.folder = with_weights(folder)
        self.model = cast(EncoderDecoder, self.folder.model)
        self.precision = precision

    def generate(
        self,
        sources: Sequence[Sequence[int]],  # ids without `</s>`
        settings: DecodingSettings,
        prefixes: Sequence[Sequence[int]] | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[list[Hypothesis]]:
        """See `loop.generate`."""
        with self._arithmetic():
            return loop.generate(self.model, sources, settings=settings, prefixes=prefixes, numbers=numbers)

    def stream(self, source: Sequence[int], settings: DecodingSettings) -> Generator[int, None, bool]:
        """See `loop.stream`."""
        tokens = loop.stream(self.model, source, settings=settings)
        while True:
            try:
                with self._arithmetic():
                    token = next(tokens)
            except StopIteration as end:
                return bool(end.value)
            yield token

    def score(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], batch: int
    ) -> list[TargetScore]:
        """See `score_targets`."""
        with self._arithmetic():
            return score_targets(self.model, sources, targets, batch=batch)

    def encode(self, sources: Sequence[Sequence[int]]) -> Array:
        """The context vector of each source, [B, D]."""
        with evaluating(self.model), self._arithmetic():
            memory = self.model.encode(*source_batch(sources, device_of(self.model)))
            context = self.folder.model.context(memory)
        return cast(Array, context.float().cpu().numpy())

    def explain(self, normal: str, source: Sequence[int], target: Sequence[int]) -> Explanation:
        """What the model looks at while it says the target [T] to the source [S], of which `normal` is the text."""
        with self._arithmetic():
            steps = follow(self.folder, normal, source, target)
        if steps.attention is None:
            raise UsageError(f"a model of kind {self.folder.settings.kind!r} has no attention to show")
        return Explanation(**vars(steps))

    def replay(
        self, normal: str, source: Sequence[int], target: Sequence[int] | None, settings: DecodingSettings
    ) -> Replay:
        """The decoding of the source step by step, and of the target, if there is one, under teacher forcing."""
        with self._arithmetic():
            return replay(self.folder, normal, source, target, settings)

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(device_of(self.model).type, torch.bfloat16)
