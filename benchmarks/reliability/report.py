"""Makes docs/RELIABILITY.md from benchmarks/results/reliability-*.json: no figure in it is typed.

python benchmarks/reliability/report.py            writes
python benchmarks/reliability/report.py --check    exits 1 if what is there is not what would be written
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
TEXT = Path(__file__).with_name("report.md")
"""What is said around the figures; `{{table}}` and `{{sections}}` are put in."""

Result = dict[str, Any]


def main() -> int:
    """Writes, or compares."""
    found = {path.stem.removeprefix("reliability-"): path for path in sorted(RESULTS.glob("reliability-*.json"))}
    results = {name: json.loads(path.read_text("utf-8")) for name, path in found.items()}
    text = TEXT.read_text("utf-8").replace("{{table}}", table(results)).replace("{{sections}}", sections(results))
    page = ROOT / "docs" / "RELIABILITY.md"
    if "--check" in sys.argv:
        if not page.exists() or page.read_text("utf-8") != text:
            print("docs/RELIABILITY.md is not what benchmarks/reliability/report.py makes", file=sys.stderr)
            return 1
        return 0
    page.write_text(text, "utf-8")
    return 0


def kill(r: Result) -> tuple[str, str]:
    """What was done, what came out."""
    return (
        f"kill -9 at {r['kills']} moments of {r['runs']} runs over all models, {r['during_a_save']} during a save",
        f"{len(r['runs_lost'])} runs lost, {len(r['runs_different'])} with other bits",
    )


def faults(r: Result) -> tuple[str, str]:
    """The same for a disk that fails."""
    went, stopped = (sum(row[key] for row in r["table"].values()) for key in ("went_on", "stopped_with_5"))
    return (
        f"{r['faults']} faults of the disk, at every write, fsync and rename of a whole run",
        f"{len(r['findings'])} findings: {went} times the run went on, {stopped} times it left with 5, and always the "
        "same command then ended in the same bits",
    )


def flips(r: Result) -> tuple[str, str]:
    """The same for damaged files."""
    return (
        f"{r['changes']} truncations and flipped bits over all files of models, checkpoints and runs under way",
        f"{r['changes'] - len(r['not_found_or_not_mended'])} found, and the state before used or the file put right",
    )


def folders(r: Result) -> tuple[str, str]:
    """The same for strangers' folders."""
    return (
        f"{r['folders']:,} mutated model folders, {r['outcomes']['refused']:,} of them refused",
        f"{len(r['findings'])} findings: no code run, nothing opened outside, no socket, no process, no traceback, no "
        f"panic; the slowest command took {r['slowest_seconds']} s of the processor, the largest "
        f"{r['largest_megabytes_over_base']} MB over the base",
    )


def lines(r: Result) -> tuple[str, str]:
    """The same for hostile texts."""
    return (
        f"{r['lines']:,} hostile lines, {r['asked'].get('files, each checked and trained on', 0)} odd files",
        f"{len(r['findings'])} findings: lines out = lines in, every skip counted, no traceback",
    )


def same(r: Result) -> tuple[str, str]:
    """The same for repeated answers."""
    return (
        f"{r['sentences']:,} sentences in {r['ways']} ways: batches of 1, 7, 64; in order and shuffled; 1 and 2 "
        f"threads; {r['engines']}",
        f"{r['different']} different texts in {r['compared']:,} comparisons; {r['near_ties']} near ties (below 1e-5)",
    )


def audit(r: Result) -> tuple[str, str]:
    """The same for known vulnerabilities of what is installed."""
    return f"`{r['command']}`", r["outcome"]


ROWS = {
    "kill": kill,
    "faults": faults,
    "flips": flips,
    "folders": folders,
    "lines": lines,
    "same": same,
    "audit": audit,
}


def table(results: dict[str, Result]) -> str:
    """One row for each trial; one that has not been made is said to be missing."""
    rows = ["| trial | outcome |", "|---|---|"]
    for name, row in ROWS.items():
        what, outcome = row(results[name]) if name in results else (f"`{name}`", "not measured yet")
        rows.append(f"| {what} | {outcome} |")
    return "\n".join(rows)


def sections(results: dict[str, Result]) -> str:
    """Command, commit, versions, date of each, and its own figures."""
    parts = []
    for name in ROWS:
        if name not in results:
            continue
        r = results[name]
        versions = ", ".join(f"{package} {version}" for package, version in r["versions"].items())
        machine = ", ".join(f"{key} {value}" for key, value in r["machine"].items())
        parts += [
            f"### {name}",
            "",
            f"    {r['command']}",
            "",
            f"Commit {r['commit']}, {r['date']}; {versions}; {machine}.",
        ]
        parts += ["", *figures(r), ""]
    return "\n".join(parts).rstrip()


def figures(r: Result) -> list[str]:
    """Whatever else the trial counted, as lines."""
    known = {"name", "command", "commit", "date", "versions", "machine", "outcome"}
    shown = []
    for key, value in r.items():
        label = key.replace("_", " ")
        if key in known:
            continue
        if isinstance(value, list):
            shown.append(f"- {label}: {len(value) or 'none'}")
            shown += [f"    - {line[:300]}" for line in value]
        elif isinstance(value, dict):
            inside = [f"{name}: {told(one)}" for name, one in value.items()]
            shown.append(f"- {label}: {'; '.join(inside)}")
        else:
            shown.append(f"- {label}: {told(value)}")
    return shown


def told(value: Any) -> str:
    """A figure for people."""
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {told(one)}" for name, one in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
