"""A stranger's folder: bounded before it is read, opened nowhere else, refused with words, harmless on a terminal."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from pairloom.decoding.generator import Generator
from pairloom.errors import FolderError
from pairloom.folder import WEIGHTS, read_folder, seal
from pairloom.storage import MANIFEST, write_manifest
from pairloom.text.findings import printable
from pairloom.weights import load_folder
from pairloom.workflow.show import describe

TOKENIZER = "tokenizer.source.json"


@pytest.fixture
def folder(tiny_model_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))


def reseal(folder: Path) -> None:
    """As one who means harm would: the manifest fits."""
    seal(folder)
    if (folder / "engine").is_dir():
        write_manifest(folder / "engine")


def change(path: Path, edit: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text("utf-8"))
    edit(content)
    path.write_text(json.dumps(content), "utf-8")


def refused(folder: Path) -> str:
    """What is said by whoever loads it to the end."""
    with pytest.raises(FolderError) as caught:
        Generator(load_folder(folder))
    return str(caught.value)


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER, "config.json", "training.json", "generation.json"])
def test_what_the_manifest_does_not_name_is_not_opened(folder: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    lines = (folder / MANIFEST).read_text("utf-8").splitlines(keepends=True)
    (folder / MANIFEST).write_text("".join(line for line in lines if not line.endswith(f"  {name}\n")), "utf-8")
    assert name in refused(folder)


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER, "generation.json"])
def test_a_pipe_in_the_place_of_a_file_makes_nobody_wait(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert name in refused(folder)
    with pytest.raises(FolderError):
        describe(folder)


def test_an_engine_that_is_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.rmtree(folder / "engine", ignore_errors=True)
    (outside / "engine.json").write_text("{}")
    (folder / "engine").symlink_to(outside)
    from pairloom.engine.stored import read_facts

    with pytest.raises(FolderError, match="is a link"):
        read_facts(folder)


@pytest.mark.parametrize("name", ["int8.safetensors", "engine.json", MANIFEST])
def test_a_flipped_bit_in_the_engine_is_found_by_whoever_looks(folder: Path, name: str) -> None:
    path = folder / "engine" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(FolderError, match="engine"):
        describe(folder)


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER, "metrics.jsonl", "config.json"])
def test_terabytes_of_nothing_are_not_even_hashed(folder: Path, name: str) -> None:
    with (folder / name).open("r+b") as file:
        file.truncate(10**12)
    assert "larger" in refused(folder)
    if name != WEIGHTS:
        with pytest.raises(FolderError, match="larger"):
            describe(folder)


@pytest.mark.parametrize("part", ["[],", "{},", "0,"])
@pytest.mark.parametrize("name", [TOKENIZER, "config.json", "training.json"])
def test_json_that_grows_in_memory_is_refused_before_it_is_parsed(folder: Path, name: str, part: str) -> None:
    (folder / name).write_text('{"x": [' + part * 500_000 + "0]}", "utf-8")
    reseal(folder)
    assert "more parts than such a file can have" in refused(folder)


def test_a_vocabulary_that_the_weights_do_not_back_is_refused(folder: Path) -> None:
    change(folder / "config.json", lambda c: c["source"].update(size=10**6))
    reseal(folder)
    assert "too few for the vocabularies" in refused(folder)


def test_a_header_of_a_hundred_thousand_tensors_is_refused(folder: Path) -> None:
    header = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(100_000)}
    text = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text)
    reseal(folder)
    assert WEIGHTS in refused(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(folder: Path, value: float) -> None:
    weights = load_file(folder / WEIGHTS)
    name = sorted(weights)[0]
    weights[name] = weights[name].copy()
    weights[name].flat[0] = value
    save_file(weights, folder / WEIGHTS)
    reseal(folder)
    assert f"not finite:\n  {name}" in refused(folder)


@pytest.mark.parametrize(
    "changed",
    [
        {"beam": 10**9}, {"batch": "many"}, {"temperature": float("nan")}, {"length_offset": 10**12}, {"run": "me"},
        {"nbest": 9, "beam": 2},
    ],
)  # fmt: skip
def test_a_way_to_be_asked_that_cannot_be_is_refused(folder: Path, changed: dict[str, Any]) -> None:
    change(folder / "generation.json", lambda c: c.update(changed))
    reseal(folder)
    assert "generation.json is not valid" in refused(folder)


@pytest.mark.parametrize(
    "changed",
    [
        {"versions": ["x"]}, {"development": {"pairs": 1, "scores": [{"name": 3}]}}, {"result": {"step": "many"}},
        {"files": {"pairs": 3}}, {"run": {"minutes": "long"}},
    ],
)  # fmt: skip
def test_a_record_of_training_that_says_nothing_sensible_is_refused(folder: Path, changed: dict[str, Any]) -> None:
    change(folder / "training.json", lambda c: c.update(changed))
    reseal(folder)
    with pytest.raises(FolderError, match=r"training\.json is not valid"):
        describe(folder)
    with pytest.raises(FolderError, match=r"training\.json is not valid"):
        read_folder(folder)


@pytest.mark.parametrize(
    "row", ["[]", '{"event": "validation"}', '{"event": "step", "step": "x"}', "{", '"' + "x" * 20_000]
)
def test_a_log_that_says_nothing_sensible_ends_there(folder: Path, row: str) -> None:
    (folder / "metrics.jsonl").write_text(row + "\n", "utf-8")
    reseal(folder)
    assert describe(folder).losses == ()


def test_nothing_of_a_folder_acts_on_a_terminal(
    folder: Path, ask: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evil = "\x1b]0;owned\x07\u202e"
    change(folder / "training.json", lambda c: c["versions"].update({evil: evil}))
    reseal(folder)
    assert evil in ask("show", folder).out  # a pipe gets what there is
    monkeypatch.setattr("pairloom.cli.output.sys.stdout.isatty", lambda: True, raising=False)
    shown = ask("show", folder)
    assert shown.code == 0
    weights = load_file(folder / WEIGHTS)
    save_file({**weights, f"a{evil}": weights[sorted(weights)[0]]}, folder / WEIGHTS)
    reseal(folder)
    answer = ask("generate", folder, "--engine", "torch", stdin=b"a\n")
    assert answer.code == 4
    assert "a<U+001B>]0;owned<U+0007><U+202E> does not belong to this model" in answer.err
    assert not set(evil) & set(answer.err) - set("]0;owned")


def test_printable_keeps_what_is_text() -> None:
    text = "one\n\ttwo 가나 नमस्ते\u200dx"
    assert printable(text) == text
    assert printable("a\x1b[2J\r\x9bb\u2066\ud800") == "a<U+001B>[2J<U+000D><U+009B>b<U+2066><U+D800>"
