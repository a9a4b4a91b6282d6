"""The settings of the model with a fixed context vector."""

from __future__ import annotations

from pydantic import Field

from pairloom.models.settings import Cell, ModelSettings


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
