"""One decoding replayed: what the encoder has made of the source, and at each step what was weighed and what chosen.

Nothing is decoded in another way for it: the search is the one loop with a beam that notes what it does (`trace.py`),
and its winner, or a given target, is read once more by the same `decode` under teacher forcing (`follow`), which gives
for T tokens at once what T single steps give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pairloom.decoding import loop
from pairloom.decoding.explanation import Array, Span, Steps
from pairloom.decoding.inputs import device_of, evaluating, pad_rows, source_batch
from pairloom.decoding.settings import DecodingSettings
from pairloom.decoding.trace import Trace, trace_beam
from pairloom.models.protocol import BOS, EOS
from pairloom.pictures.states import project
from pairloom.text.tokenizer import Tokenizer
from pairloom.weights import ModelFolder

TOP = 10
"""Tokens that are shown of each step's distribution."""


@dataclass(frozen=True)
class States:
    """What the encoder has made of the source."""

    context: Array  # [D] the source as one vector: what the decoder starts from, or the mean of the annotations
    annotations: Array | None  # [S, A] what it says of each source token; None: only `context` reaches the decoder

    def places(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The annotations by their first two principal components [S, 2], and the variance that each holds [2].

        The map is affine, so the place of a weighted mean of annotations is the weighted mean of their places.
        """
        vectors = np.zeros((1, 2)) if self.annotations is None else self.annotations.astype(np.float64)
        return project(vectors)

    def units(self, count: int) -> list[int]:
        """The `count` units in which the source tokens differ most, in their own order."""
        if self.annotations is None:
            return list(range(min(count, len(self.context))))
        widest = np.argsort(-self.annotations.std(axis=0), kind="stable")[:count]
        return sorted(int(unit) for unit in widest)


@dataclass(frozen=True)
class Replay:
    """One source, decoded."""

    states: States
    free: Steps  # what the model says when it reads its own tokens
    forced: Steps | None  # the given target, read token by token; None: none was given
    trace: Trace | None  # of the search that found `free`; None: it was drawn, not searched

    def contexts(self, steps: Steps) -> Array | None:
        """c_t = sum_s attention[t, s] annotations[s] of each step [T, A] (Bahdanau et al. 2015, equation 5).

        A model with several heads or layers makes one from each; this is that of the weights which it goes by.
        None: there is nothing to average.
        """
        if steps.attention is None or self.states.annotations is None:
            return None
        return steps.attention @ self.states.annotations


def replay(
    folder: ModelFolder,
    text: str,  # the source, in the folder's normal form
    source: Sequence[int],  # its ids without `</s>`
    target: Sequence[int] | None,  # ids without `</s>`
    settings: DecodingSettings,
) -> Replay:
    """Decodes the source as `settings` say, and reads `target` under teacher forcing if there is one."""
    if settings.sample:
        trace = None
        said: Sequence[int] = loop.generate(folder.model, [source], settings=settings)[0][0].tokens
    else:
        # All K outputs of the beam: what comes first is the same, and there is something to compare it with.
        trace = trace_beam(folder.model, source, settings.model_copy(update={"nbest": settings.beam}))
        said = trace.endings[0].tokens if trace.endings else ()
    forced = None if target is None else follow(folder, text, source, target, TOP)
    return Replay(states_of(folder, source), follow(folder, text, source, said, TOP), forced, trace)


def states_of(folder: ModelFolder, source: Sequence[int]) -> States:
    """What the encoder has made of a source (ids without `</s>`)."""
    with evaluating(folder.model):
        memory = folder.model.encode(*source_batch([source], device_of(folder.model)))
        annotations = folder.model.annotations(memory)
        context = folder.model.context(memory)[0].float().cpu().numpy()
    return States(context, None if annotations is None else annotations[0].float().cpu().numpy())


def follow(
    folder: ModelFolder,
    text: str,  # the source, in the folder's normal form
    source: Sequence[int],  # S - 1 ids without `</s>`
    target: Sequence[int],  # T - 1 ids without `<s>` and `</s>`
    top: int = 5,  # the most probable tokens of each step that are kept
) -> Steps:
    """What the model weighs and looks at while it reads `target` under teacher forcing."""
    said = [*target, EOS]
    with evaluating(folder.model):
        device = device_of(folder.model)
        memory = folder.model.encode(*source_batch([source], device))
        inputs = pad_rows([[BOS, *target]], device)
        step = folder.model.decode(inputs, memory, folder.model.start(memory), attention=True)
        log_probs = folder.model.logits(step.hidden[0]).float().log_softmax(1)  # [T, V]
        own = log_probs.gather(1, torch.tensor(said, device=device)[:, None])  # [T, 1]
        best = log_probs.topk(min(top, log_probs.shape[1]), dim=1)
        ranks = (log_probs > own).sum(1)
    target_text = folder.target.decode(target)
    return Steps(
        source=text,
        text=target_text,
        source_tokens=[*folder.source.tokens(source), "</s>"],
        tokens=[*folder.target.tokens(target), "</s>"],
        source_spans=[*folder.source.offsets(text)[: len(source)], (len(text), len(text))],
        source_words=[*folder.source.spans(text)[: len(source)], (len(text), len(text))],
        words=words_of(folder.target, target_text, target),
        scores=own[:, 0].tolist(),
        alternatives=[
            list(zip(name_tokens(folder.target, ids), probabilities, strict=True))
            for ids, probabilities in zip(best.indices.tolist(), best.values.exp().tolist(), strict=True)
        ],
        ranks=ranks.tolist(),
        attention=_array(None if step.attention is None else step.attention[0]),
        heads=_array(None if step.heads is None else step.heads[0]),
    )


def _array(tensor: Any) -> Array | None:
    return None if tensor is None else tensor.float().cpu().numpy()


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
