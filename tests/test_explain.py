"""`POST /explain`: the replay of a decoding as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pairloom

pytest.importorskip("fastapi", reason="the server is not installed: pip install '.[serve]'")
testclient = pytest.importorskip("fastapi.testclient", reason="httpx is not installed: pip install '.[test]'")


@pytest.fixture(scope="module")
def client(tiny_model_dir: Path) -> Iterator[Any]:
    """A client of a server with the tiny model."""
    from pairloom.server.app import create_app
    from pairloom.server.settings import ServerSettings
    from pairloom.server.shelf import open_shelf

    with testclient.TestClient(
        create_app(open_shelf([tiny_model_dir], []), ServerSettings(workers=1)), base_url="http://127.0.0.1"
    ) as client:
        yield client


def test_the_replay_as_json_is_that_of_python(client: Any, tiny_model_dir: Path) -> None:
    found = client.post("/explain", json={"text": "abcd", "target": "dcb", "beam": 3}).json()
    known = pairloom.load(tiny_model_dir).replay("abcd", "dcb", beam=3)
    assert found["source_tokens"] == ["a", "b", "c", "d", "</s>"]
    assert (found["schema"], found["model"], found["kind"], found["cut"]) == (1, "tiny", "attention", 0)
    assert known.forced is not None
    for name, steps in (("free", known.free), ("forced", known.forced)):
        assert found[name]["text"] == steps.text
        assert found[name]["scores"] == pytest.approx(steps.scores, abs=1e-4)
        assert found[name]["ranks"] == steps.ranks
        assert found[name]["attention"] == pytest.approx(np.asarray(steps.attention), abs=1e-4)
        assert [len(step) for step in found[name]["alternatives"]] == [10] * len(steps.tokens)
    assert known.trace is not None
    endings = [(ending["path"], ending["finished"]) for ending in found["beam"]["endings"]]
    assert endings == [(list(ending.path), ending.finished) for ending in known.trace.endings]
    assert found["beam"]["endings"][0]["text"] == found["free"]["text"]
    assert [len(step) for step in found["beam"]["steps"]] == [len(step) for step in known.trace.steps]


def test_a_context_vector_can_be_made_of_what_is_sent(client: Any, tiny_model_dir: Path) -> None:
    """The page averages the units and the places by the weights of any layer and head: both maps are affine."""
    found = client.post("/explain", json={"text": "abcde"}).json()
    known = pairloom.load(tiny_model_dir).replay("abcde")
    weights, states = np.array(found["free"]["attention"]), found["states"]
    contexts = known.contexts(known.free)
    assert contexts is not None
    assert weights @ np.array(states["values"]) == pytest.approx(contexts[:, states["units"]], abs=1e-3)
    assert np.array(states["places"]).shape == (6, 2)
    assert states["size"] == 32
    assert 0 < sum(states["shares"]) <= 1.0001


def test_without_attention_there_is_one_vector(tiny_pairs: Path, tmp_path: Path) -> None:
    from conftest import TINY
    from pairloom.server.explain import replay_as_json
    from pairloom.server.shelf import Served

    sizes = {"hidden": 16, "embedding": 16, "layers": 1}
    model = pairloom.train(tiny_pairs, out=tmp_path / "rnn", kind="rnn", **{**TINY, "steps": 3, "model": sizes})
    found = replay_as_json(Served("rnn", model), model.replay("abc"))
    assert found["free"]["attention"] is None
    assert found["free"]["heads"] is None
    assert "places" not in found["states"]
    assert [len(values) for values in found["states"]["values"]] == [32]  # hidden and cell of its one layer


def test_what_was_drawn_has_no_beam_and_is_drawn_again_by_its_seed(client: Any) -> None:
    asked = {"text": "abcde", "sample": True, "seed": 7}
    first, second = (client.post("/explain", json=asked).json() for _ in range(2))
    assert first["beam"] is None
    assert first["free"] == second["free"]
    streamed = client.post("/generate", json={"texts": ["abcde"], "sample": True, "seed": 7, "stream": True}).text
    assert json.loads(streamed.split("data: ")[-1])["text"] == first["free"]["text"]


def test_an_ensemble_is_replayed_with_what_its_members_share(tiny_model_dir: Path) -> None:
    from pairloom.server.explain import replay_as_json
    from pairloom.server.shelf import Served

    both = pairloom.load(tiny_model_dir, tiny_model_dir)
    alone = pairloom.load(tiny_model_dir).replay("abc")
    found = replay_as_json(Served("both", both), both.replay("abc"))
    assert found["free"]["text"] == alone.free.text
    assert found["free"]["attention"] == pytest.approx(np.asarray(alone.free.attention), abs=1e-4)
    assert "places" not in found["states"]  # each member has its own states


def test_lines_said_before_are_read_by_a_model_that_knows_them(tiny_pairs: Path, tmp_path: Path) -> None:
    from conftest import TINY
    from pairloom.server.explain import Pair
    from pairloom.server.shelf import Served

    lines = tiny_pairs.read_text("utf-8").splitlines()
    (tmp_path / "talk.tsv").write_text("".join(f"ab ␞ {line}\n" for line in lines), "utf-8")
    knows = Served("knows", pairloom.train(tmp_path / "talk.tsv", out=tmp_path / "talk", **{**TINY, "steps": 2}))
    never = Served("never", pairloom.train(tiny_pairs, out=tmp_path / "plain", **{**TINY, "steps": 2}))
    pair = Pair(text="fgh", before=["abc", "de"])
    assert pair.read(knows, pair.text) == "abc ␞ de ␞ fgh"
    assert pair.read(never, pair.text) == "fgh"
    assert Pair(text="fgh").read(knows, "fgh") == "fgh"


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        ({"text": " "}, 400, "nothing to replay"),
        ({"text": ""}, 400, "text"),
        ({"text": "a", "beam": 200}, 400, "beam 200 is more than this server gives (16)"),
        ({"text": "a", "model": "none"}, 404, "no model is called 'none'"),
        ({"text": "a" * 15_000, "target": "a" * 15_000}, 413, "30,000 characters"),
        ({"text": "a", "head": 1}, 400, "head"),
    ],
)
def test_what_cannot_be_replayed_is_refused(client: Any, asked: dict[str, Any], status: int, message: str) -> None:
    response = client.post("/explain", json=asked)
    assert response.status_code == status
    assert message in response.json()["error"]["message"]
