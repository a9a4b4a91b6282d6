"""The settings of the hybrid."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pairloom.models.settings import ModelSettings, whole_heads


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
        whole_heads(self.size, self.heads)
        return self

    def summary(self) -> str:
        """For people, in a few words."""
        encoder = f"{self.encoder_layers} Transformer layers of {self.size}, {self.heads} heads"
        return f"{encoder}, LSTM of {self.hidden}, dropout {self.dropout}"
