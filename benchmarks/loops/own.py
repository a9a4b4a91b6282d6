"""pairloom's own training, through its public function: own.py SETTINGS.json, the keyword arguments of `training`"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pairloom
from pairloom.workflow.events import Prepared, Step


def main(settings: Path) -> None:
    """Trains until it is ended. Words a second: of pairs with as many target tokens as those of the corpus."""
    given = json.loads(settings.read_text("utf-8"))
    tokens_a_pair = given.pop("tokens_a_pair")
    for event in pairloom.training(given.pop("pairs"), **given):
        if isinstance(event, Prepared):
            print("parameters", event.facts["parameters"], flush=True)
        if isinstance(event, Step):
            speed = event.tokens_per_second
            print(f"speed {speed:.1f} {speed / tokens_a_pair:.2f}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
