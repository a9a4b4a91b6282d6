"""Word vectors by pairloom: vectors_own.py TEXT OUT THREADS SETTINGS; prints words a second"""

from __future__ import annotations

import json
import sys
from typing import Any

import pairloom


def main(text: str, out: str, threads: int, settings: dict[str, Any]) -> None:
    """Learns from a file of words apart by spaces."""
    speeds: list[float] = []
    pairloom.vectors(
        [text],
        out=out,
        on_event=lambda event: speeds.append(getattr(event, "words_per_second", 0.0)),
        unit="word",
        threads=threads,
        **settings,
    )
    print(speeds[-1])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4]))
