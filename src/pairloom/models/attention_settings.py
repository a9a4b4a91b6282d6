"""The settings of the attention model, and which of them exclude each other."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from pairloom.models.settings import Cell, ModelSettings

Kind = Literal["scaled_dot", "dot", "general", "concat", "additive", "multi_head"]

HEADS = 4
"""Heads when nobody says how many: a divisor of every size that is chosen from the data."""


class AttentionSettings(ModelSettings):
    """Sizes and choices of the attention model."""

    model_config = ConfigDict(populate_by_name=True)  # added to that of all models

    embedding: int = Field(256, ge=1, le=4096, description="E, size of the embeddings of both sides")
    encoder_hidden: int = Field(256, ge=1, le=4096, description="hidden units of each direction of the encoder")
    encoder_layers: int = Field(1, ge=1, le=8, description="layers of the encoder")
    bidirectional: bool = Field(True, description="read the source in both directions (Bahdanau et al. 2015, 3.2)")
    hidden: int = Field(512, ge=1, le=8192, description="H, hidden units of the decoder")
    decoder_layers: int = Field(1, ge=1, le=8, description="layers of the decoder")
    cell: Cell = Field("lstm", description="the recurrent cell of encoder and decoder")
    attention: Kind = Field(
        "scaled_dot",
        description="how a state asks the memory: q·k/sqrt(d) with projected k; Luong's dot, general or concat; "
        "additive, where the previous state asks and the context feeds the cell (Bahdanau et al. 2015); multi_head "
        "(Vaswani et al. 2017, section 3.2.2)",
    )
    heads: int | None = Field(None, ge=1, le=64, description=f"heads of multi_head, a divisor of H; not set: {HEADS}")
    input_feeding: bool = Field(
        False, description="the attentional vector enters the cell's next input (Luong et al. 2015, section 3.3)"
    )
    coverage: bool = Field(
        False, description="the attention that a position has had enters its score (See et al. 2017, section 2.3)"
    )
    coverage_weight: float = Field(
        1.0, ge=0.0, le=100.0, description="λ, the weight of the coverage loss (See et al. 2017, equation 13)"
    )
    copying: bool = Field(  # `copy` is a method of pydantic's models
        False, alias="copy", description="tokens may be copied from the source (See et al. 2017, section 2.2)"
    )
    readout: Literal["luong", "maxout"] = Field(
        "luong",
        description="what the logits are made of: tanh(W [context; hidden]) (Luong et al. 2015, equation 5), or a deep "
        "output with maxout (Bahdanau et al. 2015, appendix A.2.2)",
    )
    dropout: float = Field(0.3, ge=0.0, lt=1.0, description="share of units dropped on every non-recurrent connection")
    tie: bool = Field(True, description="the output layer shares the target embeddings (Press & Wolf 2017)")

    @model_validator(mode="before")
    @classmethod
    def _number_of_heads(cls, given: Any) -> Any:
        """`heads` is filled in, so that a folder keeps its number when the default changes."""
        if isinstance(given, dict) and given.get("attention") == "multi_head" and given.get("heads") is None:
            return {**given, "heads": HEADS}
        return given

    @model_validator(mode="after")
    def _without_contradictions(self) -> AttentionSettings:
        """All contradictions at once, each with its remedy."""
        found = []
        if self.attention != "multi_head" and self.heads is not None:
            found.append(
                f"heads={self.heads} belongs to attention=multi_head; here it is {self.attention}: leave it out"
            )
        if self.attention == "multi_head" and self.heads is not None and self.hidden % self.heads:
            fitting = ", ".join(str(n) for n in range(1, 65) if self.hidden % n == 0)
            found.append(f"heads={self.heads} does not divide hidden={self.hidden}: heads can be {fitting}")
        if self.attention == "additive" and self.input_feeding:
            found.append(
                "attention=additive already feeds its context into the cell: leave input_feeding out, or choose "
                "another attention"
            )
        if not self.coverage and self.coverage_weight != 1.0:
            found.append(f"coverage_weight={self.coverage_weight:g} needs coverage=true")
        if found:
            raise ValueError("; ".join(found))
        return self

    def summary(self) -> str:
        """For people, in a few words."""
        parts = [f"embeddings {self.embedding}, hidden {self.hidden}, dropout {self.dropout}"]
        chosen = {
            f"{self.attention.replace('_', ' ')} attention": self.attention != "scaled_dot",
            f"{self.heads} heads": self.heads is not None,
            {"rnn": "plain recurrent", "gru": "GRU", "lstm": "LSTM"}[self.cell]: self.cell != "lstm",
            "input feeding": self.input_feeding,
            "coverage": self.coverage,
            "copying": self.copying,
            f"{self.readout} output": self.readout != "luong",
        }
        return ", ".join(parts + [words for words, said in chosen.items() if said])
