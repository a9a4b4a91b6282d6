"""Ten thousand hostile lines and files, for every command that reads text: is each answered, skipped and counted?

    python benchmarks/reliability/lines.py --work DIR [--count 10000] [--seed 1]

Bad UTF-8, NUL, lines of a megabyte, 100,000 combining marks, bidi controls, lone surrogates, the special tokens' own
text, every kind of line end, JSON that is none, archives under the name of text. `generate` must give exactly as many
lines as it got, `chat` one reply to each line that says something, `check` and `train` must count every line that they
skip, and nobody may see a traceback.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common

SPECIAL = ("</s>", "<s>", "<pad>", "<unk>", "<0x00>", "<0x41>", "▁", "[V]", "\ue581", "\ue5811")
SPACES = ("\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c", "\r", "\u00a0", "\u3000", "\ufeff")
BIDI = ("\u202a", "\u202b", "\u202d", "\u202e", "\u202c", "\u2066", "\u2067", "\u2069", "\u200f")
WEIGHTS = {
    "plain": 8,
    "bad UTF-8": 14,
    "NUL": 10,
    "megabyte": 1,
    "combining marks": 1,
    "bidi": 12,
    "surrogates": 12,
    "special tokens": 14,
    "line ends": 10,
    "noise": 12,
    "escape sequences": 8,
    "empty": 6,
}
"""What is hostile about a line → how often."""


def hostile(dice: random.Random) -> tuple[str, bytes]:
    """One line without its end, and what is hostile about it."""
    kind = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    word = "".join(dice.choices("abcdefgh 가나다αβ", k=dice.randint(1, 12)))
    raw = word.encode()
    if kind == "bad UTF-8":
        raw = dice.choice((b"\xff\xfe", b"\xc3(", b"\xf4\x90\x80\x80", b"\xe3\x81", b"\xc0\xaf", b"\x80" * 9)) + raw
    elif kind == "NUL":
        raw = dice.choice((b"\0", b"a\0b", raw + b"\0" * 100))
    elif kind == "megabyte":
        raw = dice.choice((b"a" * 1_000_000, ("가" * 500_000).encode(), b"a " * 600_000, b"\xff" * 1_100_000))
    elif kind == "combining marks":
        raw = ("a" + dice.choice("\u0301\u0327\u0345") * 100_000).encode()
    elif kind == "bidi":
        raw = "".join(dice.choice(BIDI) + letter for letter in word).encode()
    elif kind == "surrogates":
        raw = b"\xed\xa0\x80" + raw + dice.choice((b"\xed\xb0\x80", b"", b"\xed\xbf\xbf"))
    elif kind == "special tokens":
        raw = dice.choice(("", " ", word)).join(dice.choices(SPECIAL, k=dice.randint(1, 5))).encode()
    elif kind == "line ends":
        raw = dice.choice(SPACES).join((word, word[::-1])).encode()
    elif kind == "noise":
        raw = dice.randbytes(dice.randint(1, 60)).replace(b"\n", b"")
    elif kind == "escape sequences":
        raw = dice.choice((b"\x1b[2J", b"\x1b]0;x\x07", b"\x9b31m", b"\x1bP", b"\x08" * 20)) + raw
    elif kind == "empty":
        raw = dice.choice((b"", b" ", b"\t", b"\t\t", b"\r", "\u200b".encode()))
    return kind, raw


def models(work: Path) -> list[Path]:
    """A model of characters, one of bytes, one of words: each kind of tokenizer that a line can meet."""
    pairs, found = common.write_pairs(work / "pairs.tsv", 200), []
    for kind, unit in (("attention", "character"), ("transformer", "byte"), ("rnn", "word"), ("hybrid", "bpe")):
        out = work / f"{kind}-{unit}"
        units = ("--source-unit", unit, "--target-unit", unit, "--vocabulary", 320)
        quick = ("--steps", 40, "--threads", 1, "--precision", "float32", *units)
        said = work / "said.txt"
        if not (out / "MANIFEST.sha256").exists() and common.wait(
            common.start(("train", pairs, "--out", out, "--model", kind, *common.sizes(kind), *quick), said)
        ):
            raise SystemExit(said.read_text("utf-8"))
        if not (out / "engine").exists():
            common.add_engine(out)
        found.append(out)
    return found


class Asked:
    """A command that was given, and what it said."""

    def __init__(self, command: Sequence[object], work: Path) -> None:
        out, self.began = work / "out.txt", time.perf_counter()
        out.unlink(missing_ok=True)
        self.code = common.wait(common.start(command, out))
        self.said = out.read_bytes()
        self.text = self.said.decode("utf-8", "replace")

    def problems(self, codes: tuple[int, ...]) -> list[str]:
        """What must never be."""
        found = [] if self.code in codes else [f"exit code {self.code}: {self.text[-300:]}"]
        return found + (["a traceback"] if "Traceback" in self.text or "this is a bug" in self.text else [])


def generate(model: Path, lines: list[bytes], work: Path, engine: str) -> list[str]:
    """As many lines out as in, in order, and every line that is not UTF-8 counted."""
    place = work / "lines.txt"
    place.write_bytes(b"\n".join(lines) + b"\n")
    words = ("generate", model, place, "--threads", 1, "--max-length", 8, "--beam", 2, "--engine", engine, "--json")
    asked = Asked(words, work)
    answers = [line for line in asked.said.split(b"\n") if line.startswith(b'{"schema"')]
    found = asked.problems((0,))
    found += [f"{len(lines)} lines in, {len(answers)} out"] if len(answers) != len(lines) else []
    if answers and not found:
        numbers = [json.loads(line)["line"] for line in answers]
        found += ["not in order"] if numbers != list(range(1, len(lines) + 1)) else []
        replaced = sum(not _is_utf8(line) for line in lines)
        counted = re.search(r"([\d,]+) of [\d,]+ lines were not UTF-8", asked.text)
        seen = int(counted[1].replace(",", "")) if counted else 0
        found += [f"{replaced} lines were not UTF-8, {seen} counted"] if seen != replaced else []
    return found


def chat(model: Path, lines: list[bytes], work: Path) -> list[str]:
    """One reply to each line that is not blank and steers nothing, and what is wrong with one ends no conversation."""
    place, said, errors = work / "talk.txt", work / "replies.txt", work / "remarks.txt"
    place.write_bytes(b"\n".join(lines) + b"\n")
    for old in (said, errors):
        old.unlink(missing_ok=True)
    words = ("chat", model, "--threads", 1, "--max-length", 8, "--beam", 1)
    code = common.wait(common.start(words, said, read=place, errors=errors))
    remarks = errors.read_text("utf-8", "replace")
    spoken = [text for line in lines if (text := line.decode("utf-8", "replace").strip())]
    wanted = sum(not text.startswith("/") for text in spoken)
    replies = said.read_bytes().count(b"\n")
    found = [f"exit code {code}: {remarks[-300:]}"] if code else []
    found += ["a traceback"] if "Traceback" in remarks or "this is a bug" in remarks else []
    return found + ([f"{wanted} lines that say something, {replies} replies"] if replies != wanted else [])


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def check(lines: list[bytes], work: Path, name: str) -> list[str]:
    """Every line is a pair or counted as skipped."""
    place = work / name
    place.write_bytes(b"".join(line + b"\n" for line in lines))
    asked = Asked(("check", place, "--no-speed", "--json"), work)
    found = asked.problems((0, 3))
    if asked.code == 0 and not found:
        report = json.loads(next(line for line in asked.said.split(b"\n") if line.startswith(b"{")))
        total = report["pairs"] + report["skipped"]
        found += [f"{len(lines)} lines, {total} accounted for"] if total != len(lines) else []
    return found


def train(lines: list[bytes], work: Path) -> list[str]:
    """A run of two updates over the lines: it is trained, or refused, and what was skipped is said."""
    place, out = work / "train.tsv", work / "model"
    place.write_bytes(b"".join(line + b"\n" for line in lines))
    tiny = ("--steps", 2, "--threads", 1, "--fresh", "--set", "training.validations=1", "--max-source", 40)
    asked = Asked(
        ("train", place, "--out", out, "--model", "rnn", *common.sizes("rnn"), *tiny, "--max-target", 40), work
    )
    found = asked.problems((0, 3))
    if asked.code == 0 and "unusable line" not in asked.text:
        found.append("nothing was said of the lines that were skipped")
    return found


def pairs_of(dice: random.Random, count: int) -> tuple[list[bytes], list[str]]:
    """Lines that should be pairs, and their kinds."""
    lines, kinds = [], []
    for _ in range(count):
        (kind, source), (_, target) = hostile(dice), hostile(dice)
        if len(source) > 10_000 and len(target) > 10_000:
            target = b"x"
        lines.append(dice.choice((source + b"\t" + target, source, b"\t" + target, source + b"\tok", b"ok\t" + source)))
        kinds.append(kind)
    return lines, kinds


def files(work: Path) -> list[tuple[str, bytes]]:
    """Whole files that are not what their name says, or that grow when they are opened."""
    bomb = gzip.compress(b"a" * 50_000_000)
    return [
        ("a.tsv", b"PK\x03\x04" + b"\0" * 100), ("b.tsv", gzip.compress(b"a\tb\n")), ("c.tsv.gz", b"a\tb\n"),
        ("d.tsv.gz", gzip.compress(b"a\tb\n")[:-5]), ("e.tsv.gz", bomb), ("f.tsv", "a\tb\n".encode("utf-16")),
        ("g.parquet", b"PAR1" + b"\0" * 50 + b"PAR1"), ("h.parquet", b"a\tb\n"), ("i.jsonl", b'{"a":' * 100_000),
        ("j.jsonl", b'{"source": "a", "target": 1e999}\n{"source": "\\ud800", "target": "b"}\n'),
        ("k.tsv.zst", b"a\tb\n"),
        ("l.tsv", b""), ("m.tsv", b"\xef\xbb\xbf"), ("n.tsv", b"\0" * 1_000_000), ("o.jsonl", b"[]\n" * 1000),
        ("p.jsonl", b'{"source": ' + b"1" * 5000 + b', "target": "x"}\n'),
    ]  # fmt: skip


def main() -> None:
    """Batches of lines to generate and to chat, pairs to check and to train, and the odd files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    common.warm_up()
    work, dice, began = given.work, random.Random(given.seed), time.monotonic()
    work.mkdir(parents=True, exist_ok=True)
    asked, bad, kinds, total = Counter[str](), list[str](), Counter[str](), 0
    places = models(work)
    turn = 0
    while total < given.count:
        turn += 1
        what = ("generate", "chat", "check", "generate", "check", "train")[turn % 6]
        if what in ("generate", "chat"):
            chosen = [hostile(dice) for _ in range(150)]
            lines, names = [line for _, line in chosen], [kind for kind, _ in chosen]
            model, engine = dice.choice(places), dice.choice(("torch", "onnx"))
            found = chat(model, lines, work) if what == "chat" else generate(model, lines, work, engine)
            what = "chat" if what == "chat" else f"generate ({engine})"
        else:
            lines, names = pairs_of(dice, 120)
            found = check(lines, work, "pairs.tsv") if what == "check" else train(lines, work)
        total, asked[what] = total + len(lines), asked[what] + len(lines)
        kinds.update(names)
        bad += [f"turn {turn}, {what}: {problem}" for problem in found]
        if found:
            print(*bad[-len(found) :], sep="\n", flush=True)
        if turn % 10 == 0:
            print(f"{total} lines, {len(bad)} findings", flush=True)
    for name, content in files(work):
        place = work / name
        place.write_bytes(content)
        asked["files, each checked and trained on"] += 1
        for command in (("check", place, "--no-speed"), ("train", place, "--out", work / "f", "--steps", 1, "--fresh")):
            bad += [f"{name}, {command[0]}: {problem}" for problem in Asked(command, work).problems((0, 2, 3))]
    facts: dict[str, Any] = {
        "lines": total,
        "asked": dict(asked.most_common()),
        "kinds": dict(kinds.most_common()),
        "findings": bad,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    common.keep("lines", f"python benchmarks/reliability/lines.py --count {given.count} --seed {given.seed}", facts)


if __name__ == "__main__":
    main()
