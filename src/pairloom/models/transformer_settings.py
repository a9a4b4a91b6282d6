"""The settings of the Transformer."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pairloom.models.settings import ModelSettings, whole_heads


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
        whole_heads(self.size, self.heads)
        return self

    def summary(self) -> str:
        """For people, in a few words."""
        layers = f"{self.encoder_layers} + {self.decoder_layers} layers of {self.size}, {self.heads} heads"
        return f"{layers}, feed-forward {self.feed_forward}, dropout {self.dropout}"
