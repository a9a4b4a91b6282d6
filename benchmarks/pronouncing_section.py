"""The section of docs/RESULTS.md that shows benchmarks/results/pronouncing.json."""

from __future__ import annotations

from typing import Any

from works import provenance_line


def _made(name: str, facts: dict[str, Any]) -> str:
    """How big a model is, and how long it was trained."""
    what = name.rpartition(",")[0] or name
    return f"{what}: {facts['parameters']:,} parameters, {facts['minutes']:g} minutes, {facts['updates']:,} updates"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _cell(row: dict[str, Any] | None) -> str:
    """Speed, and how many times that of the rival, as it is and sorted."""
    if row is None:
        return ""
    more = f" / {row['ratio_to_sorted']:.2f} ×" if "ratio_to_sorted" in row else ""
    return f"{row['median']:,} ({row['ratio']:.2f} ×{more})"


def _row(name: str, facts: dict[str, Any], works: dict[str, Any]) -> str:
    """One system."""
    cells = [_cell(rows.get(name)) for rows in works.values()]
    cells += [
        " / ".join(f"{value:.2f}" for value in facts["wer"].values()),
        " / ".join(f"{value:.2f}" for value in facts["tokens_a_word"].values()),
        " / ".join(str(value) for value in facts["longest"].values()),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def pronouncing_section(found: dict[str, Any]) -> str:
    """Speed of every system, and beside it how right and how long its answers are."""
    works, systems, rival = found["works"], found["systems"], found["rival"]
    made = dict.fromkeys(_made(name, facts) for name, facts in systems.items())
    chosen = ", ".join(f"{work}: {_threads(count)}" for work, count in systems[rival]["settings"].items())
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    same = found["same_as_predict"]
    lines = [
        f"## Pronouncing: pairloom beside {rival}",
        "",
        f"    {found['command']}",
        "",
        f"{found['words']:,} words of CMUdict's test set, text in, text out; {_threads(found['threads'])}; every "
        f"system in a process of its own, loaded and warm, in turn, {found['rounds']} rounds. Words a second: median, "
        f"and in brackets how many times that of {rival} with the same search (median of the single rounds); in "
        f"batches first that of {rival} with batches as its command makes them, in the order of the file, then that "
        "with words of like length in each, as pairloom makes them.",
        "",
        f"| system | {' | '.join(works)} | WER greedy / beam 5 | symbols a word | most |",
        f"|---|{'---|' * (len(works) + 3)}",
        *(_row(name, facts, works) for name, facts in systems.items()),
        "",
        f"Each has a model that it has trained itself. {'; '.join(made)}; {rival}'s has the sizes under training. So "
        "the word error rates tell what these minutes gave, not what either can reach; the symbols in an answer "
        "(`</s>` counted, and the most without it) tell whether one is fast by answering less.",
        "",
        f"{rival} ran with its own classes, without the start of its `predict`: {same['same']} of {same['words']} "
        "words have the answer of that command (greedy, batches of 64). It ran with the number of threads that was "
        f"fastest ({chosen}).",
        "",
        f"{versions}; {provenance_line(found)}.",
        "",
    ]
    return "\n".join(lines)
