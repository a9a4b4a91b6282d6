"""Recipes: settings of a task or of a paper, as TOML files that hold data and nothing else.

    read_recipe("task", "inflect")          # src/pairloom/recipes/tasks/inflect.toml
    read_recipe("recipe", "luong-2015")     # src/pairloom/recipes/papers/luong-2015.toml
    read_recipe("recipe", "mine.toml")      # a file of one's own

What a user says wins over a recipe, a recipe over what is chosen from the data. A recipe is checked as a whole when it
is read; every error names the file, the key, and what is allowed there.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import DataError, UsageError
from pairloom.learning.settings import TrainingSettings
from pairloom.metrics.scores import expand
from pairloom.models import SETTINGS
from pairloom.recipes.shelf import SHELVES, names
from pairloom.text.columns import parse_columns
from pairloom.text.tokenizer import Unit

LARGEST = 1 << 20  # bytes of a recipe
BUDGETS = ("minutes", "epochs", "steps")
SECTIONS = ("model", "training", "generation")


class Recipe(BaseModel):
    """One file. What it leaves out is chosen from the data."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    about: str = Field(min_length=1, max_length=1000, description="what it is for, in a sentence")
    kind: str | None = Field(None, description="the kind of model; needed where there is a section `model`")

    source_unit: Unit | None = Field(None, description="what a source token is")
    target_unit: Unit | None = Field(None, description="what a target token is")
    vocabulary: int | None = Field(None, ge=8, le=10**6, description="entries of each vocabulary, at most")
    joint: bool | None = Field(None, description="one vocabulary for both sides")
    max_source: int | None = Field(None, ge=1, le=10**5, description="longest source in tokens")
    max_target: int | None = Field(None, ge=1, le=10**5, description="longest target in tokens")
    columns: str | None = Field(None, description="where source, target and features stand, as in --columns")

    minutes: float | None = Field(None, gt=0, description="budget of time, if the user gives none")
    epochs: int | None = Field(None, ge=1, description="budget of passes, if the user gives none")
    steps: int | None = Field(None, ge=1, description="budget of updates, if the user gives none")

    metrics: tuple[str, ...] = Field((), max_length=20, description="what the model is judged by")
    merge: bool | None = Field(None, description="pairs of the same source are several right answers to one question")

    model: dict[str, Any] = Field(default_factory=dict, description="settings of that kind of model")
    training: dict[str, Any] = Field(default_factory=dict, description="settings of training, but for the budget")
    generation: dict[str, Any] = Field(default_factory=dict, description="how the finished model is asked")

    def settings(self) -> dict[str, Any]:
        """What it decides, by the names of the run's settings."""
        given = self.model_dump(exclude={"about"}, exclude_unset=True)
        return {name: value for name, value in given.items() if value is not None}


def read_recipe(word: str, name: str) -> Recipe:
    """The recipe for `--task NAME` or `--recipe NAME|FILE.toml`. Raises UsageError, DataError for a missing file."""
    path = _place(word, name)
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is larger than {LARGEST:,} bytes: that is no recipe")
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    return check_recipe(content, str(path))


def _place(word: str, name: str) -> Path:
    if word == "recipe" and name.endswith(".toml"):
        return Path(name)
    known = names(word)
    if name in known:
        return SHELVES[word] / f"{name}.toml"
    (other,) = (one for one in SHELVES if one != word)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; --{other} {name} is one" if name in names(other) else ""
    own = ", or a file of your own (NAME.toml)" if word == "recipe" else ""
    raise UsageError(f"no {word} is called {name!r}{hint}\n  there are: {', '.join(known)}{own}")


def check_recipe(content: dict[str, Any], name: str) -> Recipe:
    """The recipe, or a UsageError that names the file and lists all that is wrong."""
    findings = _explained(Recipe, content, "")
    if not findings:
        recipe = Recipe.model_validate(content)
        findings = [*_model(recipe), *_training(recipe), *_rest(recipe)]
    if findings:
        raise UsageError("\n  ".join([f"{name} is not a valid recipe:", *findings]))
    return recipe


def _model(recipe: Recipe) -> list[str]:
    if recipe.kind is None:
        return ["model: these are settings of a kind of model, so `kind` is needed"] if recipe.model else []
    if recipe.kind not in SETTINGS:
        return [f"kind: {recipe.kind!r} is no kind of model; allowed: {', '.join(SETTINGS)}"]
    return _explained(SETTINGS[recipe.kind], recipe.model, "model.")


def _training(recipe: Recipe) -> list[str]:
    own = [f"training.{name}: a budget stands above the sections" for name in BUDGETS if name in recipe.training]
    budgets = [name for name in BUDGETS if getattr(recipe, name) is not None]
    if len(budgets) > 1:
        own.append(f"{', '.join(budgets)}: one budget at most")
    return own or _explained(TrainingSettings, {"steps": 1, **recipe.training}, "training.", hidden=BUDGETS)


def _rest(recipe: Recipe) -> list[str]:
    findings = []
    try:
        findings = _explained(DecodingSettings, recipe.generation, "generation.")
    except UsageError as error:
        findings.append(f"generation: {error}")
    try:
        expand(recipe.metrics)
    except UsageError as error:
        findings.append(f"metrics: {error}")
    try:
        if recipe.columns is not None:
            parse_columns(recipe.columns)
    except UsageError as error:
        findings.append(str(error))
    return findings


def _explained(kind: type[BaseModel], given: dict[str, Any], prefix: str, hidden: Sequence[str] = ()) -> list[str]:
    """What is wrong with `given` as settings of this kind: key, reason, and what is allowed."""
    try:
        kind.model_validate(given)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    else:
        return []
    fields = [field.alias or name for name, field in kind.model_fields.items() if name not in hidden]
    lines = []
    for item in problems:
        key = prefix + ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"{key}: there is no such key; allowed: {', '.join(fields)}")
        else:
            reason = item["msg"].removeprefix("Value error, ")
            lines.append(f"{key.rstrip('.') or 'recipe'}: {reason} (given: {item['input']!r:.60})")
    return lines
