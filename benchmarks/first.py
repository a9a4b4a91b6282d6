"""How soon the first answer is there: from the command to one line, and how long the imports take.

    python benchmarks/first.py --model RUNS/M [--rounds 9]

`pairloom generate DIR` gets one line and ends; `import pairloom` ends at once; and an empty Python, which both contain.
In turn, round after round, each a process of its own, files in the system's cache and Python's modules compiled, as
after an installation; medians of wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from origin import provenance

from pairloom.folder import read_folder
from pairloom.version import __version__
from pairloom.workflow.doctor import examine

RESULT = Path(__file__).parent / "results" / "first.json"


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--line", default="Ein Hund rennt durch den Schnee.")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    generate = [sys.executable, "-m", "pairloom", "generate", str(given.model)]
    works = {
        "first answer, beam 5": [*generate, "--beam", "5"],
        "first answer, greedy": [*generate, "--beam", "1"],
        "import pairloom": [sys.executable, "-c", "import pairloom"],
        "an empty Python": [sys.executable, "-c", "pass"],
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(given.rounds + 1):
        for name, command in works.items():
            took = seconds(command, given.line)
            if number:  # the first round fills the system's cache
                times[name].append(took)
    found = {name: round(statistics.median(some), 3) for name, some in times.items()}
    print(json.dumps(found, indent=2))
    result = {
        "command": f"python benchmarks/first.py --model RUNS/{given.model.name} --rounds {given.rounds}",
        "rounds": given.rounds,
        "line": given.line,
        "parameters": read_folder(given.model).training["parameters"],
        "versions": {"pairloom": __version__, "onnxruntime": examine().versions["onnxruntime"]},
        "seconds": found,
        "all": {name: [round(one, 3) for one in some] for name, some in times.items()},
        **provenance(),
    }
    RESULT.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")


def seconds(command: list[str], line: str) -> float:
    """From the start of a process to its end."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run(command, input=f"{line}\n", stdout=subprocess.DEVNULL, check=True, text=True, env=environment)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
