"""Recipes: every shipped one is valid, full-size ones learn, a user's word wins, wrong ones are told what is right."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch

import pairloom
from conftest import TINY
from pairloom.errors import DataError, UsageError
from pairloom.folder import FolderSettings, SideSettings
from pairloom.learning import optimisation
from pairloom.learning.events import Finished, Note, Step
from pairloom.learning.loss import backward_in_chunks, loss_and_exact
from pairloom.learning.settings import TrainingSettings
from pairloom.models import SETTINGS
from pairloom.models.protocol import BOS, EOS, Model
from pairloom.recipes.load import Recipe, read_recipe
from pairloom.recipes.shelf import SHELVES, names
from pairloom.weights import build_model
from pairloom.workflow import events as ev
from pairloom.workflow.choices import choose
from pairloom.workflow.show import describe

SHIPPED = [(word, name) for word in SHELVES for name in names(word)]
SMALL = [name for name in names("recipe") if name.endswith("-small")]
RATES = {name: 0.001 if name.startswith("vaswani") else 0.002 for name in SMALL}
LATER = {"rnn", "transformer", "hybrid"} - set(SETTINGS)
"""Kinds of model that are on their way; a recipe for one is tested as far as that goes."""


def kind_of(word: str, name: str) -> str | None:
    content = tomllib.loads((SHELVES[word] / f"{name}.toml").read_text("utf-8"))
    return Recipe.model_validate(content).kind


def built(recipe: Recipe) -> Model:
    """The model of a recipe, with fifty words on each side."""
    side = SideSettings(unit="word", size=50, max_tokens=50)
    settings = FolderSettings(
        schema=1,
        pairloom="0",
        kind=str(recipe.kind),
        model=recipe.model,
        source=side,
        target=side,
        joint=bool(recipe.joint),
    )
    return build_model(settings)


def parameters(model: Model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_tasks_and_papers_are_there() -> None:
    tasks = ("chat", "dates", "inflect", "modernize", "pronounce", "spell", "summarize", "translate")
    assert names("task") == tasks
    papers = {name.removesuffix("-small").removesuffix("-base") for name in names("recipe")}
    assert papers == {"sutskever-2014", "bahdanau-2015", "luong-2015", "vaswani-2017"}
    assert len(names("recipe")) == 2 * len(papers)


@pytest.mark.parametrize(("word", "name"), SHIPPED)
def test_every_shipped_recipe_is_valid(word: str, name: str) -> None:
    kind = kind_of(word, name)
    if kind in LATER:
        with pytest.raises(UsageError, match=f"'{kind}' is no kind of model"):
            read_recipe(word, name)
        return
    recipe = read_recipe(word, name)
    settings = choose(pairs=("x",), **{word: name})
    assert settings.origin == f"{word} {name}"
    assert settings.decided
    assert settings.metrics == recipe.metrics
    assert settings.kind == (recipe.kind or "attention")


@pytest.mark.parametrize("name", [name for name in names("recipe") if not name.endswith("-small")])
def test_a_full_size_recipe_learns(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As published but for the vocabulary: two updates bring the loss of one tiny batch down."""
    # Orthogonal matrices of this size take half a minute; these first weights are those of Sutskever et al. instead.
    monkeypatch.setattr(torch.nn.init, "orthogonal_", lambda tensor: torch.nn.init.uniform_(tensor, -0.08, 0.08))
    if kind_of("recipe", name) in LATER:
        assert kind_of("recipe", name) not in SETTINGS
        return
    torch.manual_seed(0)
    recipe = read_recipe("recipe", name)
    model = built(recipe)
    assert parameters(model) > 20e6
    training = TrainingSettings.model_validate({"steps": 2, **recipe.training})
    model.eval()  # without dropout, so that the losses can be compared
    optimizer = optimisation.build(model, training)
    for group in optimizer.param_groups:
        group["lr"] = training.learning_rate / max(1, training.warmup)  # a schedule begins there, not at its peak
    ids = torch.randint(4, 50, (2, 4), generator=torch.Generator().manual_seed(0))
    ends = torch.full((2, 1), EOS)
    target_in, target_out = torch.cat([torch.full((2, 1), BOS), ids], 1), torch.cat([ids, ends], 1)

    def hidden() -> torch.Tensor:
        memory = model.encode(target_out, torch.ones_like(target_out, dtype=torch.bool))
        return model.decode(target_in, memory, model.start(memory)).hidden

    losses = []
    for _ in range(2):
        flat, count = hidden().flatten(0, 1), target_out.numel()
        losses.append(float(backward_in_chunks(flat, target_out.flatten(), model.logits, 0.0, count)))
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        mask = torch.ones_like(target_out, dtype=torch.bool)
        losses.append(loss_and_exact(hidden(), mask, target_out, model.logits)[0])
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", SMALL)
def test_a_small_recipe_makes_two_updates(name: str, tiny_pairs: Path, tmp_path: Path) -> None:
    """In a run of its own, in its own size, but for the vocabulary."""
    recipe = read_recipe("recipe", name)
    quick: dict[str, Any] = {"steps": 2, "vocabulary": 300, "threads": 1, "precision": "float32"}
    seen: list[ev.Event] = []
    for event in pairloom.training(tiny_pairs, out=tmp_path / "m", recipe=name, **quick):
        seen.append(event)
        if isinstance(event, Finished):
            break
    (step,) = [event for event in seen if isinstance(event, Step)]
    assert math.isfinite(step.loss)
    assert seen[-1].step == 2  # type: ignore[union-attr]
    assert not [event for event in seen if isinstance(event, Note)]  # such as of an update that was skipped
    written = json.loads((tmp_path / "m" / "config.json").read_text("utf-8"))
    assert written["kind"] == recipe.kind
    assert recipe.model.items() <= written["model"].items()


@pytest.mark.parametrize("name", SMALL)
def test_a_small_recipe_is_smaller_than_the_full_one_and_says_how_fast_it_learns(name: str) -> None:
    small = read_recipe("recipe", name)
    (full,) = {name.removesuffix("-small"), name.replace("-small", "-base")} & set(names("recipe"))
    with torch.device("meta"):  # numbers of parameters without the parameters
        assert parameters(built(small)) < parameters(built(read_recipe("recipe", full))) / 4
    assert choose(pairs=("x",), recipe=name).training["learning_rate"] == RATES[name]


def test_the_user_wins_over_the_recipe_and_the_recipe_over_the_data() -> None:
    own = choose(pairs=("x",), task="dates", steps=7, source_unit="byte", metrics=("wer",))
    assert (own.steps, own.minutes) == (7, None)
    assert (own.source_unit, own.target_unit) == ("byte", "character")
    assert own.metrics == ("wer",)
    assert own.decided == ("target_unit character",)
    by_recipe = choose(pairs=("x",), task="dates")
    assert (by_recipe.minutes, by_recipe.steps) == (3, None)
    copying = choose(pairs=("x",), task="spell", model={"hidden": 32})
    assert copying.model == {"copy": True, "hidden": 32}
    assert "model.copy yes" in copying.decided
    assert choose(pairs=("x",), task="spell", model={"copy": False}).model == {"copy": False}


def test_a_recipe_loses_its_model_to_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SETTINGS, "another", SETTINGS["attention"])
    assert choose(pairs=("x",), task="spell", kind="another").model == {}
    assert choose(pairs=("x",), task="inflect").training == {"learning_rate": 2e-3}
    assert choose(pairs=("x",), task="inflect", kind="another").training == {}


def test_a_beam_asked_for_ends_a_recipes_sampling() -> None:
    assert choose(pairs=("x",), task="chat").generation["sample"] is True
    assert choose(pairs=("x",), task="chat", generation={"beam": 3}).generation == {"beam": 3, "no_repeat_ngram": 3}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("about = 'x'\nkin = 'attention'\n", "kin: there is no such key; allowed: about, kind, source_unit"),
        ("kind = 'attention'\n", "about: Field required"),
        ("about = 'x'\nkind = 'lstm'\n", "kind: 'lstm' is no kind of model; allowed: rnn, attention, tr"),
        ("about = 'x'\n[model]\nhidden = 3\n", "model: these are settings of a kind of model, so `kind` is needed"),
        ("about = 'x'\nkind = 'attention'\n[model]\nhiden = 3\n", "model.hiden: there is no such key; allowed: embed"),
        ("about = 'x'\nkind = 'attention'\n[model]\nhidden = 0\n", "model.hidden: Input should be greater than or"),
        ("about = 'x'\n[training]\nrate = 3\n", "training.rate: there is no such key; allowed: most_epochs"),
        ("about = 'x'\n[training]\nminutes = 3\n", "training.minutes: a budget stands above the sections"),
        ("about = 'x'\nminutes = 3\nsteps = 3\n", "minutes, steps: one budget at most"),
        ("about = 'x'\n[generation]\nbeams = 3\n", "generation.beams: there is no such key; allowed: beam, nbest"),
        ("about = 'x'\n[generation]\ntop_k = 3\n", "generation: top_k=3 without sample=true"),
        ("about = 'x'\nmetrics = ['blue']\n", "metrics: unknown metric 'blue'; known are bleu"),
        ("about = 'x'\ncolumns = 'source=1'\n", "columns 'source=1': target missing"),
        ("about = 'x\n", "is not TOML"),
    ],
)
def test_a_wrong_recipe_is_told_what_is_right(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content, "utf-8")
    with pytest.raises(UsageError) as raised:
        read_recipe("recipe", str(path))
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


def test_an_unknown_name_is_told_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no task is called 'pronunce'; did you mean pronounce") as raised:
        read_recipe("task", "pronunce")
    assert "there are: chat, dates, inflect" in str(raised.value)
    with pytest.raises(UsageError, match="no recipe is called 'chat'; --task chat is one"):
        read_recipe("recipe", "chat")
    with pytest.raises(UsageError, match=r"no task is called '\.\./tasks/chat'"):
        read_recipe("task", "../tasks/chat")
    with pytest.raises(DataError, match=r"none\.toml: cannot be read"):
        read_recipe("recipe", str(tmp_path / "none.toml"))
    with pytest.raises(UsageError, match="--task chat and --recipe luong-2015 are both recipes: choose one"):
        choose(pairs=("x",), task="chat", recipe="luong-2015")


def test_a_recipe_of_ones_own_from_training_to_the_folder(tiny_pairs: Path, tmp_path: Path) -> None:
    """It decides, is recorded and shown, and another one is refused on the same folder."""
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        "about = 'x'\nmetrics = ['exact', 'chrf']\nmerge = true\nsteps = 20\n[generation]\nsample = true\ntop_k = 3\n",
        "utf-8",
    )
    settings: dict[str, Any] = {key: value for key, value in TINY.items() if key != "steps"}
    out = tmp_path / "model"
    events = list(pairloom.training(tiny_pairs, out=out, recipe=str(recipe), **settings))
    said = getattr(events[0], "lines")[0]  # noqa: B009
    assert said == (
        "recipe mine.toml: steps 20, metrics exact + chrf, merge yes, generation.sample yes, generation.top_k 3"
    )
    model = pairloom.load(out)
    assert model.folder.generation["sample"] is True
    assert "beam" not in model.folder.generation
    training = json.loads((out / "training.json").read_text("utf-8"))
    assert training["run"]["recipe"] == "mine.toml"
    assert [score["metric"] for score in training["development"]["scores"]] == ["exact", "chrf"]
    assert any(line.startswith("recipe      mine.toml: steps 20, metrics") for line in describe(out).lines())
    assert [score.metric for score in model.evaluate(tiny_pairs).scores] == ["exact", "chrf"]
    drawn = model.generate(["abc"] * 20)  # each line has a random stream of its own
    assert len(set(drawn)) > 1
    assert len(set(model.generate(["abc"] * 20, beam=2))) == 1
    assert not list(pairloom.training(tiny_pairs, out=out, recipe=str(recipe), **settings))  # finished already
    with pytest.raises(UsageError, match=r"recipe: 'mine.toml' there, None now"):
        list(pairloom.training(tiny_pairs, out=out, steps=20, **settings))


def test_answers_to_one_question_are_judged_together(tiny_model_dir: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "several.tsv"
    pairs.write_text("ab\tba\nab\tab\ncd\tdc\n", "utf-8")
    model = pairloom.load(tiny_model_dir)
    assert model.evaluate(pairs).lines == 3
    assert model.evaluate(pairs, merge=True).lines == 2


def test_a_group_of_metrics_can_come_first(tiny_model_dir: Path, tiny_pairs: Path) -> None:
    found = pairloom.load(tiny_model_dir).evaluate(tiny_pairs, ["rouge", "exact"])
    assert [score.metric for score in found.scores] == ["rouge1", "rouge2", "rougeL", "exact"]
    assert found.by_length[0].score.metric == "rouge1"
