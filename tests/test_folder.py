"""The model folder: whole or refused, with everything that is wrong named; nothing in it is trusted."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pairloom.errors import FolderError, UsageError
from pairloom.storage import MANIFEST, check_manifest, locked, new_directory, write_file, write_manifest
from pairloom.weights import load_folder


@pytest.fixture
def folder(tiny_model_dir: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "model"
    shutil.copytree(tiny_model_dir, copy)
    return copy


def reseal(folder: Path) -> None:
    """A manifest that fits: what a stranger who means harm would do."""
    (folder / MANIFEST).unlink()
    write_manifest(folder)


def change_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def test_a_whole_folder_loads_and_holds_what_the_design_says(folder: Path) -> None:
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {
        "config.json", "tokenizer.source.json", "tokenizer.target.json", "model.safetensors", "generation.json",
        "training.json", "metrics.jsonl", "README.md", "curve.png", MANIFEST, "engine",
    }  # fmt: skip
    loaded = load_folder(folder)
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_every_flipped_bit_is_found_and_the_file_named(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file() or not path.stat().st_size:
            continue
        content = path.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            with pytest.raises(FolderError, match=r"damaged|manifest|missing"):
                load_folder(folder)
            path.write_bytes(content)
    load_folder(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.target.json", "training.json"])
def test_a_missing_or_truncated_file_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(FolderError, match=f"{name} is damaged"):
        load_folder(folder)
    (folder / name).unlink()
    with pytest.raises(FolderError, match=name):
        load_folder(folder)


def test_what_is_no_model_folder_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="does not exist"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(FolderError, match=r"is not a model folder: it has no config\.json"):
        load_folder(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(FolderError, match="is not a folder"):
        load_folder(tmp_path / "file")


def test_a_folder_in_training_says_how_to_go_on(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    (folder / "checkpoints").mkdir()
    with pytest.raises(FolderError, match="same `pairloom train` command again"):
        load_folder(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(kind="os.system"), "unknown kind of model"),
        (lambda c: c["model"].update(hidden=10**9), "less than or equal to 8192"),
        (lambda c: c["model"].update(run="me"), "Extra inputs are not permitted"),
        (lambda c: c["source"].update(size=10**9), "less than or equal to 1000000"),
        (lambda c: c["source"].update(size=c["source"]["size"] + 1), "entries, config.json says"),
        (lambda c: c.update(schema=99), "schema"),
        (lambda c: c["model"].update(hidden=24), r"does not fit config.json"),
    ],
)
def test_settings_that_lie_are_refused_before_anything_is_built(
    folder: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    change_json(folder / "config.json", change)
    reseal(folder)
    with pytest.raises(FolderError, match=said):
        load_folder(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 4, struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 9) + b'{"a": 1}}', b"\x80\x04pickle"],
)
def test_weights_that_are_no_safetensors_are_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    reseal(folder)
    with pytest.raises(FolderError, match=r"model\.safetensors"):
        load_folder(folder)


def test_links_are_refused(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_bytes((folder / "config.json").read_bytes())
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(outside)
    with pytest.raises(FolderError, match=r"config\.json is missing"):
        load_folder(folder)


@pytest.mark.parametrize("line", ["../secret", "/etc/passwd", "a/b", ".."])
def test_a_manifest_names_files_of_its_own_folder_only(tmp_path: Path, line: str) -> None:
    (tmp_path / MANIFEST).write_text(f"{'0' * 64}  {line}\n")
    if line == "..":
        assert check_manifest(tmp_path) == [".. is missing"]
    else:
        with pytest.raises(FolderError, match="not a line of a manifest"):
            check_manifest(tmp_path)


def test_a_directory_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with new_directory(tmp_path / "new") as beside:
            (beside / "a").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []
    with new_directory(tmp_path / "new") as beside:
        (beside / "a").write_text("whole")
    assert check_manifest(tmp_path / "new") == []


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_file(tmp_path / "a", b"one")
    write_file(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(UsageError, match="another process is training"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass
