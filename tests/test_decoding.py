"""Properties of searching and scoring, on a toy model: whatever the batch, the width and the chooser."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from pairloom.decoding.beam import BLOCK, Beam, best
from pairloom.decoding.choosers import Greedy, Hypothesis, Sampling, length_penalty
from pairloom.decoding.inputs import evaluating
from pairloom.decoding.loop import Finished, generate, prepare, run, stream
from pairloom.decoding.scoring import score_targets
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.models.protocol import BOS, EOS, PAD, UNK
from toy import ToyModel, toy_sources

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


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other take ten times as long as such small tensors need."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def assert_same(found: list[list[Hypothesis]], wanted: list[list[Hypothesis]]) -> None:
    """The same tokens; scores up to rounding, which the company in a batch may change."""
    assert [[h.tokens for h in each] for each in found] == [[h.tokens for h in each] for each in wanted]
    for one, other in zip(itertools.chain(*found), itertools.chain(*wanted), strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.normalised == pytest.approx(other.normalised, abs=1e-4)
        assert one.finished == other.finished


@pytest.mark.parametrize("settings", EVERY, ids=EVERY_ID)
def test_batch_and_company_change_no_output(settings: DecodingSettings) -> None:
    model, sources = ToyModel(), toy_sources(70)
    together = generate(model, sources, settings=settings)
    for batch in (1, 7):
        assert_same(generate(model, sources, settings=settings.model_copy(update={"batch": batch})), together)
    if not settings.sample:  # the random stream of a sentence belongs to its place
        order = random.Random(1).sample(range(70), 70)
        shuffled = generate(model, [sources[i] for i in order], settings=settings)
        assert_same(shuffled, [together[i] for i in order])
    else:
        assert_same(generate(model, sources[:9], settings=settings), together[:9])


@pytest.mark.parametrize("settings", EVERY, ids=EVERY_ID)
def test_score_of_an_output_is_that_of_the_scorer(settings: DecodingSettings) -> None:
    model, sources = ToyModel(), toy_sources(40)
    outputs = generate(model, sources, settings=settings.model_copy(update={"max_length": 9}))
    pairs = [(source, h) for source, each in zip(sources, outputs, strict=True) for h in each]
    scores = score_targets(model, [source for source, _ in pairs], [h.tokens for _, h in pairs], batch=16)
    assert {h.finished for _, h in pairs} == {True, False}
    for (_, h), score in zip(pairs, scores, strict=True):
        wanted = score.score if h.finished else sum(score.tokens[:-1])
        assert h.score == pytest.approx(wanted, abs=1e-4)
        assert h.normalised == pytest.approx(
            wanted / length_penalty(len(h.tokens) + h.finished, settings.length_penalty), abs=1e-4
        )


def test_beam_of_one_is_greedy() -> None:
    model, sources = ToyModel(), toy_sources(50)
    sentences = prepare(sources, GREEDY, None)
    found: dict[int, list[Hypothesis]] = {}
    with evaluating(model):
        for event in run(model, sentences, Beam(width=1), 16):
            if isinstance(event, Finished):
                found[event.number] = event.hypotheses
    assert_same([found[i] for i in range(50)], generate(model, sources, settings=GREEDY))


@pytest.mark.parametrize(
    ("alpha", "nbest", "bias"), [(0.0, 1, -1), (1.0, 1, -1), (1.0, 7, 0), (3.0, 1, 2), (3.0, 3, 2)]
)
def test_wide_beam_is_exhaustive_search(alpha: float, nbest: int, bias: float) -> None:
    model = ToyModel(size=6, end_bias=bias)
    sources = toy_sources(12, size=6)
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


def test_more_patience_finds_no_worse() -> None:
    model, sources = ToyModel(), toy_sources(40)
    few, many = (
        generate(model, sources, settings=DecodingSettings(beam=4, patience=patience, max_length=30))
        for patience in (0.25, 100.0)
    )
    differences = [b[0].normalised - a[0].normalised for a, b in zip(few, many, strict=True) if a[0].finished]
    assert min(differences) > -1e-4
    assert max(differences) > 0.01


def test_impatience_does_not_cost_outputs() -> None:
    model, sources = ToyModel(end_bias=1.0), toy_sources(30)
    impatient = generate(model, sources, settings=BEAM.model_copy(update={"patience": 0.2}))
    assert [len(each) for each in impatient] == [5] * 30


def test_nbest_is_sorted_distinct_and_begins_with_the_best() -> None:
    model, sources = ToyModel(), toy_sources(40)
    one = generate(model, sources, settings=BEAM.model_copy(update={"nbest": 1}))
    for best_one, each in zip(one, generate(model, sources, settings=BEAM), strict=True):
        assert len(each) <= 5
        assert len({tuple(h.tokens) for h in each}) == len(each)
        assert each == sorted(each, key=lambda h: (h.finished, h.normalised), reverse=True)
        assert [best_one[0].finished] * len(best_one) == [h.finished for h in best_one]


@pytest.mark.parametrize("settings", EVERY, ids=EVERY_ID)
def test_as_many_outputs_as_inputs(settings: DecodingSettings) -> None:
    model = ToyModel()
    assert generate(model, [], settings=settings) == []
    for count in (1, 2, 65):
        outputs = generate(model, [[]] * count, settings=settings)
        assert len(outputs) == count
        assert all(outputs)


def test_a_model_that_computes_nan_still_gives_outputs() -> None:
    model = ToyModel()
    nn.init.constant_(model.out, math.nan)
    for settings in EVERY:
        assert all(generate(model, toy_sources(5), settings=settings))


@pytest.mark.parametrize("width", [1, 5])
def test_the_batch_is_refilled_and_cut(width: int) -> None:
    model, sources = ToyModel(end_bias=0.5), toy_sources(100)
    outputs = generate(model, sources, settings=DecodingSettings(beam=width, batch=16))
    encoded = [rows for name, rows, _ in model.calls if name == "encode"]
    decoded = [rows for name, rows, _ in model.calls if name == "decode"]
    columns = [columns for name, _, columns in model.calls if name == "decode"]
    assert encoded[0] == 16
    assert all(4 <= rows <= 16 for rows in encoded[1:-1])
    assert sum(encoded) == 100
    assert max(decoded) == 16 * width
    assert decoded[-1] < 16 * width
    assert any(rows < 16 for rows in encoded[:-1])
    assert columns == sorted(columns, reverse=True)
    assert columns[0] == 13
    assert columns[-1] < 5
    order = sorted(range(100), key=lambda i: -len(sources[i]))
    steps = [max(len(outputs[i][0].tokens) + 1 for i in order[begin : begin + 16]) for begin in range(0, 100, 16)]
    assert sum(decoded) < 0.8 * 16 * width * sum(steps)  # what batches need that do not refill


def test_never_padding_start_or_unknown() -> None:
    model = ToyModel()
    with torch.no_grad():
        model.bias[[PAD, UNK, BOS]] = 4.0
    for settings in EVERY:
        outputs = generate(model, toy_sources(30), settings=settings)
        used = {token for each in outputs for h in each for token in h.tokens}
        assert used
        assert not used & {PAD, UNK, BOS, EOS}


@pytest.mark.parametrize("settings", EVERY, ids=EVERY_ID)
def test_limit(settings: DecodingSettings) -> None:
    model, sources = ToyModel(end_bias=-50.0), toy_sources(20)
    lengths = settings.model_copy(update={"length_ratio": 1.5, "length_offset": 2, "max_length": 11})
    for source, each in zip(sources, generate(model, sources, settings=lengths), strict=True):
        for h in each:
            if settings.no_repeat_ngram == 0:
                assert not h.finished
            assert len(h.tokens) + h.finished <= min(11, math.ceil(1.5 * len(source)) + 2) == lengths.limit(len(source))
            assert h.finished or len(h.tokens) == lengths.limit(len(source))


@pytest.mark.parametrize("settings", EVERY, ids=EVERY_ID)
def test_prefix_is_forced_counted_and_not_part_of_the_limit(settings: DecodingSettings) -> None:
    model, sources = ToyModel(), toy_sources(20)
    prefixes = [[5, UNK, 5, 6, 5, 6][: i % 7] for i in range(20)]
    limited = settings.model_copy(update={"max_length": 4, "batch": 8})
    outputs = generate(model, sources, settings=limited, prefixes=prefixes)
    for source, prefix, each in zip(sources, prefixes, outputs, strict=True):
        for h in each:
            assert h.tokens[: len(prefix)] == prefix
            assert len(h.tokens) + h.finished <= len(prefix) + 4
            (score,) = score_targets(model, [source], [h.tokens])
            assert h.score == pytest.approx(sum(score.tokens[: len(h.tokens) + h.finished]), abs=1e-4)
    assert max(len(h.tokens) for each in outputs for h in each) > 6


def test_prefix_of_the_greedy_output_changes_nothing() -> None:
    model, sources = ToyModel(), toy_sources(30)
    free = generate(model, sources, settings=GREEDY)
    prefixes = [each[0].tokens[: i % 4] if each[0].finished else [] for i, each in enumerate(free)]
    assert_same(generate(model, sources, settings=GREEDY, prefixes=prefixes), free)


def test_wrong_prefixes() -> None:
    with pytest.raises(UsageError, match="2 sources but 1 prefixes: give one for each, empty where none is"):
        generate(ToyModel(), [[4], [5]], settings=GREEDY, prefixes=[[4]])
    with pytest.raises(UsageError, match=r"<pad>, <s> or </s> in the prefix of source 1, 2 \(counted from 0\)"):
        generate(ToyModel(), [[4], [5], [6]], settings=GREEDY, prefixes=[[4], [4, EOS], [BOS]])


@pytest.mark.parametrize("settings", [GREEDY, SAMPLING], ids=["greedy", "sampling"])
def test_interleaved_streams_are_separate_streams(settings: DecodingSettings) -> None:
    model, sources = ToyModel(), [source for source in toy_sources(12) if source]
    wanted = [generate(model, [source], settings=settings)[0][0].tokens for source in sources]
    streams = [stream(model, source, settings=settings) for source in sources]
    found: list[list[int]] = [[] for _ in sources]
    for tokens in itertools.zip_longest(*streams):
        for own, token in zip(found, tokens, strict=True):
            if token is not None:
                own.append(token)
    assert found == wanted
    assert len({len(tokens) for tokens in found}) > 2


def test_stream_begins_with_the_prefix() -> None:
    model = ToyModel()
    (wanted,) = generate(model, [[4, 9, 6]], settings=GREEDY, prefixes=[[7, 7]])
    assert list(stream(model, [4, 9, 6], settings=GREEDY, prefix=[7, 7])) == wanted[0].tokens
    assert wanted[0].tokens[:2] == [7, 7]


def test_stream_refuses_a_beam_at_once() -> None:
    with pytest.raises(UsageError, match=r"beam=5, nbest=1: only one output can be streamed.*beam=1 or sample=true"):
        stream(ToyModel(), [4], settings=DecodingSettings())


def test_the_model_keeps_its_mode() -> None:
    model = ToyModel().train()
    still = nn.Linear(1, 1).eval()
    model.add_module("still", still)
    wanted = generate(ToyModel().eval(), [[4, 5]], settings=GREEDY)
    tokens = stream(model, [4, 5], settings=GREEDY)
    first = next(tokens)
    assert model.training  # between two tokens, too
    assert not still.training
    assert not torch.is_inference_mode_enabled()
    assert [first, *tokens] == wanted[0][0].tokens
    assert_same(generate(model, [[4, 5]], settings=GREEDY), wanted)
    score_targets(model, [[4]], [[5]])
    assert model.training
    assert model.dropout.training


def test_no_ngram_twice() -> None:
    model, sources = ToyModel(end_bias=-2.0), toy_sources(30)
    for size, settings in itertools.product((1, 2, 3), (GREEDY, BEAM, SAMPLING)):
        guarded = settings.model_copy(update={"no_repeat_ngram": size})
        prefixes = [[4, 5][: i % 3] for i in range(30)]
        for each in generate(model, sources, settings=guarded, prefixes=prefixes):
            for h in each:
                grams = [tuple(h.tokens[i : i + size]) for i in range(len(h.tokens) - size + 1)]
                assert len(set(grams)) == len(grams)


def test_sampling_follows_the_model() -> None:
    model, source = ToyModel(), [4, 9, 6]
    once = DecodingSettings(sample=True, max_length=1, batch=1000)
    drawn = [each[0].tokens for each in generate(model, [source] * 4000, settings=once)]
    allowed = [t for t in range(14) if t not in (PAD, UNK, BOS)]
    scores = score_targets(model, [source] * 14, [[t] for t in range(14)])
    probs = torch.tensor([math.exp(scores[t].tokens[0]) for t in allowed])
    probs /= probs.sum()
    for token, prob in zip(allowed, probs.tolist(), strict=True):
        count = sum(tokens == ([] if token == EOS else [token]) for tokens in drawn)
        assert abs(count / 4000 - prob) < 4 * math.sqrt(prob * (1 - prob) / 4000) + 1e-3


def test_sampling_with_a_seed() -> None:
    model, sources = ToyModel(), toy_sources(30)
    several = DecodingSettings(sample=True, nbest=3, seed=1)
    outputs = generate(model, sources, settings=several)
    assert outputs == generate(model, sources, settings=several)
    assert outputs != generate(model, sources, settings=several.model_copy(update={"seed": 2}))
    assert all(len(each) == 3 for each in outputs)
    assert sum(len({tuple(h.tokens) for h in each}) > 1 for each in outputs) > 20
    one = generate(model, sources, settings=several.model_copy(update={"nbest": 1}))
    assert all(first[0].tokens in [h.tokens for h in each] for first, each in zip(one, outputs, strict=True))


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-3}])
def test_narrow_sampling_is_greedy(narrow: dict[str, float]) -> None:
    model, sources = ToyModel(), toy_sources(30)
    settings = DecodingSettings.model_validate({"sample": True, **narrow})
    assert_same(generate(model, sources, settings=settings), generate(model, sources, settings=GREEDY))


def test_top_k_and_top_p() -> None:
    log_probs = torch.tensor([[0.1, 0.4, 0.3, 0.2], [0.97, 0.01, 0.01, 0.01]]).log()

    def kept(sampling: Sampling) -> list[list[float]]:
        probs: list[list[float]] = sampling.distribution(log_probs).tolist()
        return [[round(p, 4) for p in row] for row in probs]

    assert kept(Sampling(top_k=2))[0] == [0.0, 0.5714, 0.4286, 0.0]
    assert [[p > 0 for p in row] for row in kept(Sampling(top_p=0.65))] == [
        [False, True, True, False],
        [True, False, False, False],
    ]
    assert [p > 0 for p in kept(Sampling(top_p=0.75))[0]] == [False, True, True, True]
    assert kept(Sampling(temperature=0.5))[0] == [0.0333, 0.5333, 0.3, 0.1333]
    assert kept(Sampling(top_k=99)) == [[0.1, 0.4, 0.3, 0.2], [0.97, 0.01, 0.01, 0.01]]


def brute_force(scores: Tensor, log_probs: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    size = log_probs.shape[1]
    values, places = (scores[:, :, None] + log_probs.view(*scores.shape, size)).flatten(1).topk(count)
    return values, places // size, places % size


@pytest.mark.parametrize("size", [6, 8 * BLOCK - 1, 8 * BLOCK, 8 * BLOCK + 1, 9 * BLOCK - 1, 2500])
@pytest.mark.parametrize("width", [1, 5])
def test_best_is_topk(size: int, width: int) -> None:
    random_ = torch.Generator().manual_seed(size)
    log_probs = torch.randn(4 * width, size, generator=random_)
    log_probs[::2, -1] += 9  # the last token, in a block that may be shorter
    log_probs = log_probs.log_softmax(1)
    log_probs[:, :3] = -torch.inf
    scores = torch.randn(4, width, generator=random_)
    scores[1:2, 1:] = -torch.inf
    for found, wanted in zip(best(scores, log_probs, 3), brute_force(scores, log_probs, 3), strict=True):
        assert torch.equal(found, wanted)
    values, rows, tokens = best(scores, log_probs, 2 * width)
    assert torch.equal(values, brute_force(scores, log_probs, 2 * width)[0])
    assert int(rows.max()) < width
    assert int(tokens.max()) < size


def test_length_penalty_is_that_of_wu() -> None:
    assert length_penalty(1, 0.6) == 1
    assert length_penalty(7, 1.0) == 2
    assert length_penalty(20, 0.6) == pytest.approx(25**0.6 / 6**0.6)
    assert length_penalty(20, 0.0) == 1


def test_scores_come_in_the_order_of_the_input() -> None:
    model, sources, targets = ToyModel(), toy_sources(33), toy_sources(33, seed=5)
    together = score_targets(model, sources, targets, batch=10)
    for source, target, score in zip(sources, targets, together, strict=True):
        (alone,) = score_targets(model, [source], [target])
        assert score.tokens == pytest.approx(alone.tokens, abs=1e-4)
        assert len(score.tokens) == len(target) + 1
        assert score.score == pytest.approx(sum(score.tokens))
    assert score_targets(model, [], []) == []


def test_probabilities_of_all_continuations_sum_to_one() -> None:
    scores = score_targets(ToyModel(), [[4, 5]] * 14, [[7, t] for t in range(14)])
    assert sum(math.exp(score.tokens[1]) for score in scores) == pytest.approx(1, abs=1e-5)


def test_scoring_refuses() -> None:
    with pytest.raises(UsageError, match="2 sources but 1 targets: give one target for each source"):
        score_targets(ToyModel(), [[4], [5]], [[4]])
    with pytest.raises(UsageError, match="batch=0: it must be at least 1"):
        score_targets(ToyModel(), [[4]], [[4]], batch=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"nbest": 6},
            "nbest=6 is more than beam=5: a beam has no more outputs than hypotheses. Set beam=6 or nbest=5.",
        ),
        ({"sample": True, "beam": 4}, "sample=true and beam=4: a beam searches, sampling draws. Choose one."),
        (
            {"temperature": 0.5, "top_k": 3},
            "temperature=0.5, top_k=3 without sample=true: only sampling uses it. Add sample=true or leave it out.",
        ),
        ({"beam": 2, "nbest": 3, "top_p": 0.5}, "nbest=3 is more than beam=2"),
        ({"beam": 2, "nbest": 3, "top_p": 0.5}, "top_p=0.5 without sample=true"),
    ],
)
def test_contradictions(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        DecodingSettings.model_validate(given)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "given", [{"beam": 0}, {"temperature": 0.0}, {"top_p": 0.0}, {"length_offset": 0}, {"beams": 3}, {"seed": -1}]
)
def test_values_out_of_bounds(given: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        DecodingSettings.model_validate(given)
    assert caught.value.errors()[0]["loc"] == (next(iter(given)),)


def test_settings_survive_json_and_describe_every_field() -> None:
    for settings in EVERY:
        assert DecodingSettings.model_validate_json(settings.model_dump_json()) == settings
    assert all(field.description for field in DecodingSettings.model_fields.values())
    assert DecodingSettings(sample=True).beam == 1
    assert len(DecodingSettings.model_fields) < 15


def test_choosers_hold_only_settings() -> None:
    assert Greedy() == Greedy()
    assert hash(Beam(3)) == hash(Beam(3))
    assert Sampling(seed=1) != Sampling(seed=2)
