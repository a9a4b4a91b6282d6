"""What a user decides about a run; everything else is chosen from the data and said."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pairloom.text.columns import Columns, parse_columns
from pairloom.text.tokenizer import Unit

Precision = Literal["auto", "float32", "bfloat16"]


class RunSettings(BaseModel):
    """One call of `pairloom train`. `None` and `auto` mean: choose for me, and say what you chose."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    pairs: tuple[str, ...] = Field(min_length=1, max_length=2, description="one file of pairs, or two aligned files")
    dev: tuple[str, ...] = Field((), max_length=2, description="development pairs; default: a slice of the pairs")
    dev_share: float = Field(0.05, gt=0, lt=1, description="share of the sources in that slice, at most 2,000 pairs")
    split_seed: int = Field(1, ge=0, lt=2**31, description="of which sources are in that slice, and of nothing else")
    kind: str = Field("attention", description="the kind of model")
    size: Literal["small", "medium", "large"] | None = Field(
        None, description="of the model; None or auto: what suits the data and, with a budget in minutes, this machine"
    )

    minutes: float | None = Field(None, gt=0, description="budget of time; 10 minutes if no budget is given")
    epochs: int | None = Field(None, ge=1, description="budget of passes over the pairs")
    steps: int | None = Field(None, ge=1, description="budget of updates")

    source_unit: Unit | None = Field(None, description="what a source token is")
    target_unit: Unit | None = Field(None, description="what a target token is")
    vocabulary: int | None = Field(None, ge=8, le=10**6, description="entries of each vocabulary, at most")
    joint: bool | None = Field(None, description="one vocabulary for both sides")
    max_source: int = Field(400, ge=1, le=10**5, description="longest source in tokens; what is longer is cut")
    max_target: int = Field(400, ge=1, le=10**5, description="longest target in tokens; what is longer is cut")
    normal_form: Literal["NFC", "NFD", "NFKC", "NFKD", "none"] = Field("NFC", description="Unicode normal form")
    strict: bool = Field(False, description="stop at unusable lines instead of skipping them")
    columns: Columns | None = Field(None, description="where source, target and features stand, if not as usual")

    seed: int = Field(1, ge=0, lt=2**31, description="of the initial weights, the dropout and the order of batches")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where the model is trained")
    precision: Precision = Field("auto", description="auto: bfloat16 where the processor multiplies it faster")
    threads: int | None = Field(None, ge=1, le=1024, description="threads of the processor")

    vectors: tuple[str, ...] = Field(
        (), max_length=2, description=".vec files that the embeddings start from: one for both sides, or source, target"
    )
    model: dict[str, Any] = Field(
        default_factory=dict, description="settings of the model that differ (--set model.X=)"
    )
    training: dict[str, Any] = Field(default_factory=dict, description="settings of training that differ")
    generation: dict[str, Any] = Field(
        default_factory=dict, description="how the finished model is asked, where that differs (generation.json)"
    )
    metrics: tuple[str, ...] = Field((), max_length=20, description="what it is judged by; none: what suits the unit")
    merge: bool = Field(False, description="pairs of the same source are several right answers to one question")

    task: str | None = Field(None, max_length=100, description="the recipe of a task that was asked for")
    recipe: str | None = Field(None, max_length=1000, description="another recipe that was asked for")
    decided: tuple[str, ...] = Field((), description="what the recipe has decided, for people")

    @field_validator("size", mode="before")
    @classmethod
    def _auto_is_none(cls, given: Any) -> Any:
        return None if given == "auto" else given

    @field_validator("columns", mode="before")
    @classmethod
    def _columns_as_text(cls, given: Any) -> Any:
        return parse_columns(given) if isinstance(given, str) else given

    @property
    def origin(self) -> str:
        """The recipe by its name, for people; empty if there is none."""
        return f"task {self.task}" if self.task else f"recipe {self.recipe}" if self.recipe else ""
