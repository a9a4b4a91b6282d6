"""What can be set of the models. No torch here: an engine that answers without it reads the same settings.

Those of the attention model, which are many, are in attention_settings.py.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Cell = Literal["rnn", "gru", "lstm"]


class ModelSettings(BaseModel):
    """Sizes and choices of one kind of model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def summary(self) -> str:
        """For people, in a few words."""
        raise NotImplementedError


class RNNSettings(ModelSettings):
    """Sizes and choices of the model with a fixed context vector."""

    embedding: int = Field(256, ge=1, le=4096, description="E, size of the embeddings of both sides")
    hidden: int = Field(512, ge=1, le=8192, description="H, hidden units of each layer of both sides")
    layers: int = Field(2, ge=1, le=4, description="L, layers of the encoder and of the decoder")
    cell: Cell = Field("lstm", description="rnn (Elman 1990), gru (Cho et al. 2014) or lstm")
    reverse_source: bool = Field(True, description="read the source backwards (Sutskever et al. 2014, section 3.3)")
    dropout: float = Field(0.3, ge=0.0, lt=1.0, description="share of units dropped on every non-recurrent connection")
    tie: bool = Field(True, description="the output layer shares the target embeddings (Press & Wolf 2017)")

    def summary(self) -> str:
        """For people, in a few words."""
        layers = "1 layer" if self.layers == 1 else f"{self.layers} layers"
        order = "reversed source" if self.reverse_source else "source as it is"
        return (
            f"{self.cell}, {layers}, embeddings {self.embedding}, hidden {self.hidden}, {order}, dropout {self.dropout}"
        )


class TransformerSettings(ModelSettings):
    """Sizes and choices of the Transformer. The paper's base model: 512, 2048, 8 heads, 6 + 6 layers, dropout 0.1."""

    size: int = Field(
        256, ge=2, le=4096, multiple_of=2, description="d, size of embeddings and of every layer's output"
    )
    feed_forward: int = Field(1024, ge=1, le=16384, description="units inside each feed-forward layer")
    heads: int = Field(4, ge=1, le=64, description="N, heads of every attention; a divisor of size")
    encoder_layers: int = Field(3, ge=1, le=24, description="layers of the encoder")
    decoder_layers: int = Field(3, ge=1, le=24, description="L, layers of the decoder")
    norm: Literal["pre", "post"] = Field(
        "pre", description="layer norm before each sub-layer, or after as in the paper"
    )
    dropout: float = Field(0.3, ge=0.0, lt=1.0, description="share of units dropped of embeddings and sub-layers (5.4)")
    tie: bool = Field(True, description="the output layer shares the target embeddings (3.4)")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.size % self.heads:
            raise ValueError(f"size {self.size} cannot be cut into {self.heads} heads: choose a divisor of it")
        return self

    def summary(self) -> str:
        """For people, in a few words."""
        layers = f"{self.encoder_layers} + {self.decoder_layers} layers of {self.size}, {self.heads} heads"
        return f"{layers}, feed-forward {self.feed_forward}, dropout {self.dropout}"


class HybridSettings(ModelSettings):
    """Sizes and choices of the hybrid."""

    size: int = Field(256, ge=2, le=4096, multiple_of=2, description="d, size of embeddings and annotations")
    feed_forward: int = Field(1024, ge=1, le=16384, description="units inside each feed-forward layer of the encoder")
    heads: int = Field(4, ge=1, le=64, description="N, heads of every attention; a divisor of size")
    encoder_layers: int = Field(3, ge=1, le=24, description="layers of the Transformer encoder")
    hidden: int = Field(512, ge=1, le=8192, description="H, hidden units of the LSTM decoder")
    decoder_layers: int = Field(1, ge=1, le=8, description="L, layers of the LSTM decoder")
    dropout: float = Field(0.3, ge=0.0, lt=1.0, description="share of units dropped on every non-recurrent connection")
    tie: bool = Field(True, description="the output layer shares the target embeddings (Press & Wolf 2017)")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.size % self.heads:
            raise ValueError(f"size {self.size} cannot be cut into {self.heads} heads: choose a divisor of it")
        return self

    def summary(self) -> str:
        """For people, in a few words."""
        encoder = f"{self.encoder_layers} Transformer layers of {self.size}, {self.heads} heads"
        return f"{encoder}, LSTM of {self.hidden}, dropout {self.dropout}"
