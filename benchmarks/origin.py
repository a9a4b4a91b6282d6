"""Where a result comes from, and the commands that make it: shared by the scripts of this folder."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

from pairloom.workflow.doctor import examine

PAIRLOOM = [sys.executable, "-m", "pairloom"]


def commit() -> str:
    """Of the code that is measured."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip()


def today() -> str:
    """As a date of ISO 8601, UTC."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def machine() -> str:
    """The processor, its cores, and what it can that matters here."""
    seen = examine()
    return f"{seen.processor}, {seen.cores} cores, {' '.join(seen.features)}"


def provenance() -> dict[str, str]:
    """Of which code, when, and where."""
    return {"commit": commit(), "date": today(), "machine": machine()}


def pairloom(*words: str, stdin: str | None = None) -> str:
    """What one command prints; what it remarks goes where ours goes. `PAIRLOOM` is how it is called."""
    command = [*PAIRLOOM, *words]
    return subprocess.run(command, stdout=subprocess.PIPE, input=stdin, text=True, encoding="utf-8", check=True).stdout
