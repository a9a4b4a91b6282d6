"""pairloom's own interface, and what every request passes: sizes, keys, origins, settings."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

import pairloom
from live import Live, live, shelf_of
from pairloom.errors import UsageError
from pairloom.server.settings import server_settings
from pairloom.server.shelf import Shelf
from pairloom.workflow.model import Model


@pytest.fixture(scope="module")
def shelf(tiny_model_dir: Path) -> Shelf:
    return shelf_of(tiny_model_dir)


@pytest.fixture(scope="module")
def server(shelf: Shelf) -> Iterator[Live]:
    with live(shelf, workers=2) as one:
        yield one


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Model:
    return pairloom.load(tiny_model_dir, precision="float32", threads=1)


# -- answers -----------------------------------------------------------------------------------------------------------


def test_answers_are_those_of_the_model(server: Live, model: Model) -> None:
    texts = ["abc", "", "dag", "abc"]
    answer = server.http.post("/generate", json={"texts": texts, "beam": 4, "nbest": 2}).json()
    expected = list(model.outputs(texts, beam=4, nbest=2))
    assert [one["source"] for one in answer["outputs"]] == texts
    assert [[c["text"] for c in one["candidates"]] for one in answer["outputs"]] == [
        [c.text for c in one.candidates] for one in expected
    ]
    assert answer["outputs"][0]["score"] == pytest.approx(expected[0].candidates[0].score, abs=1e-4)
    assert (answer["outputs"][1]["text"], answer["outputs"][1]["score"]) == ("", None)
    assert answer["model"] == "tiny"


def test_many_clients_get_their_own_answers(server: Live, model: Model) -> None:
    words = ["".join(letters) for letters in zip("abcdefgh" * 5, "hgfedcba" * 5, "aabbccdd" * 5, strict=True)]
    expected = dict(zip(words, model.generate(words, beam=2), strict=True))
    wrong: list[str] = []

    def ask(word: str) -> None:
        answer = httpx.post(f"{server.url}/generate", json={"texts": [word], "beam": 2}, trust_env=False).json()
        if answer["outputs"][0]["text"] != expected[word]:
            wrong.append(word)

    threads = [threading.Thread(target=ask, args=(word,)) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_attention_on_request(server: Live, model: Model) -> None:
    (one,) = server.http.post("/generate", json={"texts": ["abc"], "attention": True}).json()["outputs"]
    seen = model.explain("abc", one["text"])
    assert one["source_tokens"] == seen.source_tokens == ["a", "b", "c", "</s>"]
    assert len(one["attention"]) == len(one["target_tokens"]) == len(seen.tokens)
    assert one["attention"][0] == pytest.approx(seen.attention[0].tolist(), abs=1e-5)


def test_a_stream_is_the_greedy_answer_in_pieces(server: Live, model: Model) -> None:
    with server.http.stream("POST", "/generate", json={"texts": ["abcd"], "stream": True}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = [line for line in response.iter_lines() if line]
    pieces = [json.loads(data[6:])["text"] for name, data in pairwise(events) if "piece" in name]
    assert len(pieces) > 1
    assert "".join(pieces) == model.generate(["abcd"], beam=1)[0]
    assert events[-2] == "event: done"
    assert json.loads(events[-1][6:])["text"] == "".join(pieces)


def test_a_seed_is_obeyed_and_without_one_draws_differ(server: Live, model: Model) -> None:
    asked = {"texts": ["abcdefgh"] * 3, "sample": True, "temperature": 3.0}
    first, again = (server.http.post("/generate", json={**asked, "seed": 7}).json() for _ in range(2))
    texts = [one["text"] for one in first["outputs"]]
    assert texts == [one["text"] for one in again["outputs"]]
    assert texts == model.generate(["abcdefgh"] * 3, sample=True, temperature=3.0, seed=7)
    free = {one["text"] for _ in range(4) for one in server.http.post("/generate", json=asked).json()["outputs"]}
    assert len(free) > 3


def test_models_are_described(server: Live) -> None:
    (one,) = server.http.get("/models").json()["models"]
    assert (one["name"], one["kind"], one["languages"]) == ("tiny", "attention", {"source": "de", "target": "en"})
    assert one["limits"]["beam"] == 16


def test_several_models_under_their_names(tiny_model_dir: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tiny_model_dir, tmp_path / "other")
    with live(shelf_of(tiny_model_dir, tmp_path / "other", languages=("other=ko:en",))) as server:
        names = [one["name"] for one in server.http.get("/models").json()["models"]]
        assert names == ["tiny", "other"]
        for name, expected in ((None, "tiny"), ("other", "other")):
            answer = server.http.post("/generate", json={"texts": ["a"], **({"model": name} if name else {})})
            assert answer.json()["model"] == expected
        missing = server.http.post("/generate", json={"texts": ["a"], "model": "third"})
        assert missing.status_code == 404
        assert "there is: tiny, other" in missing.json()["error"]["message"]
        assert server.http.post("/translate", json={"q": "a", "source": "ko", "target": "en"}).status_code == 200


def test_the_page_and_its_policy(server: Live) -> None:
    page = server.http.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for path in ("/page/..%2fapp.py", "/page/app.py", "/page/nothing.js"):
        assert server.http.get(path).status_code == 404


def test_the_schema_has_every_path(server: Live) -> None:
    paths = server.http.get("/openapi.json").json()["paths"]
    assert {"/generate", "/explain", "/models", "/translate", "/detect", "/languages", "/v2/translate"} <= set(paths)
    assert {"/v1/models", "/v1/chat/completions", "/healthz", "/readyz", "/metrics"} <= set(paths)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"texts": []}, 400, "texts: "),
        ({"texts": ["a"], "bem": 2}, 400, "bem: Extra inputs are not permitted"),
        ({"texts": ["a"], "beam": 17}, 400, "beam 17 is more than this server gives (16)"),
        ({"texts": ["a"], "nbest": 3, "beam": 2}, 400, "Set beam=3 or nbest=2"),
        ({"texts": ["a"], "temperature": 2.0}, 400, "Add sample=true"),
        ({"texts": ["a"], "max_length": 10**5}, 400, "max_length 100000 is more"),
        ({"texts": ["a"] * 300}, 413, "300 texts, at most 256"),
        ({"texts": ["a" * 20_001]}, 413, "20,001 characters, at most 20,000"),
        ({"texts": ["a", "b"], "stream": True}, 400, "a stream has one"),
        ({"texts": ["a"], "stream": True, "beam": 3}, 400, "stream with beam 1 or sample"),
    ],
)
def test_what_is_wrong_is_said(server: Live, asked: object, status: int, words: str) -> None:
    body = json.dumps(asked).encode()
    answer = server.http.post("/generate", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"[" * 50_000, b"\xff\xfe", b'{"texts": NaN}', b"null"])
def test_bodies_that_are_no_request(server: Live, body: bytes) -> None:
    for path in ("/generate", "/translate", "/v2/translate", "/v1/chat/completions", "/detect", "/explain"):
        answer = server.http.post(path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, (path, answer.text)


@pytest.mark.parametrize(
    "body",
    [
        b'{"texts": ["abc", "de"], "beam": 2, "nbest": 2}',
        b'{"texts": ["abc"], "beam": "2"}',
        b'{"texts": ["abc"], "beam": 2.0, "stream": 0}',
        b'{"texts": ["abc"], "texts": ["de"], "attention": true}',
        b'{"texts": ["abc"], "beam": 2.5}',
        b'{"texts": ["abc"], "beam": 99}',
        b'{"texts": ["abc"], "model": "nobody"}',
        b'{"texts": ["abc"], "top_p": NaN}',
        b'{"texts": ["\\ud800"]}',
        b'{"texts": "abc"}',
        b'{"texts": ["abc"], "bean": 2}',
        b"{",
        b"",
    ],
)
def test_the_straight_way_and_the_usual_one_answer_alike(server: Live, body: bytes) -> None:
    """The second type of content is JSON, too, but goes through all of FastAPI."""
    straight, usual = (
        server.http.post("/generate", content=body, headers={"content-type": kind})
        for kind in ("application/json", "application/vnd.pairloom+json")
    )
    assert (straight.status_code, straight.json()) == (usual.status_code, usual.json())


def test_a_refused_request_is_counted_under_its_path(server: Live) -> None:
    def counted() -> float:
        found = re.findall(
            r'pairloom_requests_total\{.*path="/generate",status="404"\} (\S+)', server.http.get("/metrics").text
        )
        return sum(map(float, found))

    before = counted()
    assert server.http.post("/generate", json={"texts": ["abc"], "model": "nobody"}).status_code == 404
    assert counted() == before + 1


def test_a_query_of_thousands_of_fields_is_refused(shelf: Shelf) -> None:
    with live(shelf, key="secret") as server:
        for path in ("/languages", "/healthz", "/generate"):
            answer = server.http.get(f"{path}?api_key=secret&{'&'.join(f'a{n}=1' for n in range(3000))}")
            assert answer.status_code == 413


def test_half_a_character_is_no_fault(server: Live) -> None:
    """JSON can hold half of a surrogate pair, UTF-8 cannot."""
    headers = {"content-type": "application/json"}
    for path, body in (
        ("/generate", b'{"texts": ["a\\ud800"]}'),
        ("/translate", b'{"q": "a\\ud800", "source": "de", "target": "en"}'),
        ("/v1/chat/completions", b'{"model": "tiny", "messages": [{"role": "user", "content": "a\\ud800"}]}'),
    ):
        assert server.http.post(path, content=body, headers=headers).status_code == 200
    assert server.http.post("/generate", content=b'{"texts": ["a"], "\\ud800": 1}', headers=headers).status_code == 400


def test_a_body_that_is_too_large(server: Live) -> None:
    answer = server.http.post("/generate", content=b"x" * (2**20 + 1))
    assert answer.status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(2**7):
            yield b"x" * 2**14

    assert server.http.post("/generate", content=endless()).status_code == 413  # chunked: no length is told


def test_slow_senders_are_let_go(shelf: Shelf) -> None:
    with live(shelf, limits={"body_seconds": 0.3}) as server:
        head = b"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        assert b"408 " in server.raw(head + b"Content-Length: 100\r\n\r\n{")
        assert server.raw(head) == b""  # the head never ends
        assert server.raw(b"") == b""  # nothing is ever sent
        assert server.http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /generate HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"b" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(server: Live, data: bytes) -> None:
    answer = server.raw(data, wait=0.5)
    assert b" 5" not in answer.split(b"\r\n")[0]
    assert server.http.get("/healthz").status_code == 200


def test_names_of_strangers_are_not_answered(server: Live) -> None:
    """A page elsewhere whose name points here could otherwise read what this server says."""
    answer = server.http.get("/models", headers={"host": "evil.example"})
    assert answer.status_code == 421
    assert server.http.get("/models", headers={"host": f"localhost:{server.port}"}).status_code == 200


def test_probes_are_answered_under_any_name(shelf: Shelf) -> None:
    """A kubelet asks a pod by its address, which nobody can name beforehand."""
    with live(shelf, host="0.0.0.0", hosts=("translate.example",)) as server:
        pod = {"host": "10.1.2.3:8000"}
        assert [server.http.get(path, headers=pod).status_code for path in ("/healthz", "/readyz")] == [200, 200]
        for path in ("/models", "/metrics", "/"):
            assert server.http.get(path, headers=pod).status_code == 421
        assert server.http.get("/models", headers={"host": "translate.example"}).status_code == 200


def test_no_origin_may_ask_unless_told(server: Live, shelf: Shelf) -> None:
    origin = {"origin": "https://a.example"}
    assert "access-control-allow-origin" not in server.http.get("/models", headers=origin).headers
    with live(shelf, cors=("https://a.example",)) as open_to_one:
        assert (
            open_to_one.http.get("/models", headers=origin).headers["access-control-allow-origin"] == origin["origin"]
        )
        other = open_to_one.http.get("/models", headers={"origin": "https://b.example"})
        assert "access-control-allow-origin" not in other.headers


def test_a_key_is_asked_for_by_every_interface(shelf: Shelf) -> None:
    with live(shelf, key="secret") as server:
        text = {"q": "a", "source": "de", "target": "en"}
        assert server.http.get("/healthz").status_code == server.http.get("/").status_code == 200
        for path, status in (("/models", 401), ("/metrics", 401), ("/v1/models", 401), ("/v2/usage", 403)):
            assert server.http.get(path).status_code == status
            for value in ("Bearer secret", "DeepL-Auth-Key secret"):
                assert server.http.get(path, headers={"authorization": value}).status_code == 200
            assert server.http.get(path, headers={"authorization": "Bearer wrong"}).status_code == status
        assert server.http.post("/translate", json=text).status_code == 403
        assert server.http.post("/translate", json={**text, "api_key": "wrong"}).status_code == 403
        assert server.http.post("/translate", json={**text, "api_key": "secret"}).status_code == 200
        assert server.http.post("/translate", data={**text, "api_key": "secret"}).status_code == 200
        assert server.http.post("/translate", params={**text, "api_key": "secret"}).status_code == 200


def test_probes_and_counters(server: Live) -> None:
    assert server.http.get("/healthz").json() == {"status": "ok"}
    assert server.http.get("/readyz").json() == {"status": "ready"}
    text = server.http.get("/metrics").text
    for name in ("queue_tokens", "queue_jobs", "batch_size_bucket", "tokens_total", "request_seconds_bucket"):
        assert f"pairloom_{name}" in text
    assert 'path="/generate"' in text


# -- settings ----------------------------------------------------------------------------------------------------------


def test_wrong_settings_are_said_together() -> None:
    with pytest.raises(UsageError) as raised:
        server_settings({"port": 70000, "overload_status": 500, "limits": {"beam": 0}})
    assert all(name in str(raised.value) for name in ("port", "overload_status", "limits.beam"))


@pytest.mark.parametrize(
    ("languages", "words"),
    [(("de",), "with a colon"), (("x=de:en",), "no model is called 'x'"), (("de:e1n",), "such as de:en")],
)
def test_languages_that_are_none(tiny_model_dir: Path, languages: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        shelf_of(tiny_model_dir, languages=languages)


def test_two_models_of_one_name(tiny_model_dir: Path) -> None:
    with pytest.raises(UsageError, match="two models are called tiny"):
        shelf_of(tiny_model_dir, tiny_model_dir)
