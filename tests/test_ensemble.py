"""Several models as one: the mean of their probabilities, through the same search and the same scorer."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pairloom
from pairloom.decoding.ensemble import as_one
from pairloom.decoding.generator import Generator
from pairloom.decoding.loop import generate
from pairloom.decoding.scoring import score_targets
from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import FolderError, UsageError
from pairloom.folder import FolderSettings, SideSettings
from pairloom.models.attention import AttentionModel, AttentionSettings
from pairloom.models.ensemble import Ensemble, EnsembleState
from pairloom.models.protocol import BOS, EOS
from pairloom.text.tokenizer import Tokenizer, train_tokenizer
from pairloom.weights import ModelFolder, build_model, with_weights
from pairloom.workflow.model import Model
from searches import (
    EVERY,
    EVERY_ID,
    GREEDY,
    SAMPLING,
    assert_a_beam_of_one_is_greedy,
    assert_a_wide_beam_is_exhaustive,
    assert_interleaved_streams_are_separate,
    assert_same,
    assert_scores_are_the_scorer_s,
)
from toy import ToyModel, toy_sources

pytestmark = pytest.mark.usefixtures("one_thread")


def together(*members: Any) -> Ensemble:
    return Ensemble(members).eval()


def lstm(seed: int, **changes: Any) -> AttentionModel:
    """A small attention model over the vocabulary of the toys, with weights that are not near zero."""
    torch.manual_seed(seed)
    sizes = {"embedding": 6, "encoder_hidden": 4, "hidden": 10, **changes}
    model = AttentionModel(AttentionSettings(**sizes), 14, 14)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


# -- the model ---------------------------------------------------------------------------------------------------------


def test_probabilities_are_averaged() -> None:
    members = [ToyModel(seed=seed).eval() for seed in (1, 2, 3)]
    source, mask = torch.tensor([[5, 7, EOS], [6, EOS, 0]]), torch.tensor([[True, True, True], [True, True, False]])
    tokens = torch.tensor([[BOS, 8, 9], [BOS, 4, 4]])

    def probabilities(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
        memory = model.encode(source, mask)
        step = model.decode(tokens, memory, model.start(memory), attention=True)
        return model.logits(step.hidden).softmax(2), step.attention

    each, looks = zip(*[probabilities(member) for member in members], strict=True)
    mean, look = probabilities(together(*members))
    torch.testing.assert_close(mean, (each[0] + each[1] + each[2]) / 3)
    torch.testing.assert_close(look, (looks[0] + looks[1] + looks[2]) / 3)
    ensemble = together(*members)
    memory = ensemble.encode(source, mask)
    step = ensemble.decode(tokens, memory, ensemble.start(memory))
    torch.testing.assert_close(ensemble.logits(step.hidden).exp().sum(2), torch.ones(2, 3))
    assert step.attention is None


def test_what_no_member_finds_possible_is_impossible_and_not_nan() -> None:
    members = [ToyModel(seed=seed) for seed in (1, 2)]
    with torch.no_grad():
        for member in members:
            member.bias[6] = -math.inf
        members[0].bias[7] = -math.inf
    (six, seven) = score_targets(together(*members), [[4], [4]], [[6], [7]])
    (alone,) = score_targets(members[1], [[4]], [[7]])
    assert six.tokens[0] == -math.inf
    assert seven.tokens[0] == pytest.approx(alone.tokens[0] - math.log(2), abs=1e-5)


@pytest.mark.parametrize("settings", EVERY, ids=EVERY_ID)
def test_one_model_twice_is_that_model(settings: DecodingSettings) -> None:
    for model in (ToyModel(), lstm(1)):
        sources = toy_sources(30)
        assert_same(
            generate(together(model, model), sources, settings=settings), generate(model, sources, settings=settings)
        )
    scores = zip(
        score_targets(together(model, model), sources, sources), score_targets(model, sources, sources), strict=True
    )
    assert all(one.tokens == pytest.approx(other.tokens, abs=1e-5) for one, other in scores)


@pytest.mark.parametrize("settings", EVERY, ids=EVERY_ID)
def test_company_the_order_of_members_and_the_scorer(settings: DecodingSettings) -> None:
    members = [ToyModel(seed=1), lstm(2), lstm(3, decoder_layers=2, attention="dot")]  # of different make
    model, sources = together(*members), toy_sources(40)
    outputs = generate(model, sources, settings=settings)
    alone = [generate(model, sources[:9], settings=settings.model_copy(update={"batch": batch})) for batch in (1, 4)]
    for few in alone:
        assert_same(few, outputs[:9])
    assert_same(generate(together(*reversed(members)), sources, settings=settings), outputs)
    assert_scores_are_the_scorer_s(model, sources, settings)


def test_an_ensemble_says_what_no_member_would() -> None:
    members, sources = [ToyModel(seed=seed) for seed in (1, 2)], toy_sources(30)
    said = generate(together(*members), sources, settings=GREEDY)
    for member in members:
        assert [each[0].tokens for each in said] != [
            each[0].tokens for each in generate(member, sources, settings=GREEDY)
        ]


@pytest.mark.parametrize("settings", [GREEDY, SAMPLING], ids=["greedy", "sampling"])
def test_interleaved_streams_share_an_ensemble(settings: DecodingSettings) -> None:
    sources = [source for source in toy_sources(8) if source]
    assert_interleaved_streams_are_separate(together(ToyModel(seed=1), lstm(2)), sources, settings)


@pytest.mark.parametrize("length", [1, 7])
def test_decoding_all_at_once_is_decoding_step_by_step(length: int) -> None:
    model = together(ToyModel(seed=1), lstm(2), lstm(3, decoder_layers=2, attention="dot", input_feeding=True))
    source, mask = torch.tensor([[5, 7, EOS], [6, EOS, 0]]), torch.tensor([[True, True, True], [True, True, False]])
    tokens = torch.cat([torch.full((2, 1), BOS), torch.randint(4, 14, (2, length - 1))], dim=1)
    memory = model.encode(source, mask)
    whole = model.decode(tokens, memory, model.start(memory), attention=True)
    state, hidden, looks = model.start(memory), [], []
    for t in range(length):
        step = model.decode(tokens[:, t : t + 1], memory, state, attention=True)
        assert isinstance(step.state, EnsembleState)
        state = step.state
        hidden.append(step.hidden)
        looks += [] if step.attention is None else [step.attention]
    assert whole.attention is not None
    torch.testing.assert_close(torch.cat(hidden, 1), whole.hidden, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.cat(looks, 1), whole.attention, atol=1e-5, rtol=1e-5)
    assert isinstance(whole.state, EnsembleState)
    for ours, theirs in zip(state.members, whole.state.members, strict=True):
        for one, other in zip(vars(ours).values(), vars(theirs).values(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_beam_of_one_is_greedy_and_a_wide_one_exhaustive() -> None:
    assert_a_beam_of_one_is_greedy(together(ToyModel(seed=1), lstm(2)), toy_sources(30))
    small = together(*(ToyModel(size=6, seed=seed) for seed in (1, 2, 3)))
    assert_a_wide_beam_is_exhaustive(small, toy_sources(8, size=6), alpha=1.0, nbest=5)


def test_two_threads_share_an_ensemble() -> None:
    model, sources = together(ToyModel(seed=1), lstm(2)), toy_sources(40)
    halves = [sources[:20], sources[20:]]
    wanted = [generate(model, half, settings=GREEDY) for half in halves]
    found: dict[int, Any] = {}

    def work(number: int) -> None:
        found[number] = generate(model, halves[number], settings=GREEDY)

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_same(found[0], wanted[0])
    assert_same(found[1], wanted[1])


def test_contexts_stand_one_after_the_other() -> None:
    members = [lstm(1), lstm(2, hidden=7)]
    source, mask = torch.tensor([[5, 7, EOS]]), torch.ones(1, 3, dtype=torch.bool)
    each = [member.context(member.encode(source, mask)) for member in members]
    model = together(*members)
    assert model.context(model.encode(source, mask)).tolist() == torch.cat(each, 1).tolist()


# -- folders -----------------------------------------------------------------------------------------------------------

WORDS = ["abc", "fed", "aaaa", "bdf"]


def folder(path: str, tokenizer: Tokenizer, *, form: Any = "NFC", most: int = 400, seed: int = 0) -> ModelFolder:
    """As it would be loaded from `path`, with random weights."""
    side = SideSettings(unit=tokenizer.unit, size=tokenizer.size, max_tokens=most)
    sizes = {"embedding": 8, "encoder_hidden": 8, "hidden": 8}
    settings = FolderSettings(
        schema=1, pairloom="0", kind="attention", model=sizes, source=side, target=side, joint=False, normal_form=form
    )
    torch.manual_seed(seed)
    generation = {"beam": 2 + seed, "max_length": 9}
    return ModelFolder(Path(path), settings, tokenizer, tokenizer, generation, {}, model=build_model(settings).eval())


def test_an_ensemble_is_asked_like_its_first_member_and_reads_as_little_as_the_least() -> None:
    characters = train_tokenizer(WORDS, "character")
    members = [folder("a", characters, most=9), folder("b", train_tokenizer(WORDS, "character"), most=3, seed=1)]
    generator = Generator(*members)
    assert generator.settings().beam == 2
    assert generator.folder.members == tuple(members)
    assert [output.cut for output in generator.generate(["abc", "abcdf"], generator.settings())] == [0, 2]
    assert as_one(members[:1]) is members[0]
    assert isinstance(generator.plain.model, Ensemble)
    assert Model(*members).encode(["abc", "fed"]).shape == (2, 16)
    with pytest.raises(UsageError, match="no folder of a model was given"):
        pairloom.load([])


def test_every_difference_is_named() -> None:
    first = folder("runs/a", train_tokenizer(WORDS, "character"))
    others = [
        folder("runs/more", train_tokenizer([*WORDS, "xyz"], "character")),
        folder("runs/else", train_tokenizer(["abc", "fed", "aaaa", "bdx", "xf"], "character")),
        folder("runs/order", train_tokenizer(["fff", *WORDS], "character"), form="NFKC"),
        folder("runs/unit", train_tokenizer(WORDS, "byte")),
    ]
    with pytest.raises(FolderError) as caught:
        Generator(first, folder("runs/same", train_tokenizer(WORDS[::-1], "character"), seed=3), *others)
    *remedy, a, b, c, d, e, f, g, h, i = str(caught.value).split("\n")
    assert "Train all of them on the same pairs, with the same --dev or --split-seed" in "\n".join(remedy)
    assert a == "  runs/more: its tokenizer.source.json has other tokens (13 entries, not 10), as in runs/a"
    assert b == "  runs/more: its tokenizer.target.json has other tokens (13 entries, not 10), as in runs/a"
    assert [line.split(":")[0] for line in (c, d, e, f, g, h, i)] == [
        *["  runs/else"] * 2,
        *["  runs/order"] * 3,
        *["  runs/unit"] * 2,
    ]
    assert g == "  runs/order: its normal form is NFKC, not NFC, as in runs/a"
    assert i == "  runs/unit: the unit of its target is byte, not character, as in runs/a"


def test_seeds_change_the_model_and_not_its_tokens(tiny_pairs: Path, tmp_path: Path) -> None:
    sizes = {"embedding": 8, "encoder_hidden": 8, "hidden": 8}
    quick: dict[str, Any] = {"steps": 2, "threads": 1, "precision": "float32", "model": sizes, "vocabulary": 300}
    units: dict[str, Any] = {"source_unit": "bpe", "target_unit": "bpe", "joint": False}
    for seed in (1, 2):
        pairloom.train(tiny_pairs, out=tmp_path / str(seed), seed=seed, **quick, **units)
    both = pairloom.load(tmp_path / "1", tmp_path / "2")
    assert len(both.folder.members) == 2
    first, second = (with_weights(member).model.state_dict() for member in both.folder.members)
    assert not torch.equal(first["combine.weight"], second["combine.weight"])
    listed = pairloom.load([tmp_path / "1", str(tmp_path / "2")])
    np.testing.assert_allclose(both.score([("abc", "cba")]), listed.score([("abc", "cba")]))
    pairloom.train(tiny_pairs, out=tmp_path / "split", split_seed=2, **quick, **units)
    with pytest.raises(FolderError, match=r"its tokenizer\.(source|target)\.json has other tokens"):
        pairloom.load(tmp_path / "1", tmp_path / "split")
