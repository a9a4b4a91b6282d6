"""What a user says, over what a recipe says: the settings of a run, and a word on each thing the recipe decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pairloom.decoding.settings import DecodingSettings
from pairloom.errors import UsageError
from pairloom.folder import explain
from pairloom.metrics.scores import expand
from pairloom.models import SETTINGS
from pairloom.recipes.load import BUDGETS, SECTIONS, read_recipe
from pairloom.workflow.settings import RunSettings

SEARCHING = ("beam", "length_penalty", "patience")
"""Settings of `DecodingSettings` that only a search uses."""


def choose(**given: Any) -> RunSettings:
    """The settings of a run: `given` by the user (None: not given), then the recipe's. Raises UsageError."""
    said = {name: value for name, value in given.items() if value is not None}
    asked = [word for word in ("task", "recipe") if word in said]
    if len(asked) > 1:
        raise UsageError(f"--task {said['task']} and --recipe {said['recipe']} are both recipes: choose one")
    if asked:
        (word,) = asked
        said = _with_recipe(word, str(said[word]), said)
    try:
        settings = RunSettings(**said)
        asked_with(settings.generation, {})
    except ValidationError as error:
        raise UsageError("\n  ".join(["these settings are not valid:", *explain(error)])) from None
    expand(settings.metrics)
    if settings.kind not in SETTINGS:
        raise UsageError(f"--model {settings.kind} is not there yet; there is: {', '.join(SETTINGS)}")
    return settings


def _with_recipe(word: str, name: str, said: dict[str, Any]) -> dict[str, Any]:
    decided = read_recipe(word, name).settings()
    if any(budget in said for budget in BUDGETS):
        decided = {key: value for key, value in decided.items() if key not in BUDGETS}
    if said.get("kind", decided.get("kind")) != decided.get("kind"):
        decided.pop("model", None)  # the settings of another kind of model, and a rate that was found for it
        training = {key: value for key, value in decided.get("training", {}).items() if key != "learning_rate"}
        decided = {**decided, "training": training}
    if "sample" not in said.get("generation", {}) and said.get("generation", {}).get("beam"):
        decided["generation"] = _without_sampling(decided.get("generation", {}))
    merged = {**decided, **said, word: Path(name).name}
    words = [f"{key} {_shown(value)}" for key, value in decided.items() if key not in (*SECTIONS, *said)]
    for section in SECTIONS:
        own, theirs = decided.get(section, {}), said.get(section, {})
        merged[section] = {**own, **theirs}
        words += [f"{section}.{key} {_shown(value)}" for key, value in own.items() if key not in theirs]
    return {**merged, "decided": tuple(words)}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " + ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def asked_with(chosen: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """generation.json: what was `chosen`, over what was `found` to suit the data. Raises what DecodingSettings does."""
    if chosen.get("sample"):
        found = {name: value for name, value in found.items() if name not in SEARCHING}
    whole = {**found, **chosen}
    DecodingSettings.model_validate(whole)
    return whole


def _without_sampling(generation: dict[str, Any]) -> dict[str, Any]:
    """The settings but for those that only sampling uses."""
    return {key: value for key, value in generation.items() if key not in ("sample", "temperature", "top_k", "top_p")}
