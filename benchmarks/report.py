"""Makes docs/RESULTS.md, and the table in both READMEs, from benchmarks/results/*.json: none of it is typed.

python benchmarks/report.py            writes
python benchmarks/report.py --check    exits 1 if what is there is not what would be written
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MARKERS = re.compile(r"(<!-- results: [^>]*-->\n).*?(<!-- /results -->)", re.DOTALL)

# name → (what, metric, published or earlier figures beside it)
WORKS: dict[str, tuple[str, str, str]] = {
    "multi30k-20": (
        "Multi30k German → English, test_2016, 20 minutes",
        "bleu",
        "a tutorial's LSTM with attention 28.3, its Transformer 36.5 (lower-cased)",
    ),
    "multi30k-5": ("Multi30k German → English, test_2016, 5 minutes", "bleu", ""),
    "multi30k-rnn": (
        "Multi30k German → English, test_2016, fixed context vector, 60 minutes",
        "bleu",
        "an encoder-decoder without attention 13.8",
    ),
    "multi30k-transformer": (
        "Multi30k German → English, test_2016, Transformer, 30 minutes on one thread",
        "bleu",
        "a tutorial's Transformer 36.5 (lower-cased)",
    ),
    "fre": ("French pronunciation (SIGMORPHON 2020), 60 passes", "wer", "the shared task's LSTM 6.22"),
    "gre": ("Greek pronunciation (SIGMORPHON 2020), 60 passes", "wer", "the shared task's LSTM 18.89"),
    "hin": ("Hindi pronunciation (SIGMORPHON 2020), 60 passes", "wer", "the shared task's LSTM 6.67"),
    "hun": ("Hungarian pronunciation (SIGMORPHON 2020), 60 passes", "wer", "the shared task's LSTM 5.33"),
    "ice": ("Icelandic pronunciation (SIGMORPHON 2020), 60 passes", "wer", "the shared task's LSTM 10.00"),
    "kor": ("Korean pronunciation (SIGMORPHON 2020), 60 passes", "wer", "the shared task's LSTM 46.89"),
    "quickstart-dates": ("dates in 17 languages → ISO 8601, 2.5 minutes", "exact", ""),
    "quickstart-pronounce": (
        "English pronunciation (CMUdict without stress), 7.8 minutes",
        "wer",
        "on other splits: Transformer 30.2, Phonetisaurus 33.9",
    ),
    "chatbot": ("Korean chat, 5 minutes", "chrf", ""),
}

HEAD = """# Results

Made by `python benchmarks/report.py` from the files in `benchmarks/results/`; `benchmarks/README.md` tells how to
make those again. Intervals are 95%, by bootstrap over lines. Two cores of a shared server processor (AMD Zen 4, AVX-512
with bf16), no GPU; one seed each, so a difference within an interval is none. Minutes are those of the run, preparation
of the data included.

"""


def main() -> int:
    """Writes, or compares."""
    found = {name: json.loads(path.read_text("utf-8")) for name in WORKS if (path := RESULTS / f"{name}.json").exists()}
    speed = RESULTS / "speed.json"
    wanted = {
        ROOT / "docs" / "RESULTS.md": page(found, json.loads(speed.read_text("utf-8")) if speed.exists() else None)
    }
    for name in ("README.md", "README.ko.md"):
        text = (ROOT / name).read_text("utf-8")
        wanted[ROOT / name] = MARKERS.sub(lambda match: match[1] + short_table(found) + match[2], text)
    if "--check" in sys.argv:
        stale = [
            str(path.name) for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text
        ]
        if stale:
            print(f"not what benchmarks/report.py makes: {', '.join(stale)}", file=sys.stderr)
        return 1 if stale else 0
    for path, text in wanted.items():
        path.write_text(text, "utf-8")
    return 0


def figure(result: dict[str, Any], metric: str) -> str:
    """`BLEU 41.20 [39.50, 42.60]`"""
    one = next(score for score in result["scores"] if score["metric"] == metric)
    return f"{one['name']} {one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"


def short_table(found: dict[str, dict[str, Any]]) -> str:
    """The rows for the README."""
    rows = [
        f"| {what} | {figure(found[name], metric)} | {published} |"
        for name, (what, metric, published) in WORKS.items()
        if name in found
    ]
    return "\n".join(["| work | reached | published |", "|---|---|---|", *rows, ""])


def page(found: dict[str, dict[str, Any]], speed: dict[str, Any] | None) -> str:
    """docs/RESULTS.md"""
    parts = [HEAD + short_table(found)]
    parts += [section(WORKS[name][0], result) for name, result in found.items()]
    if speed is not None:
        parts.append(speed_section(speed))
    return "\n".join(parts)


def section(title: str, result: dict[str, Any]) -> str:
    """One work, whole."""
    scores = [
        f"| {s['name']} | {s['value']:.2f} | {s['low']:.2f} to {s['high']:.2f} | {escaped(s['signature'])} |"
        for s in result["scores"]
    ]
    versions = ", ".join(f"{package} {version}" for package, version in result["versions"].items())
    lines = [
        f"## {title}",
        "",
        f"    {result['command']}",
        f"    {result['judged_by']}",
        "",
        "| metric | value | interval | signature |",
        "|---|---|---|---|",
        *scores,
        "",
        f"{result['lines']:,} lines judged; {result['parameters']:,} parameters, {result['updates']:,} updates "
        f"in {result['minutes']:.1f} minutes, {result['precision']}, threads: {result['threads']}, "
        f"seed {result['seed']}, "
        f"median {result['tokens_per_second']:,} target tokens/s in training; "
        f"{versions}; commit {result['commit']}, {result['date']}.",
        "",
    ]
    if "scored" in result:
        lines += [f"Perplexity of the given answers: {result['scored']['perplexity']:.1f} a token.", ""]
    if "samples" in result:
        lines += ["| question (not from the data) | the model's reply |", "|---|---|"]
        lines += [f"| {' | '.join(map(escaped, sample))} |" for sample in result["samples"]] + [""]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")


def speed_section(speed: dict[str, Any]) -> str:
    """The first mark of speed beside the peers."""
    rows = [
        f"| {row['what']} | {row['median']:,} | {row['low']:,} to {row['high']:,} | {row['beside']} |"
        for row in speed["rows"]
    ]
    return "\n".join(
        [
            "## Speed: a first mark",
            "",
            speed["how"],
            "",
            "| what | tokens/s, median | least to most | peers, tokens/s, measured earlier |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
