"""What a server is told at its start: where it listens, which models it has, and what it refuses to do."""

from __future__ import annotations

import os
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from pairloom.errors import UsageError
from pairloom.folder import explain

KEY_VARIABLE = "PAIRLOOM_API_KEY"
"""The environment variable that holds the API key: a command line can be read by everyone on the machine."""

MOST_TEXTS = 1024
"""Texts in one request, whatever the limits."""


class Limits(BaseModel):
    """What one request may ask for; anything above is refused before it costs anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    body_bytes: int = Field(default=2**20, ge=1024, description="bytes of a request's body")
    texts: int = Field(default=256, ge=1, le=MOST_TEXTS, description="texts in one request")
    characters: int = Field(default=20_000, ge=1, description="characters of all texts in one request")
    alternatives: int = Field(default=16, ge=1, le=256, description="outputs for each text")
    beam: int = Field(default=16, ge=1, le=256, description="hypotheses of a beam")
    length: int = Field(default=512, ge=1, description="tokens of an output")
    body_seconds: float = Field(default=10.0, gt=0, description="time for a client to send its request")
    deadline: float = Field(default=30.0, gt=0, description="seconds until an answer; after that 503")


class ServerSettings(BaseModel):
    """A server; `pairloom serve --help` has the same words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="only this machine, unless told otherwise")
    port: int = Field(default=8000, ge=0, le=65535, description="0: any free one")
    workers: int = Field(default=0, ge=0, le=256, description="threads that run models; 0: one for each processor")
    batch: int = Field(default=32, ge=1, le=1024, description="texts that a worker answers at the same time")
    queue_tokens: int = Field(
        default=65_536, ge=1, description="source tokens, times the beam, that may wait; past it 503 at once"
    )
    queue_seconds: float = Field(
        default=10.0, gt=0, description="seconds that what waits may take, by the pace of the last batches; then 503"
    )
    overload_status: Literal[503, 429] = Field(default=503, description="429 for clients that know only that")
    drain: float = Field(default=30.0, ge=0, description="seconds after the grace to answer what was accepted")
    grace: float = Field(
        default=0.5, ge=0, description="seconds after SIGTERM in which new requests are still taken in"
    )
    connections: int = Field(default=1024, ge=1, description="requests under way at the same time; past it 503 at once")
    cors: tuple[str, ...] = Field(default=(), description="origins whose pages may ask; none unless told otherwise")
    hosts: tuple[str, ...] = Field(default=(), description="further names by which clients may call this server")
    key: SecretStr | None = Field(default=None, description="API key that every request must show")
    limits: Limits = Limits()

    @property
    def threads(self) -> int:
        """How many workers there are."""
        return self.workers or max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


def server_settings(given: dict[str, Any]) -> ServerSettings:
    """The settings, what is not given left as it is. Raises UsageError that names all that is wrong."""
    try:
        return ServerSettings.model_validate(given)
    except ValidationError as error:
        raise UsageError("\n  ".join(["these settings are not valid:", *explain(error)])) from None
