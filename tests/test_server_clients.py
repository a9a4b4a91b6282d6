"""Programs written for other servers talk to this one, unchanged: clients of LibreTranslate, DeepL and OpenAI."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pairloom
from live import Live, live, shelf_of
from pairloom.workflow.model import Model


@pytest.fixture(scope="module")
def server(tiny_model_dir: Path) -> Iterator[Live]:
    with live(shelf_of(tiny_model_dir)) as one:
        yield one


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Model:
    return pairloom.load(tiny_model_dir, precision="float32", threads=1)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says of proxies is not meant for this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


# -- LibreTranslate ----------------------------------------------------------------------------------------------------


def test_libretranslatepy(server: Live, model: Model) -> None:
    libretranslatepy = pytest.importorskip("libretranslatepy")
    client = libretranslatepy.LibreTranslateAPI(server.url)
    assert client.translate("abc", "de", "en") == model.generate(["abc"])[0]
    assert client.detect("abc") == [{"confidence": 100.0, "language": "de"}]
    assert [one["code"] for one in client.languages()] == ["de", "en"]


def test_libretranslate_aio(server: Live, model: Model) -> None:
    library = pytest.importorskip("libretranslate_aio")
    texts = ["abc", "dag"]
    expected = model.generate(texts)
    with library.LibreTranslate(base_url=server.url) as client:
        assert client.translate("abc", source="de", target="en").translated_text == expected[0]
        both = client.translate(texts, source="auto", target="en", alternatives=2)
        assert both.translated_text == expected
        assert [one.language for one in both.detected_language] == ["de", "de"]
        assert all(len(some) == 2 for some in both.alternatives)
        assert client.frontend_settings().char_limit == 20_000
        assert [one.code for one in client.languages()] == ["de", "en"]
        assert client.health() is True or client.health()
        with pytest.raises(library.BadRequestError, match="xx to en is not supported; there is: de to en"):
            client.translate("abc", source="xx", target="en")

    async def ask() -> list[str]:
        async with library.AsyncLibreTranslate(base_url=server.url) as client:
            answers = await asyncio.gather(*(client.translate(text, source="de", target="en") for text in texts))
            return [answer.translated_text for answer in answers]

    assert asyncio.run(ask()) == expected


def test_deep_translator(server: Live, model: Model) -> None:
    deep_translator = pytest.importorskip("deep_translator")
    client = deep_translator.LibreTranslator(source="de", target="English", api_key="any", custom_url=f"{server.url}/")
    assert client.translate("abc") == model.generate(["abc"])[0]
    assert client.translate_batch(["abc", "dag"]) == model.generate(["abc", "dag"])


@pytest.fixture
def npm_folder(tmp_path: Path) -> Path:
    """A folder with npm's `translate`, the version and hash of which stand in tests/npm."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no node with npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(__file__).parent / "npm" / name, tmp_path)
    words = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode and "EINTEGRITY" not in done.stderr:
        pytest.skip(f"npm cannot install it here: {done.stderr[-200:]}")
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_translate_of_npm(server: Live, model: Model, npm_folder: Path) -> None:
    script = npm_folder / "ask.mjs"
    script.write_text(
        f"""import translate from "translate";
translate.engine = "libre";
translate.url = "{server.url}/translate";
const ask = (text) => translate(text, {{ from: "de", to: "en" }});
console.log(JSON.stringify([await ask("abc"), await ask("dag")]));
""",
        "utf-8",
    )
    done = subprocess.run(["node", str(script)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == model.generate(["abc", "dag"])


Close = Callable[[Any], Any]


@pytest.fixture
def close_later() -> Iterator[Close]:
    """Takes a client, gives it back, and closes it when the test has ended, or its connection would outlive that."""
    with contextlib.ExitStack() as stack:
        yield lambda client: stack.enter_context(contextlib.closing(client))


# -- DeepL -------------------------------------------------------------------------------------------------------------


def test_deepl(close_later: Close, server: Live, model: Model) -> None:
    deepl = pytest.importorskip("deepl")
    client = close_later(deepl.Translator("any", server_url=server.url, send_platform_info=False))
    one = client.translate_text("abc", source_lang="DE", target_lang="EN-US")
    assert (one.text, one.detected_source_lang, one.billed_characters) == (model.generate(["abc"])[0], "DE", 3)
    both = client.translate_text(["abc", "dag"], target_lang="EN-GB")
    assert [answer.text for answer in both] == model.generate(["abc", "dag"])
    tagged = client.translate_text("<p>abc</p>", source_lang="DE", target_lang="EN-US", tag_handling="html")
    assert tagged.text == f"<p>{model.generate(['abc'])[0]}</p>"
    tagged = client.translate_text("<code>abc</code>", source_lang="DE", target_lang="EN-US", tag_handling="xml")
    assert tagged.text == f"<code>{model.generate(['abc'])[0]}</code>"
    assert [language.code for language in client.get_source_languages()] == ["DE"]
    assert [language.code for language in client.get_target_languages()] == ["EN"]
    assert client.get_usage().character.count == 3 + 6 + 10 + 16
    assert not client.get_usage().any_limit_reached
    with pytest.raises(deepl.DeepLException, match="formality"):
        client.translate_text("abc", source_lang="DE", target_lang="EN-US", formality="more")
    with pytest.raises(deepl.DeepLException, match="glossary_id"):
        client.translate_text("abc", source_lang="DE", target_lang="EN-US", glossary="some")


# -- OpenAI ------------------------------------------------------------------------------------------------------------


def test_openai(close_later: Close, server: Live, model: Model) -> None:
    openai = pytest.importorskip("openai")
    client = close_later(openai.OpenAI(api_key="any", base_url=f"{server.url}/v1", max_retries=0))
    assert [one.id for one in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "pairloom"
    messages = [{"role": "user", "content": "abc"}]
    reply = client.chat.completions.create(model="tiny", messages=messages)
    (output,) = model.outputs(["abc"])
    assert reply.choices[0].message.content == output.text
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.prompt_tokens == 4
    assert reply.usage.completion_tokens == len(output.candidates[0].tokens) + 1
    several = client.chat.completions.create(model="tiny", messages=messages, n=3)
    (outputs,) = model.outputs(["abc"], nbest=3)  # as widely as for one: the model's own beam
    assert [choice.message.content for choice in several.choices] == [one.text for one in outputs.candidates]
    short = client.chat.completions.create(model="tiny", messages=messages, max_completion_tokens=2)
    assert short.choices[0].finish_reason == "length"


def test_openai_streams(close_later: Close, server: Live, model: Model) -> None:
    openai = pytest.importorskip("openai")
    client = close_later(openai.OpenAI(api_key="any", base_url=f"{server.url}/v1", max_retries=0))
    chunks = list(
        client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": [{"type": "text", "text": "abcd"}]}],
            stream=True,
            temperature=0,
            stream_options={"include_usage": True},
        )
    )
    said = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(said) == model.generate(["abcd"], beam=1)[0]
    assert len(said) > 3
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.prompt_tokens == 5


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"stop": ["x"]}, "stop"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"presence_penalty": 1.0}, "presence_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "a"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "messages"),
        ({"stream": True, "n": 2}, "n"),
        ({"extra_body": {"nonsense": 1}}, "nonsense"),
    ],
)
def test_openai_is_told_what_is_not_there(
    close_later: Close, server: Live, more: dict[str, object], param: str
) -> None:
    openai = pytest.importorskip("openai")
    client = close_later(openai.OpenAI(api_key="any", base_url=f"{server.url}/v1", max_retries=0))
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "a"}], **more}
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(**asked)
    assert raised.value.param == param
    assert raised.value.type == "invalid_request_error"


def test_openai_is_told_what_asks_for_nothing(close_later: Close, server: Live) -> None:
    """Defaults that somebody writes out are no wish."""
    openai = pytest.importorskip("openai")
    client = close_later(openai.OpenAI(api_key="any", base_url=f"{server.url}/v1", max_retries=0))
    client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "a"}],
        presence_penalty=0,
        logprobs=False,
        response_format={"type": "text"},
        user="somebody",
    )
    with pytest.raises(openai.NotFoundError, match="there is: tiny"):
        client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "a"}])


def test_keys_of_the_clients(close_later: Close, tiny_model_dir: Path, model: Model) -> None:
    openai, deepl = pytest.importorskip("openai"), pytest.importorskip("deepl")
    libretranslatepy = pytest.importorskip("libretranslatepy")
    with live(shelf_of(tiny_model_dir), key="secret") as server:
        expected = model.generate(["abc"])[0]
        assert libretranslatepy.LibreTranslateAPI(server.url, "secret").translate("abc", "de", "en") == expected
        with pytest.raises(deepl.AuthorizationException):
            close_later(deepl.Translator("wrong", server_url=server.url)).translate_text("abc", target_lang="EN-US")
        client = close_later(deepl.Translator("secret", server_url=server.url))
        assert client.translate_text("abc", target_lang="EN-US").text
        with pytest.raises(openai.AuthenticationError):
            close_later(openai.OpenAI(api_key="wrong", base_url=f"{server.url}/v1")).models.list()
        assert close_later(openai.OpenAI(api_key="secret", base_url=f"{server.url}/v1")).models.list().data
