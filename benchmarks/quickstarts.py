"""The two quickstarts, kept as results: benchmarks/results/quickstart-NAME.json.

python benchmarks/quickstarts.py --runs RUNS [dates] [pronounce]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from origin import commit, pairloom, today

HERE = Path(__file__).parent


def main() -> None:
    """One after the other; what is finished in RUNS is only read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="dates, pronounce (default: both)")
    parser.add_argument("--runs", type=Path, required=True)
    given = parser.parse_args()
    for kind in given.kinds or ("dates", "pronounce"):
        out = given.runs / f"quickstart-{kind}"
        found = json.loads(pairloom("quickstart", kind, "--out", str(out), "--json"))
        training = json.loads((out / "model" / "training.json").read_text("utf-8"))
        log = [json.loads(line) for line in (out / "model" / "metrics.jsonl").read_text("utf-8").splitlines()]
        speeds = sorted(row["tokens_per_second"] for row in log if row["event"] == "step")
        result = {
            "name": f"quickstart-{kind}",
            "command": f"pairloom quickstart {kind}",
            "judged_by": "(the same command judges on its test pairs)",
            "date": today(),
            "commit": commit(),
            "seed": training["seed"],
            "versions": training["versions"],
            "precision": training["precision"],
            "threads": training["machine"]["threads"],
            "parameters": training["parameters"],
            "updates": training["result"]["step"],
            "minutes": round(training["result"]["seconds"] / 60, 2),
            "lines": found["lines"],
            "scores": found["scores"],
            "tokens_per_second": round(speeds[len(speeds) // 2]),
        }
        path = HERE / "results" / f"quickstart-{kind}.json"
        path.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", "utf-8")
        print(path)


if __name__ == "__main__":
    main()
