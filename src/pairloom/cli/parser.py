"""The words of the command line: a parser whose errors are for people, and the options that several commands share."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pairloom.errors import UsageError
from pairloom.version import __version__


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError instead of leaving the program."""

    rest = ""
    """The name of the argument that takes any number of words, wherever they stand between the options."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)

    def print_help(self, file: Any = None) -> None:
        """The help; unlike argparse, which passes over a closed pipe or a full disk."""
        print(self.format_help(), file=file, end="")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse, but words after an option still belong to `rest`, which argparse has closed by then."""
        found, left = super().parse_known_args(args, namespace)
        if self.rest and not any(len(word) > 1 and word.startswith("-") for word in left):
            getattr(found, self.rest).extend(left)
            left = []
        return found, left

    def error(self, message: str) -> NoReturn:
        """What was wrong, and where to read what is right."""
        raise UsageError(f"{message}\n  `{self.prog} --help` says what there is")


@dataclass(frozen=True)
class Command:
    """One command."""

    name: str
    usage: str  # what follows the name
    summary: str  # its line in `pairloom --help`
    examples: tuple[str, ...]
    add: Callable[[Parser], None]  # declares its arguments
    run: Callable[..., int]  # explicit arguments in, exit code out


def build(groups: Sequence[tuple[str, Sequence[Command]]]) -> Parser:
    """The parser of all commands."""
    summaries = [
        f"{title}:\n" + "".join(f"  {command.name:<12}{command.summary}\n" for command in commands)
        for title, commands in groups
    ]
    parser = Parser(
        prog="pairloom",
        usage="pairloom COMMAND ...",
        description="From pairs of text to a model that turns one side into the other.\n\n" + "\n".join(summaries),
        epilog="`pairloom COMMAND --help` says more. A first look, in three minutes: pairloom quickstart",
    )
    parser.add_argument("--version", action="version", version=f"pairloom {__version__}")
    names = parser.add_subparsers(metavar="COMMAND", required=True, prog="pairloom", help=argparse.SUPPRESS)
    for _, commands in groups:
        for command in commands:
            examples = "examples:\n" + "".join(f"  {example}\n" for example in command.examples)
            usage = f"pairloom {command.name} {command.usage}".rstrip()
            description = f"{command.summary[0].upper()}{command.summary[1:]}."
            one = names.add_parser(command.name, usage=usage, description=description, epilog=examples)
            one.set_defaults(command=command)
            command.add(one)
    return parser


def known_command(words: Sequence[str], known: Sequence[str]) -> None:
    """Raises UsageError for a command that there is not, with the one that was likely meant."""
    if not words or words[0].startswith("-") or words[0] in known:
        return
    near = difflib.get_close_matches(words[0], known, n=1)
    meant = f": did you mean `pairloom {near[0]}`?" if near else ""
    raise UsageError(f"no command is called {words[0]!r}{meant}\n  `pairloom --help` says what there is")


def grouped(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments whose name has a dot (`decoding.beam`) under the part before it, those that were not given left out."""
    result: dict[str, Any] = {}
    for name, value in arguments.items():
        group, dot, key = name.partition(".")
        if not dot:
            result[name] = value
        elif value is not None:
            result.setdefault(group, {})[key] = value
        else:
            result.setdefault(group, {})
    return result


def add_json(parser: Parser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", dest="as_json", help="results as JSON with a schema number")


def add_pairs(parser: Parser) -> None:
    """PAIRS..."""
    text = (
        "one .tsv, .jsonl or .parquet (also .gz, .zst, or - for standard input), or two aligned files: source target; "
        ".parquet and .zst need the extra `data`"
    )
    parser.add_argument("pairs", nargs="+", metavar="PAIRS", help=text)
    parser.rest = "pairs"


def add_columns(parser: Any) -> None:
    """--columns."""
    text = "a TSV's columns, counted from 1: source=1,target=2,features=3; names in JSON lines and Parquet"
    parser.add_argument("--columns", metavar="LIST", dest="columns", help=text)


def add_model(parser: Parser) -> None:
    """DIR."""
    parser.add_argument("directory", metavar="DIR", help="the folder of a model, as `pairloom train --out` made it")


def add_models(parser: Parser) -> None:
    """DIR..., the first of them: the others stand among the words that follow (see `folders_and_rest`)."""
    text = "the folder of a model; several folders answer as one, with the mean of their probabilities (an ensemble)"
    parser.add_argument("directory", metavar="DIR", help=text)


def folders_and_rest(directory: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The folders of models: `directory`, and every word that is a directory; and the other words."""
    inside = [Path(word).is_dir() for word in words]
    more = [word for word, is_folder in zip(words, inside, strict=True) if is_folder]
    return [directory, *more], [word for word, is_folder in zip(words, inside, strict=True) if not is_folder]


def folders_and_pairs(directory: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The same where pairs must follow. Raises UsageError where none do."""
    directories, pairs = folders_and_rest(directory, words)
    if not pairs:
        raise UsageError(f"{', '.join(words)}: a directory, and so a model; after the models come the PAIRS")
    return directories, pairs


def add_machine(parser: Parser, *, searches: bool = False, torch_only: bool = False) -> None:
    """How the work is done, which changes no result but in the last digits; `searches`: and a shortlist, which may.
    `torch_only`: what no other engine does.
    """
    group = parser.add_argument_group("machine")
    group.add_argument("--threads", type=natural, metavar="N", dest="machine.threads", help="threads of the processor")
    text = "auto: onnx where it is installed, the model has it and it can do what is asked; otherwise torch"
    text = "torch does this, whatever is installed" if torch_only else text
    group.add_argument("--engine", choices=("auto", "torch", "onnx"), dest="machine.engine", help=text)
    choices = ("auto", "float32", "bfloat16", "int8")
    text = "auto: float32, or int8 (onnx) if this costs the model nothing to speak of; `pairloom show` tells"
    text = "auto: float32" if torch_only else text
    group.add_argument("--precision", choices=choices, dest="machine.precision", help=text)
    if searches:
        text = (
            "choose among the words likely for each source (onnx): faster; one text in eight (beam 5: four) is another"
        )
        group.add_argument("--shortlist", action="store_const", const=True, dest="machine.shortlist", help=text)


def add_search(parser: Parser) -> None:
    """How outputs are chosen; what is not given is as the folder's generation.json has it."""
    group = parser.add_argument_group("how outputs are chosen (what is not given: as the model's generation.json says)")

    def option(name: str, kind: Callable[[str], Any], metavar: str, text: str) -> None:
        dest = "decoding." + name.removeprefix("--").replace("-", "_")
        group.add_argument(name, type=kind, metavar=metavar, dest=dest, help=text)

    option("--beam", int, "N", "hypotheses kept per sentence; 1 is greedy search")
    option("--length-penalty", float, "A", "alpha of Wu et al. 2016, equation 14; 0 = none")
    option("--max-length", int, "N", "most tokens of an output")
    option("--no-repeat-ngram", int, "N", "no n-gram of N tokens twice in an output")
    option("--batch", int, "N", "sentences decoded at the same time; changes no output, except now and then in int8")
    group.add_argument("--sample", action="store_const", const=True, dest="decoding.sample", help="draw, do not search")
    option("--temperature", float, "T", "sampling: below 1 is bolder")
    option("--top-k", int, "K", "sampling: only the K most probable tokens")
    option("--top-p", float, "P", "sampling: only the most probable tokens that hold this probability together")
    option("--seed", int, "N", "sampling: of the draws")


def natural(text: str) -> int:
    """A number from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def assignment(text: str) -> tuple[str, str, Any]:
    """`section.key=value` → (section, key, value), the value read as JSON or else as text."""
    name, equal, given = text.partition("=")
    section, dot, key = name.partition(".")
    if not (equal and dot and section and key):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form section.key=value")
    try:
        return section, key, json.loads(given)
    except (ValueError, RecursionError):
        return section, key, given


def sections(assignments: Iterable[tuple[str, str, Any]], known: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The assignments of --set by section. Raises UsageError, naming the sections, for one that is not known."""
    result: dict[str, dict[str, Any]] = {}
    for section, key, value in assignments:
        if section not in known:
            raise UsageError(f"--set {section}.{key}: no section is called {section!r}; there are: {', '.join(known)}")
        result.setdefault(section, {})[key] = value
    return result
