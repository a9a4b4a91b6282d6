"""The models of a server under their names, and the languages that each turns into which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babel import Locale

from pairloom.errors import UsageError
from pairloom.server.problems import ProblemError, bad
from pairloom.storage import MANIFEST
from pairloom.workflow.model import Model, load

CODE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True)
class Served:
    """One model that can be asked."""

    name: str
    model: Model
    source: str = ""  # the code of its source's language; "": it translates no language
    target: str = ""
    created: int = 0  # seconds since 1970

    @property
    def dialogue(self) -> bool:
        """Whether it answers lines of dialogue: the run that made it had the task `chat`."""
        run = self.model.folder.training.get("run")
        return isinstance(run, dict) and run.get("task") == "chat"

    def reads(self, text: str) -> bool:
        """Whether the model reads the whole of a text."""
        side = self.model.folder.settings.source
        # A character is at most four bytes, each at most a token: short texts need no counting.
        return len(text) <= side.max_tokens // 4 or len(self.model.folder.source.encode(text)) <= side.max_tokens

    def written(self, text: str, most: int) -> list[int]:
        """Tokens of a text that an output begins with, or that is read as one. Raises ProblemError 400 for too many."""
        tokens = self.model.folder.target.encode(text)
        if len(tokens) > most:
            raise bad(f"{len(tokens):,} tokens of an output are given; this server goes to {most:,}", code="limit")
        return tokens


class Shelf:
    """All models; the first is the one that is meant when none is named."""

    def __init__(self, models: Sequence[Served]) -> None:
        self.models = {one.name: one for one in models}

    def find(self, name: str | None) -> Served:
        """The model of that name. Raises ProblemError 404 for one that is not there."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise ProblemError(404, f"no model is called {name!r}; there is: {', '.join(self.models)}", code="no_model")
        return self.models[name]


def open_shelf(paths: Sequence[Path], languages: Sequence[str], **machine: Any) -> Shelf:
    """Loads every folder under its own name. `languages`: `de:en` for the only model, `NAME=de:en` for one of several;
    `machine`: as `load` takes it.

    Raises FolderError for a folder that is no model, UsageError for names that clash and languages that are none.
    """
    names = [path.resolve().name for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"two models are called {', '.join(twice)}: a model goes by its folder's name; rename one")
    given = dict(_named(text, names) for text in languages)
    return Shelf([_served(name, path, given.get(name), machine) for name, path in zip(names, paths, strict=True)])


def _served(name: str, path: Path, pair: tuple[str, str] | None, machine: dict[str, Any]) -> Served:
    model = load(path, **machine)
    list(model.outputs(["a"]))  # what is built at the first answer is built now: a model that cannot answer ends here
    created = int((path / MANIFEST).stat().st_mtime)
    return Served(name, model, *(pair or _guessed(model.folder.training)), created)


def _named(text: str, names: Sequence[str]) -> tuple[str, tuple[str, str]]:
    """`NAME=de:en` → (NAME, (de, en))"""
    name, equal, pair = text.rpartition("=")
    if not equal:
        if len(names) > 1:
            raise UsageError(f"--languages {text}: of which model? NAME={text}, NAME being one of {', '.join(names)}")
        name = names[0]
    if name not in names:
        raise UsageError(f"--languages {text}: no model is called {name!r}; there is: {', '.join(names)}")
    source, colon, target = pair.partition(":")
    if not (colon and CODE.fullmatch(source) and CODE.fullmatch(target)):
        raise UsageError(f"--languages {text}: two codes of languages with a colon between them, such as de:en")
    return name, (source, target)


def _guessed(training: dict[str, Any]) -> tuple[str, str]:
    """The languages by which the files of the training pairs are called: train.de and train.en are German, English."""
    files = training.get("files")
    pairs = files.get("pairs") if isinstance(files, dict) else None
    if not (isinstance(pairs, list) and len(pairs) == 2 and all(isinstance(name, str) for name in pairs)):
        return "", ""
    source, target = (name.removesuffix(".gz").removesuffix(".zst").rpartition(".")[2] for name in pairs)
    known = source != target and all(code in Locale("en").languages for code in (source, target))
    return (source, target) if known else ("", "")
