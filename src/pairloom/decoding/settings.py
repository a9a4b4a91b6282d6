"""How outputs are chosen: the settings of every search, checked together, each contradiction with its remedy."""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pairloom.errors import UsageError


class DecodingSettings(BaseModel):
    """Beam search by default; greedy with `beam=1`; sampling with `sample=True`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    beam: int = Field(
        default=5, ge=1, le=256, description="hypotheses kept alive per sentence; 1 is greedy search (and sampling)"
    )
    nbest: int = Field(
        default=1, ge=1, le=256, description="outputs per sentence, best first; when sampling, independent draws"
    )
    sample: bool = Field(
        default=False, description="draw each token from the model's distribution instead of searching"
    )
    temperature: float = Field(
        default=1.0, gt=0, le=100, description="sampling: logits are divided by it; below 1 is bolder"
    )
    top_k: int = Field(
        default=0, ge=0, le=10**7, description="sampling: only the k most probable tokens can be drawn; 0 = all"
    )
    top_p: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="sampling: only the smallest set of tokens that holds this probability; 1 = all",
    )
    length_penalty: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="alpha of Wu et al. 2016, equation 14: above 0 prefers longer outputs, 0 = none",
    )
    patience: float = Field(
        default=1.0,
        gt=0,
        le=1000,
        description="a beam ends with patience x beam finished (Kasai et al. 2022), unless a live hypothesis is ahead",
    )
    max_length: int | None = Field(
        default=None,
        ge=1,
        le=10**6,
        description="most tokens of an output, `</s>` counted; none = only ratio and offset limit it",
    )
    length_ratio: float = Field(
        default=3.0,
        ge=0,
        le=1000,
        description="most tokens of an output for each source token, before the offset is added",
    )
    length_offset: int = Field(
        default=10, ge=1, le=10**6, description="tokens that an output may have beyond ratio x source length"
    )
    no_repeat_ngram: int = Field(
        default=0, ge=0, le=1000, description="no n-gram of so many tokens occurs twice in an output; 0 = off"
    )
    batch: int = Field(
        default=64, ge=1, le=65536, description="sentences decoded at the same time; changes no output, but in int8"
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="seed of sampling; each sentence has its own random stream"
    )

    @model_validator(mode="before")
    @classmethod
    def _no_beam_when_sampling(cls, given: Any) -> Any:
        """Sampling has no beam: the default of `beam` gives way, a beam that was asked for does not (see below)."""
        if isinstance(given, dict) and given.get("sample") and "beam" not in given:
            return {**given, "beam": 1}
        return given

    @model_validator(mode="after")
    def _contradictions(self) -> DecodingSettings:
        """Raises one UsageError that lists every contradiction."""
        found = []
        if self.sample and self.beam > 1:
            found.append(f"sample=true and beam={self.beam}: a beam searches, sampling draws. Choose one.")
        if not self.sample and self.nbest > self.beam:
            found.append(
                f"nbest={self.nbest} is more than beam={self.beam}: a beam has no more outputs than hypotheses. "
                f"Set beam={self.nbest} or nbest={self.beam}."
            )
        drawn = {"temperature": self.temperature != 1, "top_k": self.top_k > 0, "top_p": self.top_p < 1}
        if not self.sample and any(drawn.values()):
            names = ", ".join(f"{name}={getattr(self, name)}" for name, used in drawn.items() if used)
            found.append(f"{names} without sample=true: only sampling uses it. Add sample=true or leave it out.")
        if found:
            raise UsageError("\n".join(found))
        return self

    def limit(self, source_length: int) -> int:
        """The most steps of a sentence after its prefix: min(max_length, ceil(ratio x source length) + offset)."""
        steps = math.ceil(self.length_ratio * source_length) + self.length_offset
        return steps if self.max_length is None else min(steps, self.max_length)
