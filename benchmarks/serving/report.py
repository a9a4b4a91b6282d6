"""Makes docs/SERVING.md from benchmarks/results/serving-*.json: none of it is typed.

python benchmarks/serving/report.py            writes
python benchmarks/serving/report.py --check    exits 1 if what is there is not what would be written
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "SERVING.md"

HEAD = """# What the server bears

Made by `python benchmarks/serving/report.py` from the files in `benchmarks/results/`; the scripts beside it make those
again. How to use the server is told in [docs/serving](serving/README.md). Clients and server shared one machine with
two cores (AMD Zen 4), no GPU, all traffic over 127.0.0.1; so clients take their part of what is measured.
"""
THROUGHPUT = """## Throughput, and one request at a time

Multi30k German → English, beam 5, batches of 32, texts a second: medians of rounds in turn (the share: the median of
the rounds' shares), the start of the command taken off. The mark: 85% of `pairloom generate` at the same batch. The
clients run on the same two cores; what they took of them is in the second table. In int8 the company in a batch may
change an answer, so only the answers in float32 are counted as right or wrong.
"""
PROCESSOR = """
Processor time that a text takes, of both cores together:
"""
SINGLY = """
One request after another, milliseconds; the same texts through the same model in Python, in turn:
"""
LOAD = """## Twice of what it can bear

One text a request, arriving at random; every answer is compared with the model's own. Milliseconds, from the first byte
sent to the last one read.
"""
DRAIN = """## SIGTERM under load

`accepted` is what the server's log has; each of them must have come to its client as `answered` or `refused`. Mark: no
accepted request lost. `lost to a strict client` counts more: sent, and neither a whole answer nor a closed door,
whether the server had accepted it or the system had reset it before.
"""
WITHOUT = """## The same on a processor with AVX2 only

No AVX-512, no bfloat16, no VNNI, as in many laptops (an AMD EPYC, two cores), on 2026-11-29; a model that was trained
there, of the same sizes. The model takes longer there, so what the server adds weighs less. This is newer than what is
above: since then `/generate` cuts a text into tokens once instead of twice and passes FastAPI's layers by, and (the
loads) the answers of a batch are handed on four at a time. Of runs of two to four minutes beside these ten
some had no late refusal and some two or three dozen; [LOG.md](LOG.md) tells what they waited for.
"""
HOSTILE = "## What nobody should send\n"
FACTS = (
    "requests",
    "5xx but 503, seen by clients",
    "5xx but 503, in the server's log",
    "faults in the server's log",
    "failures of schemathesis",
    "alive and right afterwards",
    "memory before, MB",
    "memory after, MB",
    "exit code",
)
CLIENTS = "## Clients of other servers, unmodified\n"


def main() -> int:
    """Writes, or compares."""
    text = page()
    if "--check" in sys.argv:
        if PAGE.exists() and PAGE.read_text("utf-8") == text:
            return 0
        print("docs/SERVING.md is not what benchmarks/serving/report.py makes", file=sys.stderr)
        return 1
    PAGE.write_text(text, "utf-8")
    return 0


def page() -> str:
    """docs/SERVING.md"""
    paths = sorted(RESULTS.glob("serving-*.json"))
    found = {path.stem.removeprefix("serving-"): json.loads(path.read_text("utf-8")) for path in paths}
    parts = [HEAD]
    without = {name.removeprefix("avx2-"): one for name, one in found.items() if name.startswith("avx2-")}
    for these, first, second in ((found, THROUGHPUT, LOAD), (without, WITHOUT, "")):
        if some := [these[name] for name in ("throughput-float32", "throughput-int8") if name in these]:
            parts.append(first + throughput(some))
        if "load" in these:
            parts.append(second + load(these["load"]))
    for name, section in (("drain", drain), ("hostile", hostile), ("clients", clients)):
        if name in found:
            parts.append(section(found[name]))
    return "\n".join(parts)


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A table, with a blank line before it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in lines) + "\n"


def made(result: dict[str, Any]) -> str:
    """How, when and with what."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    where = f"{machine['processor']}; " if "processor" in machine else ""
    return f"\n    {result['command']}\n\n{where}{machine['date']}, Python {machine['python']}, {versions}.\n"


def mark(reached: bool) -> str:
    """For the last column of a table."""
    return "reached" if reached else "**not reached**"


def throughput(results: list[dict[str, Any]]) -> str:
    """The command beside the server, by precision."""
    rows: list[list[Any]] = []
    spent: list[list[Any]] = []
    singles: list[list[Any]] = []
    for one in results:
        precision, command = one["engine"]["precision"], one["command, texts a second"]
        for name, value in one["saturation"].items():
            share = one["share of the command"][name]
            wrong = one["wrong or exchanged"] if precision == "float32" else ""
            rows.append([precision, name, command, value, f"{share:.0%}", mark(share >= 0.85), wrong])
            both = (one[f"{who}, processor ms a text"][name] for who in ("server", "clients"))
            spent.append([precision, name, one["command, processor ms a text"], *both])
        alone = one["one at a time"]
        above = alone["above, median ms"]
        singles.append([precision, alone["engine p50 ms"], alone["server p50 ms"], above, mark(above <= 5)])
    head = ["precision", "clients send"]
    first = table([*head, "`pairloom generate`", "server", "share", "mark: 85%", "wrong"], rows)
    second = table([*head, "`pairloom generate`, ms", "server, ms", "clients, ms"], spent)
    third = table(["precision", "in Python, median", "server, median", "above, median", "mark: 5 ms"], singles)
    return first + PROCESSOR + second + SINGLY + third + made(results[0])


def load(one: dict[str, Any]) -> str:
    """80%, 200%, afterwards."""
    rows = []
    for name, title in (("80%", "80%"), ("200%", "200%"), ("80% afterwards", "80% again")):
        if name not in one:  # the measurement was cut short
            continue
        part = one[name]
        accepted, refused = part["accepted ms"], part["refused ms"]
        late, wrong, failed = part["refused over 50 ms"], part["wrong or exchanged"], part["connections that failed"]
        times = [refused.get(key, "") for key in ("p50", "p99", "max")]
        answered = [part["accepted"], accepted["p50"], accepted["p99"]]
        rows.append([title, *answered, part["refused"], *times, late, wrong, failed])
    head = ["load", "accepted", "p50", "p99", "refused", "p50", "p99", "longest", "over 50 ms", "wrong", "failed"]
    if "200%" not in one:
        return table(head, rows) + made(one)
    double = one["200%"]
    late, wrong, grown = double["refused over 50 ms"], double["wrong or exchanged"], one["memory grows by"]
    ratio, normal, minutes = one["p99 at 200% beside 80%"], one["normal again after seconds"], double["minutes"]
    marks: list[list[Any]] = [
        ["p99 of accepted requests beside that at 80%, before and after", ratio, "at most 2", mark(ratio <= 2)],
        ["refusals later than 50 ms", f"{late} ({late / max(1, double['refused']):.3%})", "0", mark(late == 0)],
        ["wrong or exchanged answers", wrong, "0", mark(wrong == 0)],
        ["memory grows by", f"{grown:.1%}", "at most 5%", mark(grown <= 0.05)],
        ["normal again after, seconds", normal, "at most 5", mark(normal <= 5)],
        ["minutes of double load", minutes, "10", mark(minutes >= 10)],
    ]
    how = (
        f"\n{one['80%']['requests a second']} requests a second are 80%, {double['requests a second']} are 200%; "
        f"{one['engine']['precision']}, `--queue-seconds {one['longest wait, seconds']}`: what a full batch took in "
        "the throughput above. By default ten seconds of work may wait: then fewer are refused, and everybody waits "
        "longer. A line as short refuses some requests at 80%, too, where several come at once.\n"
    )
    memory = ", ".join(map(str, one["memory at 200%, MB"]))
    resident = f"\nResident memory when the double load began, after a tenth of it, and at its end: {memory} MB.\n"
    if late:
        stolen = one["taken by other machines on the same host, seconds"]
        resident += f"\nOther machines on the host took {stolen} s of this one's processors in those minutes.\n"
        if (stood := double.get("of them while the clients stood still")) is not None:  # older results
            resident += (
                f"\n{stood or 'None'} of the late refusals overlap with a time in which the clients' own process did "
                "not get on for 30 ms or more.\n"
            )
        if (own := double.get("of them perhaps there before the clients looked")) is not None:
            resident += (
                f"\nClients and server share two processors: of the {late} late refusals, {own} may have been there in "
                "time, while the clients' own process was busy with other answers or waited for a processor.\n"
            )
    return how + table(head, rows) + table(["", "measured", "mark", ""], marks) + resident + made(one)


def drain(one: dict[str, Any]) -> str:
    """SIGTERM."""
    names = {"lost": "lost to a strict client"}
    rows = [[names.get(name, name), value] for name, value in one.items() if name not in ("command", "machine")]
    lost = one["accepted"] - one["answered"] - one["refused"]
    marks = table(["", "measured", "mark", ""], [["accepted requests lost", lost, "0", mark(lost == 0)]])
    return DRAIN + table(["", ""], rows) + marks + made(one)


def hostile(one: dict[str, Any]) -> str:
    """What nobody should send."""
    kinds = {"made from the schema (schemathesis)": one["of schemathesis"], **one["by kind"]}
    rows = []
    for kind, statuses in sorted(kinds.items()):
        rows.append([kind, ", ".join(f"{n} × {NONE.get(status, status)}" for status, n in sorted(statuses.items()))])
    honest = ", ".join(f"{name}: {n}" for name, n in sorted(one["honest client"].items()))
    facts = table(["", ""], [[name, told(one[name])] for name in FACTS if name in one])
    asked = f"\nAn honest client asked all the while: {honest}.\n"
    return HOSTILE + facts + asked + table(["kind", "answers by status"], rows) + made(one)


def told(value: Any) -> Any:
    """A fact for a cell of a table."""
    return ("; ".join(value) or "none") if isinstance(value, list) else value


NONE = {"0": "none", "-1": "not let in"}


def clients(one: dict[str, Any]) -> str:
    """The programs of others."""
    rows = [[row["client"], row["version"], f"{row['right']} of {row['texts']}"] for row in one["clients"]]
    return CLIENTS + table(["client", "version", "as the model itself"], rows) + made(one)


if __name__ == "__main__":
    raise SystemExit(main())
