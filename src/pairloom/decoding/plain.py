"""The plain engine: the model in torch, asked step by step. It does everything, and every other engine is held to it.

Ids in, ids out: `generator.py` is the edge to text. Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch

from pairloom.decoding import loop
from pairloom.decoding.explanation import Array, Explanation, Span
from pairloom.decoding.hypotheses import Hypothesis
from pairloom.decoding.inputs import device_of, evaluating, pad_rows, source_batch
from pairloom.decoding.scoring import TargetScore, score_targets
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.folder import Folder
from pairloom.models.protocol import BOS, EOS, EncoderDecoder
from pairloom.text.tokenizer import Tokenizer
from pairloom.weights import with_weights


class PlainEngine:
    """One model, or several as one, in float32 or (products only) in bfloat16."""

    name = "torch"

    def __init__(self, folder: Folder, precision: str = "float32") -> None:
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

    def stream(self, source: Sequence[int], settings: DecodingSettings) -> Iterator[int]:
        """See `loop.stream`."""
        tokens = loop.stream(self.model, source, settings=settings)
        while True:
            with self._arithmetic():
                token = next(tokens, None)
            if token is None:
                return
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
        with evaluating(self.model), self._arithmetic():
            device = device_of(self.model)
            memory = self.model.encode(*source_batch([source], device))
            inputs = pad_rows([[BOS, *target]], device)
            step = self.model.decode(inputs, memory, self.model.start(memory), attention=True)
            log_probs = self.model.logits(step.hidden[0]).float().log_softmax(1)  # [T, V]
        if step.attention is None:
            raise UsageError(f"a model of kind {self.folder.settings.kind!r} has no attention to show")
        best = log_probs.topk(min(5, log_probs.shape[1]), dim=1)
        said = [*target, EOS]
        text = self.folder.target.decode(target)
        return Explanation(
            source=normal,
            text=text,
            source_tokens=[*self.folder.source.tokens(source), "</s>"],
            tokens=[*self.folder.target.tokens(target), "</s>"],
            source_spans=[*self.folder.source.offsets(normal)[: len(source)], (len(normal), len(normal))],
            source_words=[*self.folder.source.spans(normal)[: len(source)], (len(normal), len(normal))],
            words=words_of(self.folder.target, text, target),
            attention=step.attention[0].float().cpu().numpy(),
            scores=log_probs[torch.arange(len(said)), torch.tensor(said)].tolist(),
            alternatives=[
                list(zip(name_tokens(self.folder.target, ids), probabilities, strict=True))
                for ids, probabilities in zip(best.indices.tolist(), best.values.exp().tolist(), strict=True)
            ],
            heads=None if step.heads is None else step.heads[0].float().cpu().numpy(),
        )

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(device_of(self.model).type, torch.bfloat16)


def name_tokens(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """The tokens of single ids, by name, the special ones too."""
    return [tokenizer.tokens([token])[0] for token in ids]


def words_of(tokenizer: Tokenizer, text: str, ids: Sequence[int]) -> list[Span]:
    """The word around each target token; each its own where the model has spelt the text in an unusual way."""
    spans = tokenizer.spans(text) if tokenizer.encode(text) == list(ids) else []
    if len(spans) != len(ids):
        ends = [len(tokenizer.decode(ids[: count + 1])) for count in range(len(ids))]
        spans = list(zip([0, *ends], ends, strict=False))
    return [*spans, (len(text), len(text))]
