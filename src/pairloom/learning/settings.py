"""What can be set of a training run. The defaults hold from 3,600 words to a million sentences."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TrainingSettings(BaseModel):
    """How a model is trained. Exactly one budget is set: minutes, epochs or steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    minutes: float | None = Field(None, gt=0, le=60 * 24 * 365, description="budget of wall time, in minutes")
    epochs: int | None = Field(None, ge=1, le=10**6, description="budget in passes over the training pairs")
    steps: int | None = Field(None, ge=1, le=10**9, description="budget in updates of the weights")

    most_epochs: int | None = Field(
        None, ge=1, description="a budget in minutes also ends, its learning rate at zero, after so many passes"
    )

    learning_rate: float = Field(2e-3, gt=0, le=1, description="peak of the learning rate")
    schedule: Literal["linear", "inverse_sqrt"] = Field(
        "linear", description="after the peak: to zero over the budget, or as 1/sqrt(step) (Vaswani 2017, equation 3)"
    )
    warmup: int = Field(
        300, ge=0, description="updates from zero to the peak; with the linear schedule a quarter of the budget at most"
    )
    betas: tuple[float, float] = Field((0.9, 0.98), description="AdamW's decay of its two moments (Vaswani 2017, 5.3)")
    weight_decay: float = Field(0.01, ge=0, le=1, description="decoupled weight decay (Loshchilov & Hutter 2019)")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="share of probability spread out (Szegedy 2016, 7)")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient (Pascanu et al. 2013)")

    forcing: Literal["teacher", "free", "ratio", "linear", "exponential", "inverse_sigmoid"] = Field(
        "teacher",
        description="what the decoder reads as it learns: true tokens, its own, a fixed share of true ones, or a share "
        "that decays over the budget (Bengio 2015, section 2.4)",
    )
    forcing_ratio: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of true tokens with `ratio`; with the decays the least share (0 if not set)",
    )
    own: Literal["argmax", "sample"] = Field(
        "argmax", description="which own token is read: the most probable, or one drawn from the model's distribution"
    )

    batch_tokens: int = Field(1500, ge=1, le=10**7, description="padded tokens of one batch, of the longer side")
    validations: int = Field(20, ge=1, le=10**5, description="how often the development set is scored, over the budget")
    patience: int = Field(10, ge=1, description="validations without a better score until training stops")
    select: Literal["loss", "exact"] = Field(
        "loss", description="what makes a model the best: development loss, or the share of targets wholly right"
    )
    validation_pairs: int = Field(2000, ge=1, description="development pairs scored at each validation, at most")
    save_seconds: float = Field(
        60.0, ge=0, description="time between two checkpoints, or as long as keeps saving at 1% of the time; 0: always"
    )

    seed: int = Field(1, ge=0, lt=2**31, description="of the initial weights, the dropout and the order of batches")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="arithmetic of the matrix products")

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        given = [name for name in ("minutes", "epochs", "steps") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of minutes, epochs and steps is a budget; given: {', '.join(given) or 'none'}"
            )
        return self

    @model_validator(mode="after")
    def _forcing_and_its_ratio(self) -> Self:
        if self.forcing == "ratio" and self.forcing_ratio is None:
            raise ValueError("forcing=ratio needs a share of true tokens: set forcing_ratio, for instance to 0.75")
        if self.forcing in ("teacher", "free") and self.forcing_ratio is not None:
            raise ValueError(
                f"forcing={self.forcing} has no forcing_ratio: leave it out, or choose forcing=ratio or a decay"
            )
        return self
