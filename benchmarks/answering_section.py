"""The section of docs/RESULTS.md that shows benchmarks/results/answering.json."""

from __future__ import annotations

from typing import Any

from works import processor_words, provenance_line


def _rival(found: dict[str, Any]) -> str:
    """At which settings the rival ran."""
    if "rival_settings" not in found:
        return (
            f"CTranslate2 ran with batches on {found['threads']} workers of one thread, single lines on one thread; in "
            "batches it had only two or three of them a round, so that one worker waited for the other at the end."
        )
    kept = "; ".join(f"{work}: {workers} × {each}" for work, (workers, each) in found["rival_settings"].items())
    return f"CTranslate2 ran with the fastest of all divisions of the threads (workers × threads of each: {kept})."


def answering_section(found: dict[str, Any]) -> str:
    """Speed of every system, and its quality and memory where those are measured (`answering.py quality`)."""
    works, judged = list(found["works"]), "systems" in found
    systems: dict[str, Any] = found["systems"] if judged else dict.fromkeys(next(iter(found["works"].values())))
    all_of_them = any("float32" in name for name in systems)
    lines = [
        f"## Answering: pairloom beside CTranslate2{' and Hugging Face transformers' * all_of_them}"
        f"{processor_words(found)}",
        "",
        "    python benchmarks/answering.py speed --data DATA --attention RUNS/A --transformer RUNS/T "
        f"{'--hybrid RUNS/H ' if any('hybrid' in name for name in systems) else ''}--peers PEERS "
        f"--rounds {found['rounds']}{'' if all_of_them else ' --only int8'}"
        f"{' --result answering-avx2' if processor_words(found) else ''}",
        "",
        f"Multi30k test_2016, German → English, text in, text out; {found['threads']} threads on {found['processor']}; "
        f"every system in a process of its own, in turn, {found['rounds']} rounds. Target tokens a second (`</s>` "
        f"counted): median, and in brackets how many times that of {found['rival']} (median of the single rounds). The "
        f"peers have the weights of pairloom's Transformer. {_rival(found)}",
        "",
        f"| system | {' | '.join(works)} |{' BLEU greedy / beam 5 | peak memory, MB |' if judged else ''}",
        f"|---|{'---|' * (len(works) + 2 * judged)}",
    ]
    for name, facts in systems.items():
        cells = [
            f"{found['works'][work][name]['median']:,} ({found['works'][work][name]['ratio']:.2f} ×)" for work in works
        ]
        if judged:
            cells += [" / ".join(f"{value:.2f}" for value in facts["bleu"].values()), f"{facts['peak_mb']:.0f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    if not judged:
        return "\n".join([*lines, "", f"{versions}. BLEU and memory are yet to be measured in the same way.", ""])
    peers = ", ".join(
        dict.fromkeys(
            f"{name.split()[0]} {facts['version']}" for name, facts in systems.items() if "pairloom" not in name
        )
    )
    same = ", ".join(
        f"{name}: {' / '.join(str(count) for count in counts.values())}" for name, counts in found["same_texts"].items()
    )
    lines += [
        "",
        "Peak memory: a fresh process that loads the model and answers 64 lines at once with a beam of 5. "
        + (
            f"Of {found['lines']:,} lines the same text as pairloom's Transformer in torch (greedy / beam 5): {same}. "
            if same
            else ""
        )
        + "The peers' beams normalise by length in another way."
        + (
            " MarianMT of transformers has norms after the layers only and cannot carry these weights; M2M100 of the "
            "same library, with the same `generate`, does."
            if all_of_them
            else ""
        ),
        "",
        "; ".join(part for part in (f"{versions}, {peers}", provenance_line(found)) if part) + ".",
        "",
    ]
    return "\n".join(lines)
