"""OpenAI's interface: conversations, draws, and what a model cannot read of a message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import pairloom
from live import Live, live, shelf_of
from pairloom.text.turns import BETWEEN
from pairloom.workflow.model import Model

URL = "/v1/chat/completions"
TURNS = ("abc", "dag", "fed")


@pytest.fixture(scope="module")
def server(talker_dir: Path, tiny_model_dir: Path) -> Iterator[Live]:
    """Two models: `model` has learnt from conversations, `tiny` has not."""
    with live(shelf_of(talker_dir, tiny_model_dir, languages=())) as one:
        yield one


@pytest.fixture(scope="module")
def talker(talker_dir: Path) -> Model:
    return pairloom.load(talker_dir, precision="float32", threads=1)


@pytest.fixture
def client(server: Live, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    openai = pytest.importorskip("openai")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with openai.OpenAI(api_key="any", base_url=f"{server.url}/v1", max_retries=0) as one:
        yield one


def lines(*texts: str) -> list[dict[str, Any]]:
    """Messages of the user and the assistant, in turn."""
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


def refusal(server: Live, **asked: Any) -> tuple[int, str, str]:
    """Status, field and words of the answer to what cannot be."""
    answer = server.http.post(URL, json={"model": "model", "messages": lines("abc"), **asked})
    error = answer.json().get("error", {})
    return answer.status_code, error.get("param"), error.get("message", "")


def test_the_lines_before_are_read(client: Any, talker: Model) -> None:
    reply = client.chat.completions.create(model="model", messages=lines(*TURNS), temperature=0)
    (expected,) = talker.outputs([BETWEEN.join(TURNS)], beam=1)
    assert reply.choices[0].message.content == expected.text
    assert reply.usage.prompt_tokens == len(talker.folder.source.encode(BETWEEN.join(TURNS))) + 1
    assert expected.text != talker.generate([TURNS[-1]], beam=1)[0]  # else it would prove nothing


def test_a_stream_reads_the_lines_before(client: Any, talker: Model) -> None:
    chunks = client.chat.completions.create(model="model", messages=lines(*TURNS), temperature=0, stream=True)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said == talker.generate([BETWEEN.join(TURNS)], beam=1)[0]


def test_a_reply_is_sent_back_as_it_came(client: Any, talker: Model) -> None:
    """With all fields of the client's own object, as programs keep their conversations."""
    create = partial(client.chat.completions.create, model="model", temperature=0)
    messages: list[Any] = lines("abc")
    messages.append(create(messages=messages).choices[0].message)
    messages.append({"role": "user", "content": "dag"})
    reply = create(messages=messages)
    source = BETWEEN.join(["abc", talker.generate(["abc"], beam=1)[0], "dag"])
    assert reply.choices[0].message.content == talker.generate([source], beam=1)[0]


def test_who_has_not_learnt_from_conversations_is_not_sent_one(server: Live) -> None:
    """It would read the last line alone: to leave the others out is for the client to decide."""
    status, param, words = refusal(server, model="tiny", messages=lines(*TURNS))
    assert (status, param) == (400, "messages")
    assert "3 messages: tiny has not learnt from conversations" in words
    assert refusal(server, model="tiny", messages=lines("abc"))[0] == 200


@pytest.mark.parametrize("stream", [False, True])
def test_draws_are_those_of_the_model(server: Live, talker: Model, stream: bool) -> None:
    asked = {"model": "model", "messages": lines(*TURNS), "temperature": 1.9, "top_p": 0.9, "stream": stream}
    settings = {"sample": True, "temperature": 1.9, "top_p": 0.9}
    found, expected = set(), set()
    for seed in range(6):
        answer = server.http.post(URL, json={**asked, "seed": seed})
        found.add((seed, said(answer.text) if stream else answer.json()["choices"][0]["message"]["content"]))
        expected.add((seed, talker.generate([BETWEEN.join(TURNS)], seed=seed, **settings)[0]))
    assert found == expected
    assert len({text for _, text in expected}) > 2  # they are draws


def said(stream: str) -> str:
    """The text of a stream's events."""
    chunks = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    return "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)


def test_several_draws_of_one_seed(server: Live, talker: Model) -> None:
    asked = {"model": "model", "messages": lines("abc"), "temperature": 2, "seed": 5, "n": 4, "top_p": 1}
    choices = server.http.post(URL, json=asked).json()["choices"]
    (output,) = talker.outputs(["abc"], sample=True, temperature=2.0, seed=5, nbest=4, top_p=1.0)
    assert [one["message"]["content"] for one in choices] == [one.text for one in output.candidates]


def test_several_replies_are_searched_for_no_less_widely(tiny_model_dir: Path) -> None:
    from pairloom.server.openai import Completion, _several

    (served,) = shelf_of(tiny_model_dir).models.values()
    usual = served.model.settings().beam
    asked = Completion.model_validate({"model": served.name, "messages": lines("abc"), "n": 2})
    assert usual > 2
    assert _several(served, asked, 2)["beam"] == usual


@pytest.mark.parametrize("more", [{"top_p": 1}, {"seed": 3}, {"n": 1}, {"stream_options": None}])
def test_defaults_ask_for_no_draws(server: Live, tiny_model_dir: Path, more: dict[str, Any]) -> None:
    answer = server.http.post(URL, json={"model": "tiny", "messages": lines("abc"), **more})
    model = pairloom.load(tiny_model_dir, precision="float32", threads=1)
    assert answer.json()["choices"][0]["message"]["content"] == model.generate(["abc"])[0]


IMAGE = {"type": "image_url", "image_url": {"url": "https://a.example/a.png"}}


@pytest.mark.parametrize(
    ("asked", "param", "words"),
    [
        ({"stream_options": {"include_usage": True}}, "stream_options", "without stream"),
        ({"stream": False, "stream_options": {}}, "stream_options", "without stream"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages", "'text'"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]}]}, "messages", "'text'"),
        ({"messages": [{"role": "system", "content": "be kind"}, *lines("a")]}, "messages", "'user' or 'assistant'"),
        ({"messages": [{"role": "developer", "content": "be kind"}, *lines("a")]}, "messages", "'user' or 'assistant'"),
        ({"messages": [{"role": "system", "content": "be kind"}]}, "messages", "'user' or 'assistant'"),
        ({"messages": [{"role": "user", "content": "a", "name": "b"}]}, "messages", "name"),
        ({"messages": lines("a", "b", " ")}, "messages", "the last message is blank"),
        ({"messages": lines("a", "b")}, "messages", "must be of the user"),
    ],
)
def test_what_a_model_cannot_read_is_refused(server: Live, asked: dict[str, Any], param: str, words: str) -> None:
    status, field, said = refusal(server, **asked)
    assert (status, field) == (400, param)
    assert words in said
