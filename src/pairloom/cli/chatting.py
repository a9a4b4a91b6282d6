"""`pairloom chat`: a conversation in the terminal, or line by line through a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairloom.cli.asking import open_model
from pairloom.cli.lines import open_lines
from pairloom.cli.output import colours, is_terminal, say, show, width
from pairloom.cli.parser import Command, Parser, add_machine, add_model, add_search, natural
from pairloom.errors import PairloomError, UsageError
from pairloom.storage import write_file
from pairloom.text.files import STDIN
from pairloom.text.findings import BREAKS, printable

if TYPE_CHECKING:
    from pairloom.decoding.conversation import Conversation

HELP = """\
  a line            is replied to
  /undo             takes the last line and its reply back
  /again            another reply to the last line
  /beam N           the most probable reply of N hypotheses; /beam 1 is greedy search
  /sample [T]       replies are drawn, at temperature T (1.0)
  /attention        what the model looked at in its last reply
  /history          all that was said
  /save FILE        the same into a file, `you` or `model`, a tab, the line
  /help  /quit"""


def add_chat(parser: Parser) -> None:
    """The arguments."""
    add_model(parser)
    text = "lines of the conversation that the model reads (all, if it was trained on conversations; otherwise 1)"
    parser.add_argument("--turns", type=natural, metavar="N", help=text)
    add_search(parser)
    add_machine(parser)


def chat(*, directory: str, turns: int | None, decoding: dict[str, Any], machine: dict[str, Any]) -> int:
    """Talks until the input ends."""
    model = open_model([directory], machine)
    from pairloom.decoding.conversation import Conversation

    model.settings(**decoding)  # what is wrong with them is said before the first line
    talk = Talk(Conversation(model, dict(decoding), turns))
    if is_terminal(sys.stdin):
        say("/help says what there is besides talking; Ctrl-D (on Windows Ctrl-Z, Enter) ends")
    for line in lines():
        if not talk.hear(line.strip()):
            break
    return 0


def lines() -> Iterator[str]:
    """What is typed (with the keys of a shell, where Python has them), or what comes through a pipe."""
    if not is_terminal(sys.stdin):
        yield from open_lines(STDIN)
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # the arrow keys: earlier lines

    while True:
        try:
            yield input("you> ")
        except EOFError:
            show()
            return


class Talk:
    """One conversation and the words that steer it."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.commands: dict[str, Callable[[str], None]] = {
            "undo": self._undo,
            "again": self._again,
            "beam": self._beam,
            "sample": self._sample,
            "attention": self._attention,
            "history": self._history,
            "save": self._save,
            "help": lambda _: say(HELP),
        }

    def hear(self, line: str) -> bool:
        """One line. False: the end was asked for."""
        if line in ("/quit", "/exit"):
            return False
        try:
            if line.startswith("/"):
                self._command(line[1:])
            elif line:
                self._reply(line)
        except PairloomError as error:  # one line that went wrong ends no conversation
            say(f"{error}")
        return True

    def _command(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        if name not in self.commands:
            raise UsageError(f"no command is called /{name}; /help says what there is")
        self.commands[name](rest.strip())

    def _reply(self, text: str) -> None:
        for piece in self.conversation.reply(text):
            print(as_line(piece), end="", flush=True)
        show()
        sys.stdout.flush()

    def _undo(self, _: str) -> None:
        say("taken back" if self.conversation.undo() else "nothing was said yet")

    def _again(self, _: str) -> None:
        if not self.conversation.lines:
            raise UsageError("nothing was said yet")
        text = self.conversation.lines[-2][1]
        self.conversation.undo()
        self._reply(text)

    def _beam(self, rest: str) -> None:
        self._choose({"beam": _number(rest, int, "/beam 5", 5)})
        say(f"from now on: beam {self.conversation.settings['beam']}")

    def _sample(self, rest: str) -> None:
        self._choose({"sample": True, "temperature": _number(rest, float, "/sample 0.8", 1.0)})
        say(f"from now on: drawn at temperature {self.conversation.settings['temperature']:g}")

    def _choose(self, chosen: dict[str, Any]) -> None:
        """How replies are chosen from now on, without what only the other way uses. UsageError: all stays as it is."""
        drop = ("sample", "temperature", "top_k", "top_p", "seed", "beam", "length_penalty")
        kept = {name: value for name, value in self.conversation.settings.items() if name not in drop}
        self.conversation.check({**kept, **chosen})
        self.conversation.settings = {**kept, **chosen}

    def _attention(self, _: str) -> None:
        seen = self.conversation.attention()
        if seen is None:
            raise UsageError("nothing was said yet")
        from pairloom.pictures import attention_in_terminal

        table = seen.by_words()
        picture = attention_in_terminal(table.attention, table.source, table.target, width=width(), color=colours())
        show(picture, own=True)

    def _history(self, _: str) -> None:
        for who, line in self.conversation.lines:
            show(f"{who}\t{as_line(line)}")

    def _save(self, rest: str) -> None:
        if not rest:
            raise UsageError("/save FILE: where to?")
        if not is_terminal(sys.stdin) and (Path(rest).name != rest or rest.startswith(".")):
            # What comes through a pipe may be anybody's text: it does not choose where something is written.
            raise UsageError(f"/save {rest}: through a pipe only a name in this directory will do, without / and dot")
        try:
            if Path(rest).exists():
                raise UsageError(f"{rest} is there already; give another name")
            write_file(Path(rest), self.conversation.transcript().encode("utf-8", "replace"))
        except (OSError, ValueError) as error:  # a name that no file can have
            raise UsageError(f"/save {rest[:80]}: {error}") from None
        say(f"saved: {rest}")


def _number(text: str, kind: Callable[[str], Any], example: str, default: Any) -> Any:
    try:
        return kind(text) if text else default
    except ValueError:
        raise UsageError(f"{text!r} is no number; for instance {example}") from None


def as_line(text: str) -> str:
    """As one line that acts on no terminal: a model may have learnt control characters, too."""
    return printable(text.translate(BREAKS))


CHAT = Command(
    "chat",
    "DIR [options]",
    "a conversation in the terminal",
    (
        "pairloom chat runs/chat",
        "pairloom chat runs/chat --temperature 0.5 --sample",
        "printf 'good morning\\nwhat shall we cook\\n' | pairloom chat runs/chat --seed 1",
    ),
    add_chat,
    chat,
)
