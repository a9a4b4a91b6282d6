"""Where the recipes lie and what they are called; quick to ask, for the help of the command line."""

from __future__ import annotations

from pathlib import Path

SHELVES = {"task": Path(__file__).parent / "tasks", "recipe": Path(__file__).parent / "papers"}
"""Word of the command (`--task`, `--recipe`) → the folder of its TOML files."""


def names(word: str) -> tuple[str, ...]:
    """The recipes of a word, in the order of the alphabet."""
    return tuple(sorted(path.stem for path in SHELVES[word].glob("*.toml")))
