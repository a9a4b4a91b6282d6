"""The one generation loop, whatever chooses the tokens: one sentence or thousands, at once or streamed.

Sentences are sorted by length and decoded in a batch that is refilled as they finish (continuous batching: those of one
batch are at different positions) and cut when none are left. Letters as in choosers.py.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple

import torch
from torch import Tensor

from pairloom.decoding.beam import Beam
from pairloom.decoding.choosers import AnyProgress, Chooser, Greedy, Sampling
from pairloom.decoding.hypotheses import Hypothesis, Sentence, prepare
from pairloom.decoding.inputs import device_of, evaluating, source_batch
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.models.protocol import BOS, EOS, EncoderDecoder, Memory, State, join, select, trim


class Advanced(NamedTuple):
    """One step is done."""

    tokens: Tensor  # [R] that were chosen, finished rows included


class Finished(NamedTuple):
    """One sentence is done."""

    number: int  # the sentence's place in the input, from 0
    hypotheses: list[Hypothesis]  # best first, at least one


@dataclass(frozen=True)
class Batch(Generic[AnyProgress]):
    """N sentences under way, W rows each."""

    memory: Memory  # R rows
    state: State  # R rows
    progress: AnyProgress  # N sentences
    tokens: Tensor  # [R] the latest

    def keep(self, sentences: Sequence[int], width: int) -> Batch[AnyProgress]:
        """Only these sentences, without the source columns that none of them needs."""
        kept = torch.tensor(sentences, device=self.tokens.device)
        rows = (kept[:, None] * width + torch.arange(width, device=kept.device)).flatten()
        memory = trim(select(self.memory, rows))
        return Batch(memory, select(self.state, rows), select(self.progress, kept), self.tokens[rows])


def run(
    model: EncoderDecoder, sentences: Sequence[Sentence], chooser: Chooser[AnyProgress], size: int
) -> Iterator[Advanced | Finished]:
    """Decodes `sentences`, at most `size` at a time; to be driven inside `evaluating(model)`."""
    waiting = sorted(sentences, key=lambda sentence: len(sentence.source))  # taken from the end: the longest first
    batch: Batch[AnyProgress] | None = None
    under_way: list[Sentence | None] = []  # the sentences of `batch`; None: finished, its rows not yet dropped
    while waiting or any(under_way):
        if 4 * under_way.count(None) >= len(under_way):  # dropping and adding copies the batch: not for every sentence
            staying = [place for place, sentence in enumerate(under_way) if sentence is not None]
            fresh = [waiting.pop() for _ in range(min(size - len(staying), len(waiting)))]
            parts = [batch.keep(staying, chooser.width)] if batch is not None and staying else []
            parts += [encode(model, fresh, chooser)] if fresh else []
            batch = merge(parts)
            under_way = [under_way[place] for place in staying] + list(fresh)

        assert batch is not None  # the first pass fills it
        step = model.decode(batch.tokens[:, None], batch.memory, batch.state)
        log_probs = model.logits(step.hidden[:, -1]).float().log_softmax(1)
        choice, progress = chooser.advance(batch.progress, log_probs)
        state = step.state if choice.rows is None else select(step.state, choice.rows)
        batch = Batch(batch.memory, state, progress, choice.tokens)  # rows move within a sentence: same memory
        yield Advanced(choice.tokens)

        for place in choice.finished.nonzero()[:, 0].tolist():
            sentence = under_way[place]
            if sentence is not None:
                under_way[place] = None
                yield Finished(sentence.number, chooser.harvest(progress, place))


def encode(model: EncoderDecoder, sentences: Sequence[Sentence], chooser: Chooser[AnyProgress]) -> Batch[AnyProgress]:
    """Sentences before their first step, W equal rows each."""
    device = device_of(model)
    memory = model.encode(*source_batch([sentence.source for sentence in sentences], device))
    state = model.start(memory)
    rows = torch.arange(len(sentences), device=device).repeat_interleave(chooser.width)
    if chooser.width > 1:
        memory, state = select(memory, rows), select(state, rows)
    return Batch(memory, state, chooser.start(sentences, device), torch.full_like(rows, BOS))


def merge(parts: Sequence[Batch[AnyProgress]]) -> Batch[AnyProgress]:
    """Several batches as one."""
    return Batch(
        join([part.memory for part in parts]),
        join([part.state for part in parts]),
        join([part.progress for part in parts]),
        torch.cat([part.tokens for part in parts]),
    )


def generate(
    model: EncoderDecoder,
    sources: Sequence[Sequence[int]],  # ids without `</s>`
    *,
    settings: DecodingSettings,
    prefixes: Sequence[Sequence[int]] | None = None,  # one for each source: what its output must begin with
    numbers: Sequence[int] | None = None,  # what random streams are named by, all different; default: the places
) -> list[list[Hypothesis]]:
    """The `nbest` outputs of each source (fewer if there are no more), best first, in the order of the input."""
    sentences = prepare(sources, settings, prefixes, numbers)
    results: dict[int, list[Hypothesis]] = {}
    with evaluating(model):
        for event in run(model, sentences, chooser_of(settings), settings.batch):
            if isinstance(event, Finished):
                results[event.number] = event.hypotheses
    return [results[sentence.number] for sentence in sentences]


def stream(
    model: EncoderDecoder, source: Sequence[int], *, settings: DecodingSettings, prefix: Sequence[int] = ()
) -> Generator[int, None, bool]:
    """The tokens of `generate`'s output one by one, without `</s>`. Any number of streams can share a model.

    Returns whether `</s>` was chosen; if not, the limit of length was reached.
    Raises UsageError for a beam, whose words are certain only at the end.
    """
    if settings.beam > 1 or settings.nbest > 1:
        raise UsageError(
            f"beam={settings.beam}, nbest={settings.nbest}: only one output can be streamed, and a beam is certain "
            "of its words only at the end. Set nbest=1, and beam=1 or sample=true."
        )
    return _stream(model, prepare([source], settings, [prefix]), settings)


def _stream(
    model: EncoderDecoder, sentences: Sequence[Sentence], settings: DecodingSettings
) -> Generator[int, None, bool]:
    events = run(model, sentences, chooser_of(settings), 1)
    while True:
        with evaluating(model):  # left at each token, so that the model is never kept in a mode while others use it
            event = next(events)
        if isinstance(event, Finished):
            return False
        if int(event.tokens[0]) == EOS:
            return True
        yield int(event.tokens[0])


def chooser_of(settings: DecodingSettings) -> Chooser[Any]:
    """What the settings ask for."""
    s = settings
    if s.sample:
        return Sampling(s.nbest, s.temperature, s.top_k, s.top_p, s.seed, s.length_penalty, s.no_repeat_ngram)
    if s.beam == 1:
        return Greedy(s.length_penalty, s.no_repeat_ngram)
    return Beam(s.beam, s.nbest, s.length_penalty, s.patience, s.no_repeat_ngram)
