"""Every client that docs/serving names, unmodified, against a server with a real model.

    python benchmarks/serving/clients.py --model RUNS/multi30k --sources test_2016_flickr.de [--node-modules DIR]

`npm install translate` in some folder makes the DIR. Each client translates the same lines; what it gives must be what
the model gives.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from world import Process, keep

import pairloom

SCRIPT = """import translate from "translate";
translate.engine = "libre";
translate.url = process.argv[2];
const answers = [];
for (const text of JSON.parse(process.argv[3])) answers.push(await translate(text, { from: "de", to: "en" }));
console.log(JSON.stringify(answers));
"""


def of_libretranslatepy(url: str, texts: list[str]) -> list[str]:
    """pip's libretranslatepy."""
    import libretranslatepy

    client = libretranslatepy.LibreTranslateAPI(url)
    return [client.translate(text, "de", "en") for text in texts]


def of_libretranslate_aio(url: str, texts: list[str]) -> list[str]:
    """pip's libretranslate-aio, all at once."""
    from libretranslate_aio import AsyncLibreTranslate

    async def ask() -> list[str]:
        async with AsyncLibreTranslate(base_url=url) as client:
            answers = await asyncio.gather(*(client.translate(text, source="de", target="en") for text in texts))
            return [answer.translated_text for answer in answers]

    return asyncio.run(ask())


def of_deep_translator(url: str, texts: list[str]) -> list[str]:
    """pip's deep-translator."""
    from deep_translator import LibreTranslator

    client = LibreTranslator(source="de", target="en", api_key="any", custom_url=f"{url}/")
    return list(client.translate_batch(texts))


def of_deepl(url: str, texts: list[str]) -> list[str]:
    """pip's deepl."""
    import deepl

    client = deepl.Translator("any", server_url=url, send_platform_info=False)
    return [one.text for one in client.translate_text(texts, source_lang="DE", target_lang="EN-US")]


def of_openai(url: str, texts: list[str]) -> list[str]:
    """pip's openai."""
    import openai

    client = openai.OpenAI(api_key="any", base_url=f"{url}/v1")
    (name,) = (one.id for one in client.models.list())
    replies = [
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": text}]) for text in texts
    ]
    return [reply.choices[0].message.content or "" for reply in replies]


def of_openai_streams(url: str, texts: list[str]) -> list[str]:
    """pip's openai, streamed: greedy search."""
    import openai

    client = openai.OpenAI(api_key="any", base_url=f"{url}/v1")
    (name,) = (one.id for one in client.models.list())
    found = []
    for text in texts:
        stream = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": text}], stream=True, temperature=0
        )
        found.append("".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices))
    return found


def of_npm(modules: Path) -> Callable[[str, list[str]], list[str]]:
    """npm's translate."""

    def ask(url: str, texts: list[str]) -> list[str]:
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / "node_modules").symlink_to(modules.resolve())
            script = Path(place) / "ask.mjs"
            script.write_text(SCRIPT, "utf-8")
            words = ["node", str(script), f"{url}/translate", json.dumps(texts)]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
        return list(json.loads(done.stdout))

    return ask


def main() -> None:
    """Asks, compares, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sources", type=Path, required=True)
    parser.add_argument("--node-modules", type=Path)
    given = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    texts = given.sources.read_text("utf-8").splitlines()[:20]
    texts = [text for text in texts if text.count(".") == 1 and text.endswith(".")]  # one sentence each
    model = pairloom.load(given.model, precision="float32", threads=1)
    clients: dict[str, Callable[[str, list[str]], list[str]]] = {
        "libretranslatepy": of_libretranslatepy,
        "libretranslate-aio": of_libretranslate_aio,
        "deep-translator": of_deep_translator,
        "deepl": of_deepl,
        "openai": of_openai,
        "openai, streamed": of_openai_streams,
    }
    if given.node_modules:
        clients["translate (npm)"] = of_npm(given.node_modules)
    server = Process(given.model, "--languages", "de:en", "--precision", "float32")
    rows: list[dict[str, Any]] = []
    for name, ask in clients.items():
        expected = model.generate(texts, **({"beam": 1} if "streamed" in name else {}))
        said = ask(f"http://127.0.0.1:{server.port}", texts)
        if "npm" in name:
            package = (given.node_modules / "translate" / "package.json").read_text("utf-8")
            version = json.loads(package)["version"]
        else:
            version = metadata.version(name.partition(",")[0])
        right = sum(a == b for a, b in zip(said, expected, strict=True))
        rows.append({"client": name, "version": version, "texts": len(texts), "right": right})
        print(rows[-1], flush=True)
    server.end()
    keep("clients", {"command": "python benchmarks/serving/clients.py", "clients": rows})


if __name__ == "__main__":
    main()
