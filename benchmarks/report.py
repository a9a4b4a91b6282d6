"""Makes docs/RESULTS.md, and the table in both READMEs, from benchmarks/results/*.json: none of it is typed.

python benchmarks/report.py            writes
python benchmarks/report.py --check    exits 1 if what is there is not what would be written
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from answering_section import answering_section
from pipe_section import pipe_section
from pronouncing_section import pronouncing_section
from report_learning import PICTURE, draw_minutes, minutes_section, vectors_section
from report_speed import first_section, front_table, limits_section, training_section
from shortlist_section import shortlist_section
from works import LANGUAGES, ON_THE_FRONT, WORKS, Work, provenance_line, score_of

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MARKERS = re.compile(r"(<!-- (results|speed): [^>]*-->\n).*?(<!-- /\2 -->)", re.DOTALL)

HEAD = """# Results

Made by `python benchmarks/report.py` from the files in `benchmarks/results/`; `benchmarks/README.md` tells how to
make those again. Intervals are 95%, by bootstrap over lines. Two cores of a shared server processor (AMD Zen 4, AVX-512
with bf16), no GPU; where a section says "avx2" and no more, a processor without AVX-512, which learns in float32 and
takes two to three times as long. One seed each, so a difference within an interval is none. Minutes in titles are those
of the budget, preparation of the data included; with few pairs a run ends before, after its passes, and its section
says when.

What is dated before 2026-11-28 was judged with a beam that could be cut short (decision
[0023](decisions/0023-a-search-is-not-cut-short.md)): where a model is sure of each letter, a figure may be too low.
Models with attention dated before 2026-11-28, and on that day those of commits before d366cc0 (sentences) and 14833a9
(few words), were trained with a learning rate of 2e-3: their commands need `--set training.learning_rate=2e-3` today,
but for `--task inflect`, `summarize` and `chat`, which have it. Runs of fewer than 3,000 updates of commits before
9b8a08a warmed up over a tenth of their updates at most; since then it is a quarter, by which short runs gain. The
Transformer of commits before ccb5bc1 had 1,500 tokens a batch (`--set training.batch_tokens=1500` today). Where minutes
are of one core's time, the run was made by `benchmarks/quality.py --processor-time`, which counts them in that way.

Published figures: SIGMORPHON 2020 task 1 (Gorman et al. 2020), CoNLL-SIGMORPHON 2018 task 1 (Cotterell et al. 2018; its
rules made again by `benchmarks/rules.py`), LIUM-CVC (Caglayan et al. 2017, arXiv 1707.04481), Norvig's own page on his
corrector. Where a cell is empty, none is known that could be compared.

"""

PIPES = {"int8": "pipe", "float32": "pipe-float32"}
"""precision → result of pipe.py"""


def main() -> int:
    """Writes, or compares."""
    found = read_results()
    wanted = {ROOT / "docs" / "RESULTS.md": page(found)}
    tables = {"results": short_table(found), "speed": front_table(kept("training"), kept("answering"))}
    for name in ("README.md", "README.ko.md"):
        text = (ROOT / name).read_text("utf-8")
        wanted[ROOT / name] = MARKERS.sub(lambda match: match[1] + tables[match[2]] + match[3], text)
    if "--check" in sys.argv:
        stale = [
            str(path.name) for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text
        ]
        if stale:
            print(f"not what benchmarks/report.py makes: {', '.join(stale)}", file=sys.stderr)
        return 1 if stale else 0
    for path, text in wanted.items():
        path.write_text(text, "utf-8")
    draw_minutes(found, ROOT / PICTURE)
    return 0


def kept(name: str) -> dict[str, Any] | None:
    """A result that is not of a model's quality, if it has been measured."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def read_results() -> dict[str, dict[str, Any]]:
    """Every work that has been measured: with the default seed, then its single seeds, then its ensembles."""
    names = [path.stem for path in RESULTS.glob("*.json") if variant(path.stem)[0]]
    order = list(WORKS)
    names.sort(key=lambda name: (order.index(variant(name)[0]), *variant(name)[1:]))
    return {name: json.loads((RESULTS / f"{name}.json").read_text("utf-8")) for name in names}


def variant(name: str) -> tuple[str, int, int]:
    """`kor` → (kor, 0, 0); with seed 3, `kor-3` → (kor, 0, 3); the ensemble `kor-x5` → (kor, 5, 0); "" if none."""
    if name in WORKS:
        return name, 0, 0
    work, _, rest = name.rpartition("-")
    if work not in WORKS or not rest.removeprefix("x").isdigit():
        return "", 0, 0
    return (work, int(rest[1:]), 0) if rest.startswith("x") else (work, 0, int(rest))


def figure(result: dict[str, Any], metric: str) -> str:
    """`BLEU 41.20 [39.50, 42.60]`"""
    one = score_of(result, metric)
    return f"{one['name']} {one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"


def title(name: str, result: dict[str, Any]) -> str:
    """What was done: the work, its budget, its seed or the size of the ensemble."""
    work, members, seed = variant(name)
    budget = re.search(r"--minutes ([0-9.]+)", result["command"])
    unit = "minutes of one core" if result["threads"] == 1 else "minutes"
    words = WORKS[work].what.replace("{minutes}", f"{budget[1]} {unit}" if budget else "")
    if members:
        return f"{words} a model, ensemble of {members}"
    return f"{words}, seed {seed}" if seed else words


def short_table(found: dict[str, dict[str, Any]], works: tuple[str, ...] = ON_THE_FRONT) -> str:
    """The rows for the README, or for all works; single seeds are summed up in one row."""
    rows = []
    for work in WORKS:
        if work not in works:
            continue
        mine = {name: found[name] for name in found if variant(name)[0] == work}
        seeds = [name for name in mine if variant(name)[2]]
        summed = seeds if len(seeds) > 1 else []
        for name, result in mine.items():
            if name not in summed:
                rows.append((title(name, result), figure(result, WORKS[work].metric), WORKS[work].published))
        if summed:
            rows.append(seeds_row(title(work, mine[summed[0]]), WORKS[work], [mine[name] for name in summed]))
    rows += mean_rows(found)
    return "\n".join(
        ["| work | reached | published |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows), ""]
    )


def seeds_row(what: str, work: Work, seeds: list[dict[str, Any]]) -> tuple[str, str, str]:
    """Mean, least and most of single models that differ in their seed."""
    scores = [score_of(result, work.metric) for result in seeds]
    values = [score["value"] for score in scores]
    spread = f"{scores[0]['name']} {mean(values):.2f} (single: {min(values):.2f} to {max(values):.2f})"
    return f"{what}, mean of {len(seeds)} seeds", spread, work.published


def mean_rows(found: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """The mean over the languages of the pronunciation task, where all of them have been measured alike."""
    rows = []
    for name in found:
        work, members, seed = variant(name)
        results = [found[other] for language in LANGUAGES if (other := language + name.removeprefix(work)) in found]
        alike = all("--task pronounce" in result["command"] for result in results)
        if work == LANGUAGES[0] and len(results) == len(LANGUAGES) and alike and (members or not seed):
            average = mean(score_of(result, "wer")["value"] for result in results)
            how = title(name, results[0]).partition(", ")[2]
            rows.append((f"mean of the six languages, {how}", f"WER {average:.2f}", "the shared task's LSTM 15.67"))
    return rows


def page(found: dict[str, dict[str, Any]]) -> str:
    """docs/RESULTS.md"""
    parts = [HEAD + short_table(found, tuple(WORKS))]
    parts += [section(title(name, result), result) for name, result in found.items()]
    parts.append(minutes_section(found))
    sections = {
        "answering": answering_section,
        "answering-avx2": answering_section,
        "pronouncing": pronouncing_section,
        "first": first_section,
        "shortlist": shortlist_section,
        "training": training_section,
        "training-avx2": training_section,
        "limits": limits_section,
        "vectors": vectors_section,
    }
    for name, section_of in sections.items():
        result = kept(name)
        if result is not None:
            parts.append(section_of(result))
    piped = {precision: one for precision, name in PIPES.items() if (one := kept(name)) is not None}
    if piped:
        parts.append(pipe_section(piped))
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
        f"in {result['minutes']:.1f} minutes{of_the_processor(result)}, {result['precision']}, "
        f"threads: {result['threads']}, seed {result['seed']}, "
        f"median {result['tokens_per_second']:,} target tokens/s in training; "
        f"{versions}; {provenance_line(result)}.",
        "",
    ]
    if "scored" in result:
        lines += [f"Perplexity of the given answers: {result['scored']['perplexity']:.1f} a token.", ""]
    if "samples" in result:
        lines += ["| question (not from the data) | the model's reply |", "|---|---|"]
        lines += [f"| {' | '.join(map(escaped, sample))} |" for sample in result["samples"]] + [""]
    return "\n".join(lines)


def of_the_processor(result: dict[str, Any]) -> str:
    """How the minutes were counted, if not on the wall."""
    return " of one core's time (the machine was shared)" if result.get("clock") == "processor" else ""


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    raise SystemExit(main())
