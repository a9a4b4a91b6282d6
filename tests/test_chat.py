"""`pairloom chat`, through a pipe and in a terminal; what a model reads of a conversation."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pairloom
from pairloom.decoding.conversation import Conversation
from pairloom.errors import UsageError
from pairloom.text.tokenizer import Tokenizer
from pairloom.text.turns import BETWEEN, TURN, as_source, reads_turns
from pairloom.workflow.model import Model


@pytest.fixture(scope="module")
def talker(talker_dir: Path) -> Model:
    return pairloom.load(talker_dir)


def test_a_pipe_has_one_reply_for_each_line(ask: Any, tiny_model_dir: Path) -> None:
    model = pairloom.load(tiny_model_dir)
    answer = ask("chat", tiny_model_dir, "--beam", "1", stdin=b"abc\n\ndag\n/undo\n/quit\nfeb\n")
    expected = list(model.generate(["abc", "dag"], beam=1, no_repeat_ngram=3))
    assert (answer.code, answer.out.splitlines()) == (0, expected)
    assert "taken back" in answer.err
    assert "you>" not in answer.out


def test_beam_sample_history_and_save(
    ask: Any, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "talk.tsv"
    words = "abc\n/beam 4\nabc\n/sample 0.5\nabc\n/again\n/history\n/save talk.tsv\n/save talk.tsv\n/attention\n"
    answer = ask("chat", tiny_model_dir, stdin=words.encode())
    lines = answer.out.splitlines()
    model = pairloom.load(tiny_model_dir)
    assert lines[1] == model.generate(["abc"], beam=4, no_repeat_ngram=3)[0]
    history = lines[4:10]
    assert [line.split("\t")[0] for line in history] == ["you", "model"] * 3
    assert file.read_text("utf-8").splitlines() == history
    assert "from now on: beam 4" in answer.err
    assert "temperature 0.5" in answer.err
    assert "is there already" in answer.err
    assert "a  b  c  </s>" in answer.out  # the attention's columns


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that models read, in order."""
    sources: list[str] = []
    stream = Model.stream

    def noting(self: Model, text: str, **settings: Any) -> Iterator[str]:
        sources.append(text)
        yield from stream(self, text, **settings)

    monkeypatch.setattr(Model, "stream", noting)
    return sources


def test_what_is_taken_back_was_never_said(ask: Any, talker_dir: Path, heard: list[str]) -> None:
    answer = ask("chat", talker_dir, "--beam", "1", stdin=b"abc\n/undo\n/history\n/undo\ndag\n/history\n")
    assert len(answer.lines) == 4  # two replies, and a history of one line and its reply
    assert answer.lines[2:] == ["you\tdag", f"model\t{answer.lines[1]}"]
    assert heard == ["abc", "dag"]
    assert answer.err.count("taken back") == 1
    assert "nothing was said yet" in answer.err  # the second time


def test_only_the_last_line_is_taken_back(ask: Any, talker_dir: Path, heard: list[str]) -> None:
    answer = ask("chat", talker_dir, "--beam", "1", stdin=b"abc\ndag\n/undo\nfeb\n/history\n")
    first, _, last = answer.lines[:3]
    assert heard[2] == f"abc {TURN} {first} {TURN} feb"
    assert answer.lines[3:] == ["you\tabc", f"model\t{first}", "you\tfeb", f"model\t{last}"]


@pytest.mark.parametrize("turns", [None, 1, 2, 3])
def test_how_many_lines_the_model_reads(ask: Any, talker_dir: Path, heard: list[str], turns: int | None) -> None:
    given = () if turns is None else ("--turns", turns)
    answer = ask("chat", talker_dir, "--beam", "1", *given, stdin=b"abc\ndag\n")
    said = ["abc", answer.lines[0], "dag"]
    assert heard == ["abc", f" {TURN} ".join(said if turns is None else said[-turns:])]


def test_a_reply_is_written_while_it_comes(
    ask: Any, talker_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in a file (which is buffered, as a pipe is) whenever the model is asked for more."""
    file = tmp_path / "out"
    pieces: list[str] = []
    written: list[str] = []
    stream = Model.stream

    def watched(self: Model, text: str, **settings: Any) -> Iterator[str]:
        for piece in stream(self, text, **settings):
            pieces.append(piece)
            yield piece
            written.append(file.read_text("utf-8"))

    monkeypatch.setattr(Model, "stream", watched)
    with file.open("w", encoding="utf-8") as out:
        monkeypatch.setattr(sys, "stdout", out)
        answer = ask("chat", talker_dir, "--beam", "1", stdin=b"abcdefg\n")
    assert answer.code == 0
    assert len([piece for piece in pieces if piece]) > 1
    assert written == ["".join(pieces[: count + 1]) for count in range(len(pieces))]
    assert file.read_text("utf-8") == "".join(pieces) + "\n"


def test_hostile_lines_are_replied_to_one_by_one(ask: Any, tiny_model_dir: Path) -> None:
    hostile = [
        b"\xff\xfe\xfd", b"a\0b", b"\xed\xa0\x80x", b"</s>", b"<s> <pad> <unk>", "\u202eabc\u2066".encode(),
        b"\x1b[2J\x1b]0;x\x07a",
        ("a" + "\u0301" * 100_000).encode(), b"a" * 1_000_000, "a\u2028b\u0085c".encode(), b"<0x41>", "\u200b".encode(),
    ]  # fmt: skip
    words = ("--beam", "1", "--max-length", "8")
    answer = ask("chat", tiny_model_dir, *words, stdin=b"\n".join([*hostile, b"", b"  ", b"abc"]) + b"\n")
    assert answer.code == 0
    assert answer.out.count("\n") == len(hostile) + 1
    assert not set("\x1b\x07\u202e") & set(answer.out + answer.err)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/bem 3", "no command is called /bem"),
        ("/beam x", "'x' is no number"),
        ("/beam 0", "beam"),
        ("/sample -1", "temperature"),
        ("/sample nan", "temperature"),
        ("/beam 99999999999999999999", "beam"),
        ("/save", "where to?"),
        ("/save ../talk.tsv", "without / and dot"),
        ("/save .profile", "without / and dot"),
        ("/save a\0b", "null byte"),
        ("/save " + "x" * 5000, "/save xxx"),
        ("/attention", "nothing was said yet"),
        ("/undo", "nothing was said yet"),
        ("/help", "/attention"),
    ],
)
def test_what_is_wrong_ends_no_conversation(ask: Any, tiny_model_dir: Path, line: str, words: str) -> None:
    answer = ask("chat", tiny_model_dir, "--beam", "1", stdin=f"{line}\nabc\n".encode())
    assert words in answer.err
    assert answer.code == 0
    assert len(answer.out.splitlines()) == 1


def test_wrong_settings_are_said_before_the_first_line(ask: Any, tiny_model_dir: Path) -> None:
    answer = ask("chat", tiny_model_dir, "--temperature", "0.5", stdin=b"abc\n")
    assert (answer.code, answer.out) == (2, "")
    assert "Add sample=true" in answer.err


def test_the_conversation_is_read_by_who_has_learnt_to(talker: Model, tiny_model_dir: Path) -> None:
    assert reads_turns(talker.folder.source)
    one = Conversation(talker, {"beam": 1})
    list(one.reply("abc"))
    said = one.lines[1][1]
    assert one.source("dag") == f"abc {TURN} {said} {TURN} dag"
    assert Conversation(talker, turns=1, lines=list(one.lines)).source("dag") == "dag"
    other = Conversation(pairloom.load(tiny_model_dir), lines=list(one.lines))
    assert other.source("dag") == "dag"


def test_a_seed_repeats_a_conversation_and_without_one_replies_differ(talker: Model) -> None:
    def replies(seed: dict[str, int]) -> list[str]:
        one = Conversation(talker, {"temperature": 2.0, "sample": True, "top_p": 1.0, **seed})
        return ["".join(one.reply("abcdefg")) for _ in range(6)]

    assert replies({"seed": 3}) == replies({"seed": 3})
    assert len(set(replies({}))) > 1


def test_a_model_that_draws_can_be_told_to_search(talker: Model) -> None:
    """`sample=False` is enough: the temperature in its generation.json is then of no use, and no contradiction."""
    assert talker.folder.generation["temperature"] != 1
    usual = talker.settings(sample=False).beam
    assert talker.generate(["abc"], sample=False) == talker.generate(["abc"], beam=usual)
    with pytest.raises(UsageError, match="temperature=2"):
        talker.settings(sample=False, temperature=2.0)


def test_replies_do_not_run_in_circles(tiny_model_dir: Path) -> None:
    model = pairloom.load(tiny_model_dir)
    assert "no_repeat_ngram" not in model.folder.generation
    reply = "".join(Conversation(model, {"beam": 1}).reply("aaaaaaaaaaaaaaaaaaaa"))
    grams = [reply[place : place + 3] for place in range(len(reply) - 2)]
    assert len(grams) == len(set(grams))


def test_a_long_conversation_forgets_its_beginning(talker: Model) -> None:
    side = talker.folder.settings.source
    lines = [f"{'abcdefgh' * 10}" for _ in range(20)]
    source = as_source(lines, talker.folder.source, side.max_tokens)
    assert 1 < len(talker.folder.source.encode(source)) <= side.max_tokens
    assert source.count(TURN) < 19
    assert as_source([f"a {TURN} b"], talker.folder.source, 100) == "a b"  # the mark is ours, not the user's


def test_the_earliest_lines_are_left_out_until_the_rest_fits(talker: Model) -> None:
    tokenizer, dice = talker.folder.source, random.Random(1)
    for _ in range(200):
        lines = ["".join(dice.choices("abc ", k=dice.randint(0, 12))) for _ in range(dice.randint(1, 9))]
        most, turns = dice.randint(1, 60), dice.choice([None, 1, 3, 20])
        count = len(lines) if turns is None else turns
        said = [" ".join(line.split()) for line in lines[-count:]]
        while len(said) > 1 and len(tokenizer.encode(BETWEEN.join(said))) > most:
            said.pop(0)
        assert as_source(lines, tokenizer, most, turns) == BETWEEN.join(said)


def test_what_was_said_before_is_read_as_often_whatever_is_asked(
    talker: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairloom.server.own import Question
    from pairloom.server.shelf import Served

    before, texts = ["abcdefgh" * 10] * 100, ["abc"] * 30
    side = talker.folder.settings.source
    wanted = as_source([*before, "abc"], talker.folder.source, side.max_tokens)
    read = 0
    encode = type(talker.folder.source).encode

    def counting(self: Tokenizer, text: str) -> list[int]:
        nonlocal read
        read += len(text)
        return encode(self, text)

    monkeypatch.setattr(Tokenizer, "encode", counting)
    assert Question(before=before, texts=texts).read_all(Served("talker", talker), texts) == [wanted] * 30
    assert read < 10 * sum(map(len, before))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_in_a_terminal(tiny_model_dir: Path) -> None:
    """With a prompt, and until Ctrl-D."""
    import pty
    import subprocess
    import threading

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pairloom", "chat", str(tiny_model_dir), "--beam", "1"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "1"},
    )
    os.close(follower)
    heard: list[bytes] = []

    def listen() -> None:
        try:
            while part := os.read(leader, 1000):
                heard.append(part)
                if b"you> " in b"".join(heard) and len(said) < 2:
                    word = b"abc\n" if not said else b"\x04"
                    if b"".join(heard).count(b"you> ") > len(said):
                        said.append(word)
                        os.write(leader, word)
        except OSError:  # the other end has closed
            pass

    said: list[bytes] = []
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert process.wait(60) == 0
    thread.join(5)
    os.close(leader)
    model = pairloom.load(tiny_model_dir)
    text = b"".join(heard).decode()
    assert model.generate(["abc"], beam=1, no_repeat_ngram=3)[0] in text.replace("\r", "").split("\n")
    assert text.count("you> ") == 2
