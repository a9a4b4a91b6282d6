"""How streams end: whole, at the limit of length, or because their time is over."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pairloom
from live import Live, live, shelf_of
from pairloom.decoding.generator import Ending, Pieces
from pairloom.server.shelf import Shelf
from pairloom.workflow.model import Model

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "abcd"}], "stream": True}
GENERATE = {"texts": ["abcd"], "stream": True}


@pytest.fixture(scope="module")
def shelf(tiny_model_dir: Path) -> Shelf:
    return shelf_of(tiny_model_dir)


@pytest.fixture(scope="module")
def server(shelf: Shelf) -> Iterator[Live]:
    with live(shelf) as one:
        yield one


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Model:
    return pairloom.load(tiny_model_dir, precision="float32", threads=1)


def events(server: Live, path: str, asked: dict[str, Any]) -> list[tuple[str, Any]]:
    """Name and content of every event; a content that is no JSON as it is."""
    with server.http.stream("POST", path, json=asked) as response:
        assert response.status_code == 200
        found, name = [], ""
        for line in response.iter_lines():
            kind, _, content = line.partition(": ")
            if kind == "event":
                name = content
            elif kind == "data":
                found.append((name, json.loads(content) if content[0] == "{" else content))
                name = ""
        return found


@pytest.fixture(params=["the timer is first", "the worker is first"])
def late(request: pytest.FixtureRequest, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    """A server whose stream has more to say than its time allows.

    Where the worker is first, the event loop is busy while the deadline passes: then it hears of the end of the
    worker before it looks at its own timer.
    """
    servers: list[Live] = []

    def stream(self: Model, text: str, **settings: Any) -> Pieces:
        yield "half of "
        if request.param == "the worker is first":
            workers = servers[0].service._workers
            assert workers is not None
            workers._post(lambda: time.sleep(0.6))
        for piece in ("the ", "answer"):
            time.sleep(0.4)
            yield piece
        return Ending(3, True)

    monkeypatch.setattr(Model, "stream", stream)
    with live(shelf, limits={"deadline": 0.3}) as one:
        servers.append(one)
        yield one


def test_a_stream_out_of_time_ends_with_an_error(late: Live) -> None:
    found = events(late, "/generate", GENERATE)
    assert [(name, one.get("text", one.get("code"))) for name, one in found] == [
        ("piece", "half of "),
        ("error", "deadline"),
    ]


def test_a_stream_of_openai_out_of_time_has_no_reason_to_stop(late: Live) -> None:
    *chunks, (_, last) = events(late, "/v1/chat/completions", CHAT)
    choices = [one["choices"][0] for _, one in chunks]
    assert "".join(one["delta"].get("content", "") for one in choices) == "half of "
    assert [one["finish_reason"] for one in choices] == [None] * len(choices)
    assert (last["error"]["code"], last["error"]["type"]) == ("deadline", "server_error")


def test_openai_raises_what_ends_a_stream(late: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    openai = pytest.importorskip("openai")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with openai.OpenAI(api_key="any", base_url=f"{late.url}/v1", max_retries=0) as client:
        chunks = client.chat.completions.create(**CHAT)
        with pytest.raises(openai.APIError, match="not answered in time"):
            list(chunks)


@pytest.mark.parametrize("most", [1, 2, 3, None])
def test_a_stream_of_openai_says_how_it_ended(server: Live, model: Model, most: int | None) -> None:
    """Reason and usage are those of the answer in one piece."""
    asked = {**CHAT, "temperature": 0, **({"max_tokens": most} if most else {})}
    whole = server.http.post("/v1/chat/completions", json={**asked, "stream": False}).json()
    found = events(server, "/v1/chat/completions", {**asked, "stream_options": {"include_usage": True}})
    assert found.pop() == ("", "[DONE]")
    *chunks, last = [one for _, one in found]
    (output,) = model.outputs(["abcd"], beam=1, max_length=most)
    best = output.candidates[0]
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in chunks) == best.text
    assert chunks[-1]["choices"][0]["finish_reason"] == ("stop" if best.finished else "length")
    assert best.finished is (most is None)
    assert last["usage"] == whole["usage"]
    assert last["usage"]["completion_tokens"] == len(best.tokens) + best.finished
    assert whole["choices"][0]["finish_reason"] == chunks[-1]["choices"][0]["finish_reason"]


def test_tokens_are_counted_as_they_were_written(server: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text can be spelt in more ways than one: its own encoding need not be what the model has written."""

    def stream(self: Model, text: str, **settings: Any) -> Pieces:
        yield "abcdefgh"
        return Ending(3, False)

    monkeypatch.setattr(Model, "stream", stream)
    asked = {**CHAT, "max_tokens": 100, "stream_options": {"include_usage": True}}
    chunks = [one for _, one in events(server, "/v1/chat/completions", asked)[:-1]]
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == 3
