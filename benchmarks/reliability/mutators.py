"""Ways in which a model folder can be made to harm: each changes a folder that was whole, and says what it did."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

JSON = ("config.json", "generation.json", "training.json", "tokenizer.source.json", "tokenizer.target.json")
WEIGHTS = "model.safetensors"
FILES = (*JSON, WEIGHTS, "metrics.jsonl", "README.md", "curve.png", "MANIFEST.sha256")
ENGINE = ("engine/engine.json", "engine/float32.safetensors", "engine/int8.safetensors")

WHOLE: tuple[Any, ...] = (0, -1, 1, 2, 10**6, 10**9, 2**31, 2**63, 2**64, 10**300)
NUMBERS: tuple[Any, ...] = (*WHOLE, 0.5, -0.0, 1e308, float("nan"), float("inf"), float("-inf"))
PATHS: tuple[Any, ...] = ("../../../etc/passwd", "/etc/passwd", "os.system", "${jndi:ldap://x}", "__import__('os')")
TERMINAL: tuple[Any, ...] = ("\x1b[2J\x1b]0;owned\x07", "\u202egnp.exe", "\0", "\ud800", "$\\frac{", "<script>")
TEXTS: tuple[Any, ...] = ("", "x" * 100_000, "</s>", *PATHS, *TERMINAL)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None] * 1000, {"a": {"b": {}}}, {"": ""})

Mutator = Callable[[Path, random.Random], str]


def pickled(canary: Path) -> bytes:
    """A pickle that would make the file `canary` when it is loaded (protocol 0, written out by hand)."""
    return f"cposix\nsystem\n(Vtouch {canary}\ntR.".encode()


# -- JSON --------------------------------------------------------------------------------------------------------------


def places(value: Any, above: Any = None, key: Any = None) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) within a JSON value; of long lists and tables the first few."""
    if above is not None:
        yield above, key
    inside = (
        list(value.items())[:40]
        if isinstance(value, dict)
        else list(enumerate(value))[:10]
        if isinstance(value, list)
        else []
    )
    for name, one in inside:
        yield from places(one, value, name)


def odd(dice: random.Random) -> Any:
    """A value that nobody expects."""
    return dice.choice(dice.choice((NUMBERS, TEXTS, OTHERS)))


def json_value(folder: Path, dice: random.Random) -> str:
    """One value, or several, replaced, removed, added or moved."""
    path = folder / dice.choice(JSON)
    content = json.loads(path.read_text("utf-8"))
    done = []
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        container, key = dice.choice(list(places(content)) or [(content, "x")])
        what = dice.random()
        if what < 0.6:
            container[key] = odd(dice)
        elif what < 0.75:
            container.pop(key) if isinstance(container, dict) and key in container else None
        elif what < 0.9 and isinstance(container, dict):
            container[dice.choice(("extra", "\x1b[31m", "", "../x", "__class__", "schema"))] = odd(dice)
        else:
            container[key] = {"type": "Sequence", "inside": odd(dice)}
        done.append(str(key)[:30])
    path.write_text(json.dumps(content), "utf-8", errors="surrogatepass")
    return f"{path.name}: {', '.join(done)}"


def deep_json(folder: Path, dice: random.Random) -> str:
    """Brackets within brackets."""
    path, depth = folder / dice.choice(JSON), dice.choice((500, 5_000, 200_000))
    open_, close = dice.choice((("[", "]"), ('{"a":', "}")))
    inner = open_ * depth + ("1" if open_ != "[" else "") + close * depth
    path.write_text(dice.choice((inner, f'{{"schema": 1, "model": {inner}}}')), "utf-8")
    return f"{path.name}: {depth} deep"


def json_bomb(folder: Path, dice: random.Random) -> str:
    """Small on the disk, large in memory."""
    path, size = folder / dice.choice(JSON), dice.choice((10**5, 10**6, 7 * 10**6))
    part = dice.choice(("[],", "{},", '"",', "0,", '"a":1,', "1e5,"))
    inside = (part * (size // len(part)))[:-1]
    path.write_text(f'{{"x": [{inside}]}}' if ":" not in part else f"{{{inside}}}", "utf-8")
    return f"{path.name}: {size} bytes of {part}"


# -- the tokenizers' own -----------------------------------------------------------------------------------------------

COMPONENTS: tuple[tuple[str, Any], ...] = (
    ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}),
    ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "(?<=a)("}, "behavior": "Isolated", "invert": False}),
    ("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}),
    ("pre_tokenizer", {"type": "Sequence", "pretokenizers": []}),
    ("normalizer", {"type": "Replace", "pattern": {"Regex": ".*"}, "content": "x" * 10_000}),
    ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    ("normalizer", {"type": "Lowercase"}),
    ("post_processor", {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}),
    ("post_processor", {"type": "RobertaProcessing", "sep": ["</s>", 10**9], "cls": ["<s>", 0]}),
    ("decoder", {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True}),
    ("added_tokens", [{"id": 10**9, "content": "a", "special": True}]),
    ("truncation", {"direction": "Right", "max_length": 0, "strategy": "LongestFirst", "stride": 10}),
    ("padding", {"strategy": {"Fixed": 10**9}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "a"}),
    ("version", "2.0"),
)


def component(folder: Path, dice: random.Random) -> str:
    """A part that the library knows and pairloom does not."""
    path = folder / dice.choice(("tokenizer.source.json", "tokenizer.target.json"))
    content = json.loads(path.read_text("utf-8"))
    name, part = dice.choice(COMPONENTS)
    content[name] = part
    path.write_text(json.dumps(content), "utf-8")
    return f"{path.name}: {name}"


def pieces(folder: Path, dice: random.Random) -> str:
    """The vocabulary: ids that lie, pieces without end, a million of them, models of another kind."""
    path = folder / dice.choice(("tokenizer.source.json", "tokenizer.target.json"))
    content = json.loads(path.read_text("utf-8"))
    model, kind = content["model"], dice.randrange(7)
    if kind == 0 and isinstance(model.get("vocab"), dict):
        model["vocab"][dice.choice(sorted(model["vocab"]))] = odd(dice)
    elif kind == 1:
        model["vocab"] = {f"a{i}": i for i in range(dice.choice((10, 300_000)))}
    elif kind == 2:
        model["merges"] = [["a", "b"]] * dice.choice((1, 1000)) + [odd(dice)]
    elif kind == 3:
        model["type"] = dice.choice(("WordPiece", "Unigram", "WordLevel", "BPE", "\x1b"))
    elif kind == 4:
        model["vocab"] = [["a", float("nan")]] * 10
    elif kind == 5:
        model["dropout"] = odd(dice)
    else:
        model["vocab"] = odd(dice)
    path.write_text(json.dumps(content), "utf-8", errors="surrogatepass")
    return f"{path.name}: pieces {kind}"


# -- the weights -------------------------------------------------------------------------------------------------------


def split_weights(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and payload of a safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_weights(path: Path, header: Any, payload: bytes, length: int | None = None) -> None:
    """The opposite; `length`: what the first eight bytes claim."""
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length % 2**64) + text + payload)


def weights_of(folder: Path, dice: random.Random) -> Path:
    """The model's, or the engine's where there are some."""
    there = [folder / name for name in ENGINE if name.endswith(".safetensors") and (folder / name).is_file()]
    return dice.choice([folder / WEIGHTS, *there])


def header(folder: Path, dice: random.Random) -> str:
    """A header that lies: of shapes, types, places, names, its own length."""
    path = weights_of(folder, dice)
    table, payload = split_weights(path)
    name = dice.choice(sorted(table))
    entry, kind, length = table[name], dice.randrange(12), None
    if kind == 0 and "shape" in entry:
        entry["shape"] = dice.choice(([], [2**40], [0], [-1], [2**31, 2**31], [1] * 100, ["a"], odd(dice)))
    elif kind == 1:
        entry["dtype"] = dice.choice(("F64", "BOOL", "I8", "F8_E4M3", "U64", "", "f32", None, 3))
    elif kind == 2:
        entry["data_offsets"] = dice.choice(
            ([0, 2**62], [-8, 0], [8, 0], [0], [], [0, 1, 2], ["0", "4"], [2**64, 2**65], odd(dice))
        )
    elif kind == 3:
        table[dice.choice(("../../x", "\x1b[2J", "", "encoder", "\ud800", "a" * 100_000))] = entry
    elif kind == 4:
        table.pop(name)
    elif kind == 5:
        length = dice.choice((0, 1, 7, 2**20 + 1, 2**31, 2**62, 2**63, -1, len(payload) + 10**6))
    elif kind == 6:
        many = {
            f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(dice.choice((1000, 60_000)))
        }
        table.update(many)
    elif kind == 7:
        table["__metadata__"] = dice.choice(({"a": "b" * 10**6}, [], 3, {"a": 1}, {"a": {"b": []}}))
    elif kind == 8:
        table[name] = odd(dice)
    elif kind == 9:
        table = dice.choice(([], 3, "x", None, {}))
    elif kind == 10:
        payload = payload[: dice.randrange(len(payload) + 1)] + b"\0" * dice.choice((0, 1, 8, 10**5))
    else:
        swapped = dice.choice(sorted(table))
        table[name], table[swapped] = table[swapped], table[name]
    join_weights(path, table, payload, length)
    return f"{path.name}: header {kind}"


def numbers(folder: Path, dice: random.Random) -> str:
    """Weights that are no numbers, or far too large, or so small that they are slow."""
    path = weights_of(folder, dice)
    table, payload = split_weights(path)
    value = dice.choice((float("nan"), float("inf"), 3e38, -3e38, 1e-40, 0.0))
    changed, raw = bytearray(payload), struct.pack("<f", value)
    every = dice.choice((4, 4, 400))
    for place in range(0, len(changed) - 3, every):
        changed[place : place + 4] = raw
    join_weights(path, table, bytes(changed))
    return f"{path.name}: {value}"


# -- files -------------------------------------------------------------------------------------------------------------


def any_file(folder: Path, dice: random.Random) -> Path:
    """One of the folder's files, the engine's included where there are some."""
    return folder / dice.choice([*FILES, *(name for name in ENGINE if (folder / name).is_file())])


def flipped(folder: Path, dice: random.Random) -> str:
    """Bits and bytes, in a folder that claims to be sound."""
    path = any_file(folder, dice)
    content = bytearray(path.read_bytes())
    for _ in range(dice.choice((1, 3, 100))):
        if content:
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)
    return f"{path.name}: flipped"


def cut(folder: Path, dice: random.Random) -> str:
    """Cut off, doubled, emptied, filled with noise."""
    path = any_file(folder, dice)
    content = path.read_bytes()
    half = content[: dice.randrange(len(content) + 1)]
    path.write_bytes(
        dice.choice((half, content * 2, b"", dice.randbytes(5000), content + b"\0", b"\xff\xfe" + content))
    )
    return f"{path.name}: cut"


def renamed_pickle(folder: Path, dice: random.Random) -> str:
    """A pickle under the name of something harmless; one that torch would load, too."""
    path = any_file(folder, dice)
    canary = folder.parent / "canary"
    content = pickled(canary)
    path.write_bytes(
        dice.choice((content, b"\x80\x04" + content, b"PK\x03\x04" + content, b"\x80\x02\x8a\nl\xfc\x9cF" + content))
    )
    return f"{path.name}: a pickle"


def link(folder: Path, dice: random.Random) -> str:
    """A link, a pipe, a directory or a device in the place of a file."""
    path, kind = any_file(folder, dice), dice.randrange(8)
    outside = folder.parent / "secret.txt"
    content = path.read_bytes()
    path.unlink()
    if kind == 0:
        outside.write_bytes(content)
        path.symlink_to(outside)
    elif kind == 1:
        path.symlink_to("/etc/passwd")
    elif kind == 2:
        path.symlink_to("/dev/zero")
    elif kind == 3:
        os.mkfifo(path)
    elif kind == 4:
        path.mkdir()
    elif kind == 5:
        path.symlink_to(path.name)
    elif kind == 6:
        path.symlink_to("../secret.txt")
    else:
        outside.write_bytes(content)
        path.symlink_to("../../" + outside.name)
    return f"{path.name}: link {kind}"


def sparse(folder: Path, dice: random.Random) -> str:
    """A file that is terabytes large and holds nothing."""
    path = any_file(folder, dice)
    with path.open("r+b") as file:
        file.truncate(dice.choice((10**8, 10**9, 10**12)))
    return f"{path.name}: sparse"


def manifest(folder: Path, dice: random.Random) -> str:
    """A manifest that names what it should not."""
    path = folder / "MANIFEST.sha256"
    lines = path.read_text("utf-8").splitlines()
    names = ("../../etc/passwd", "/etc/passwd", "..", ".", "a\x1b[2J", "engine/../../x", "config.json")
    odd_lines = ("x", "\0" * 100, lines[0] * 1000, *(f"{'0' * 64}  {name}" for name in names))
    kind = dice.randrange(5)
    if kind == 0:
        lines.insert(dice.randrange(len(lines) + 1), dice.choice(odd_lines))
    elif kind == 1:
        lines.pop(dice.randrange(len(lines)))
    elif kind == 2:
        lines = lines * 2000
    elif kind == 3:
        lines = [dice.choice(lines)]
    else:
        lines = [line.replace("  ", " ") for line in lines]
    path.write_text("\n".join(lines), "utf-8")
    return f"MANIFEST.sha256: {kind}"


MUTATORS: dict[str, tuple[Mutator, int]] = {
    "values in JSON": (json_value, 40),
    "deep JSON": (deep_json, 6),
    "JSON bombs": (json_bomb, 6),
    "parts of tokenizers": (component, 10),
    "pieces of tokenizers": (pieces, 10),
    "lying headers": (header, 24),
    "weights that are no numbers": (numbers, 8),
    "flipped bits": (flipped, 12),
    "cut, doubled, noise": (cut, 12),
    "renamed pickles": (renamed_pickle, 8),
    "links, pipes, directories": (link, 12),
    "terabytes of nothing": (sparse, 6),
    "manifests": (manifest, 8),
}
"""Name → what changes the folder, and how often among all."""
