"""What the tests of decoding share: every way of choosing, when two outputs are the same, and what any model keeps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import pytest

from pairloom.decoding.beam import Beam
from pairloom.decoding.hypotheses import Hypothesis, length_penalty, prepare
from pairloom.decoding.inputs import evaluating
from pairloom.decoding.loop import Finished, chooser_of, generate, run, stream
from pairloom.decoding.scoring import score_targets
from pairloom.decoding.settings import DecodingSettings
from pairloom.models.protocol import EncoderDecoder

GREEDY = DecodingSettings(beam=1)
BEAM = DecodingSettings(beam=5, nbest=5)
SAMPLING = DecodingSettings(sample=True, seed=7)
EVERY = [
    GREEDY,
    BEAM,
    DecodingSettings(beam=3, patience=2.0, length_penalty=0.0, no_repeat_ngram=2),
    SAMPLING,
    DecodingSettings(sample=True, nbest=3, temperature=0.7, top_k=6, top_p=0.9, no_repeat_ngram=3),
]
EVERY_ID = ["greedy", "beam", "beam-others", "sampling", "sampling-others"]


def assert_same(found: list[list[Hypothesis]], wanted: list[list[Hypothesis]]) -> None:
    """The same tokens; scores up to rounding, which the company in a batch may change."""
    assert [[h.tokens for h in each] for each in found] == [[h.tokens for h in each] for each in wanted]
    for one, other in zip(itertools.chain(*found), itertools.chain(*wanted), strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.normalised == pytest.approx(other.normalised, abs=1e-4)
        assert one.finished == other.finished


def assert_a_beam_of_one_is_greedy(model: EncoderDecoder, sources: Sequence[Sequence[int]]) -> None:
    """The same tokens and scores from the beam's own code, which `beam=1` does not reach."""
    found: dict[int, list[Hypothesis]] = {}
    with evaluating(model):
        for event in run(model, prepare(sources, GREEDY, None), Beam(width=1), 16):
            if isinstance(event, Finished):
                found[event.number] = event.hypotheses
    assert_same([found[i] for i in range(len(sources))], generate(model, sources, settings=GREEDY))


def assert_scores_are_the_scorer_s(
    model: EncoderDecoder, sources: Sequence[Sequence[int]], settings: DecodingSettings
) -> set[bool]:
    """Of each output, under teacher forcing, `</s>` included if it has one. Gives which of both there were."""
    outputs = generate(model, sources, settings=settings)
    pairs = [(source, h) for source, each in zip(sources, outputs, strict=True) for h in each]
    scores = score_targets(model, [source for source, _ in pairs], [h.tokens for _, h in pairs], batch=16)
    for (_, h), score in zip(pairs, scores, strict=True):
        wanted = score.score if h.finished else sum(score.tokens[:-1])
        assert h.score == pytest.approx(wanted, abs=1e-4)
        penalty = length_penalty(len(h.tokens) + h.finished, settings.length_penalty)
        assert h.normalised == pytest.approx(wanted / penalty, abs=1e-4)
    return {h.finished for _, h in pairs}


def assert_a_wide_beam_is_exhaustive(
    model: EncoderDecoder, sources: Sequence[Sequence[int]], alpha: float, nbest: int
) -> None:
    """Of a model of six tokens, the best of all that have at most four with `</s>`: it must finish within them."""
    settings = DecodingSettings(beam=40, nbest=nbest, patience=1000.0, max_length=4, length_penalty=alpha)
    every = [list(t) for length in range(4) for t in itertools.product([4, 5], repeat=length)]  # and `</s>`: at most 4
    for source, found in zip(sources, generate(model, sources, settings=settings), strict=True):
        scored = score_targets(model, [source] * len(every), every)
        ranked = sorted(
            ((s.score / length_penalty(len(t) + 1, alpha), t) for s, t in zip(scored, every, strict=True)), reverse=True
        )
        assert [h.tokens for h in found] == [t for _, t in ranked[:nbest]]
        assert [h.normalised for h in found] == pytest.approx([score for score, _ in ranked[:nbest]], abs=1e-4)
        assert all(h.finished for h in found)


def assert_interleaved_streams_are_separate(
    model: EncoderDecoder, sources: Sequence[Sequence[int]], settings: DecodingSettings
) -> list[list[int]]:
    """A token of each in turn gives what one after the other does. Gives these outputs."""
    wanted = [generate(model, [source], settings=settings)[0][0].tokens for source in sources]
    found: list[list[int]] = [[] for _ in sources]
    for tokens in itertools.zip_longest(*[stream(model, source, settings=settings) for source in sources]):
        for own, token in zip(found, tokens, strict=True):
            own.extend([] if token is None else [token])
    assert found == wanted
    return found


def assert_interleaved_searches_are_separate(
    model: EncoderDecoder, halves: Sequence[Sequence[Sequence[int]]], settings: DecodingSettings
) -> None:
    """A step of each search in turn gives what one after the other does, with several sentences in each."""

    def search(half: Sequence[Sequence[int]]) -> Iterator[Finished | None]:
        for event in run(model, prepare(half, settings, None), chooser_of(settings), settings.batch):
            yield event if isinstance(event, Finished) else None

    found: list[dict[int, list[Hypothesis]]] = [{} for _ in halves]
    with evaluating(model):
        for events in itertools.zip_longest(*map(search, halves)):
            for own, event in zip(found, events, strict=True):
                own.update({event.number: event.hypotheses} if event is not None else {})
    for half, own in zip(halves, found, strict=True):
        assert_same([own[i] for i in range(len(half))], generate(model, half, settings=settings))
