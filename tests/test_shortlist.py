"""A shortlist: which words are likely for a source, a search among these, and files of it that cannot hurt."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import pairloom
from conftest import TINY
from pairloom.decoding.loop import generate
from pairloom.decoding.settings import DecodingSettings
from pairloom.engine.core import Engine
from pairloom.engine.layout import FIRST, Layout, Listed
from pairloom.engine.shortlist import room
from pairloom.engine.stored import SHORTLIST, load_shortlist
from pairloom.engine.wire import Array
from pairloom.errors import FolderError, UsageError
from pairloom.models.protocol import Model
from pairloom.storage import MANIFEST, write_manifest
from pairloom.text.corpus import Side
from pairloom.text.likely import find_likely
from pairloom.workflow.show import describe
from searches import assert_same
from test_engine import READY, SEARCHES, SIZE, engine_of, of_size, sources
from test_models import build

pytestmark = pytest.mark.usefixtures("one_thread")

PLAIN = [row for row in READY if not row[1].get("copy")]
EVERYTHING = {"by_source": np.zeros((SIZE, 0), np.uint32), "always": np.arange(SIZE, dtype=np.uint32)}


def some(size: int = SIZE, each: int = 2, seed: int = 3) -> dict[str, Array]:
    """Random lists: `each` words for every token of the source, and two that are always possible."""
    dice = np.random.default_rng(seed)
    lists = dice.integers(FIRST, size, (size, each), dtype=np.uint32)
    return {"by_source": lists, "always": np.array([FIRST, 0], np.uint32)}


def listed(engine: Engine, likely: dict[str, Array], threads: int = 1) -> Engine:
    """The same engine with a shortlist."""
    return Engine(
        engine.kind, engine.settings, engine.layout.size, engine.arrays,
        precision=engine.precision, threads=threads, likely=likely,
    )  # fmt: skip


@pytest.fixture(params=PLAIN, ids=lambda row: f"{row[0]}-{row[1]}")
def pair(request: pytest.FixtureRequest) -> tuple[str, Model]:
    kind, settings = request.param
    return kind, build(kind, settings)


def side(sentences: list[list[int]]) -> Side:
    lengths = [len(sentence) for sentence in sentences]
    tokens = np.array([token for sentence in sentences for token in sentence], np.uint16)
    return Side(tokens, np.cumsum([0, *lengths], dtype=np.int64))


# -- which words are likely --------------------------------------------------------------------------------------------


def test_what_a_token_causes_is_first_in_its_list() -> None:
    """Source token n becomes target token n + 20; 4 stands in every target; half of them hold a 50 as well."""
    dice = random.Random(1)
    said = [[dice.randrange(4, 14) for _ in range(dice.randint(1, 6))] for _ in range(400)]
    targets = [[4, *(token + 20 for token in one), *([50] * (place % 2))] for place, one in enumerate(said)]
    found = find_likely(side(said), side(targets), (16, 60), joint=False, each=3, always=1)
    assert found.always.tolist() == [4]
    assert found.by_source.shape == (16, 3)
    assert found.by_source[4:14, 0].tolist() == list(range(24, 34))
    assert not found.by_source[14:].any()
    assert 4 not in found.by_source
    joint = find_likely(side(said), side(targets), (60, 60), joint=True, each=3, always=1)
    assert joint.by_source[:, 0].tolist() == list(range(60))
    assert joint.by_source[4:14, 1].tolist() == list(range(24, 34))


def test_lists_of_next_to_nothing() -> None:
    cases: list[tuple[list[list[int]], list[list[int]]]] = [
        ([], []),
        ([[]], [[]]),
        ([[5]], [[]]),
        ([[]], [[5]]),
        ([[5]], [[6]]),
    ]
    for said, targets in cases:
        found = find_likely(side(said), side(targets), (8, 8), joint=False)
        assert found.by_source.dtype == found.always.dtype == np.uint32
        assert found.always.tolist() == [token for one in targets for token in one]


def test_of_many_pairs_only_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pairloom.text.likely.MOST", 30)
    said = [[4 + place % 3] for place in range(90)]
    found = find_likely(
        side(said), side([[one + 10 for (one,) in [row]] for row in said]), (8, 20), joint=False, always=0
    )
    assert set(found.by_source[4:7, 0].tolist()) <= {0, 14, 15, 16}
    assert found.by_source.any()


# -- the search --------------------------------------------------------------------------------------------------------


def test_a_list_of_everything_changes_nothing(pair: tuple[str, Model]) -> None:
    kind, model = pair
    engine, asked = listed(engine_of(kind, model), EVERYTHING), sources(13)
    for settings in SEARCHES:
        wanted = generate(model, asked, settings=settings)
        for batch in (64, 1):
            assert_same(engine.generate(asked, settings.model_copy(update={"batch": batch})), wanted)


def test_a_list_of_everything_in_int8_is_int8(pair: tuple[str, Model]) -> None:
    kind, model = pair
    plain, settings = engine_of(kind, model, "int8"), DecodingSettings(beam=1, max_length=4)
    asked = sources(40)
    found, wanted = (one.generate(asked, settings) for one in (listed(plain, EVERYTHING), plain))
    same = [(a[0].score, b[0].score) for a, b in zip(found, wanted, strict=True) if a[0].tokens == b[0].tokens]
    assert len(same) > 0.9 * len(asked)
    assert np.abs([a - b for a, b in same]).max() < 0.05


def test_nothing_is_said_that_is_not_listed_and_company_changes_nothing(pair: tuple[str, Model]) -> None:
    kind, model = pair
    asked, likely = sources(13), some()
    for settings in SEARCHES:
        together = listed(engine_of(kind, model), likely, threads=2).generate(asked, settings)
        for source, outputs in zip(asked, together, strict=True):
            possible = {FIRST, *likely["by_source"][np.array(source, np.int64)].ravel().tolist()}
            assert all(set(one.tokens) <= possible for one in outputs)
        for batch in (1, 4):
            other = settings.model_copy(update={"batch": batch})
            assert_same(listed(engine_of(kind, model), likely).generate(asked, other), together)


def test_a_large_vocabulary_goes_through_blocks_of_what_is_listed() -> None:
    import torch

    torch.manual_seed(3)
    for size, each in ((1100, 300), (5000, 400)):
        _, plain, asked = of_size(size)
        whole = {"by_source": np.zeros((size, 0), np.uint32), "always": np.arange(size, dtype=np.uint32)}
        few = some(size, each)
        for search in (SEARCHES[0], SEARCHES[2], DecodingSettings(beam=9, nbest=3)):
            assert_same(listed(plain, whole).generate(asked, search), plain.generate(asked, search))
            alone = search.model_copy(update={"batch": 1})
            assert_same(listed(plain, few).generate(asked, search), listed(plain, few).generate(asked, alone))


def test_a_list_without_words_says_nothing(pair: tuple[str, Model]) -> None:
    kind, model = pair
    nothing = {"by_source": np.zeros((SIZE, 1), np.uint32), "always": np.zeros(0, np.uint32)}
    for settings in (SEARCHES[0], SEARCHES[2]):
        for outputs in listed(engine_of(kind, model), nothing).generate(sources(5), settings):
            assert [one.tokens for one in outputs] == [[]]


@pytest.mark.parametrize("words", [0, 1, 256, 257, 400, 1000, 1025, 30_000])
def test_there_are_few_sizes_of_graphs(words: int) -> None:
    assert room(words) >= words
    assert room(words) <= max(256, 1.51 * words)
    assert len({room(one) for one in range(1, 30_001, 50)}) <= 15


@pytest.mark.parametrize("size", [6, 900, 1100])
def test_the_order_of_a_list_is_that_of_a_vocabulary_of_its_size(size: int) -> None:
    words = tuple(range(10_000, 10_000 + size - FIRST - 1))
    order, own = Listed(size, words), Layout(size)
    assert (order.length, order.end, order.never, order.block) == (own.length, own.end, own.never, own.block)
    said = order.ids[: order.end]
    assert said[said >= 0].tolist() == list(words)
    assert order.ids[order.end] == 3
    assert sorted(order.ids[order.never :][order.ids[order.never :] >= 0].tolist()) == [0, 1, 2]


# -- the folder --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tiny_model_dir: Path, tiny_pairs: Path, tmp_path: Path, ask: Any) -> Path:
    """A model folder with a shortlist, to be changed."""
    path = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    made = ask("export", path, "--to", "shortlist", "--pairs", tiny_pairs)
    assert made.code == 0, made.err
    assert "likely words for each token" in made.out
    return path


def test_the_commands_use_it(folder: Path, tiny_pairs: Path, ask: Any) -> None:
    words = ("generate", folder, "--precision", "float32", "--beam", 3)
    stdin = b"abc\n\nhgfe\nab\n"
    assert ask(*words, "--shortlist", stdin=stdin).out == ask(*words, stdin=stdin).out  # so few words are all likely
    assert ask("evaluate", folder, tiny_pairs, "--shortlist", "--json").code == 0
    drawn = ask("generate", folder, "--shortlist", "--sample", stdin=stdin)
    assert (drawn.code, drawn.out) == (2, "")
    assert "cannot do this (sampling): leave --shortlist out" in drawn.err
    refused = ask("generate", folder, "--shortlist", "--engine", "torch", stdin=stdin)
    assert (refused.code, "leave --shortlist out" in refused.err) == (2, True)
    assert ask("show", folder).code == 0


def test_an_engine_made_anew_keeps_it(folder: Path, ask: Any) -> None:
    before = (folder / "engine" / SHORTLIST).read_bytes()
    assert ask("export", folder, "--to", "engine").code == 0
    assert (folder / "engine" / SHORTLIST).read_bytes() == before
    assert pairloom.load(folder, shortlist=True).generate(["abc"])


def test_without_one_it_is_refused_with_the_remedy(tiny_model_dir: Path, ask: Any) -> None:
    with pytest.raises(UsageError, match=r"has no shortlist: `pairloom export .* --to shortlist --pairs PAIRS"):
        pairloom.load(tiny_model_dir, shortlist=True)
    assert "name them with --pairs" in ask("export", tiny_model_dir, "--to", "shortlist").err
    assert "--dev is of --to engine" in ask("export", tiny_model_dir, "--to", "engine", "--pairs", "x.tsv").err


def test_a_run_makes_one_where_it_is_worth_it(
    tiny_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pairloom.workflow.run.WORTH_IT", 5)
    pairloom.train(tiny_pairs, out=tmp_path / "plain", **TINY)
    assert pairloom.load(tmp_path / "plain", shortlist=True).generate(["abc"])
    describe(tmp_path / "plain")


def _changed(**arrays: Any) -> Callable[[Path], None]:
    def change(place: Path) -> None:
        found = {**load_file(place), **arrays}
        save_file({name: array for name, array in found.items() if array is not None}, place)
        write_manifest(place.parent)

    return change


def _unlisted(place: Path) -> None:
    manifest = place.parent / MANIFEST
    lines = manifest.read_text("utf-8").splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if SHORTLIST not in line), "utf-8")


def _linked(place: Path) -> None:
    place.rename(place.parent.parent / "elsewhere")
    place.symlink_to(place.parent.parent / "elsewhere")


def _enormous(place: Path) -> None:
    with place.open("r+b") as file:
        file.truncate(10**12)


def _flipped(place: Path) -> None:
    content = bytearray(place.read_bytes())
    content[-1] ^= 1
    place.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_changed(always=np.array([10**6], np.uint32)), "always lists word 1000000 of"),
        (_changed(always=np.arange(3, dtype=np.float32)), "always is float32"),
        (_changed(always=None), "always is missing"),
        (_changed(always=np.zeros(10**5, np.uint32)), r"larger than|always is uint32 \[100000\]"),
        (_changed(always=np.zeros((), np.uint32)), "always is uint32"),
        (_changed(by_source=np.zeros((3, 2), np.uint32)), r"by_source is uint32 \[3, 2\]"),
        (_changed(by_source=np.zeros(7, np.uint32)), "by_source is uint32"),
        (_changed(more=np.zeros(1, np.uint32)), "more does not belong"),
        (_unlisted, "not in MANIFEST"),
        (_linked, "missing|link"),
        (_enormous, "larger than"),
        (_flipped, "damaged"),
    ],
)
def test_a_file_that_cannot_be_is_refused(folder: Path, harm: Callable[[Path], None], said: str) -> None:
    settings = pairloom.load(folder).folder.settings
    assert load_shortlist(folder, settings).keys() == {"by_source", "always"}
    harm(folder / "engine" / SHORTLIST)
    with pytest.raises(FolderError, match=said):
        load_shortlist(folder, settings)
    pairloom.load(folder)  # who does not ask for it does not open it


def test_a_model_that_copies_has_none(tiny_model_dir: Path) -> None:
    settings = pairloom.load(tiny_model_dir).folder.settings
    copying = settings.model_copy(update={"joint": True, "model": {**settings.model, "copying": True}})
    with pytest.raises(UsageError, match="a model that copies"):
        load_shortlist(tiny_model_dir, copying)
