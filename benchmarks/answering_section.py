"""The section of docs/RESULTS.md that shows benchmarks/results/answering.json."""

from __future__ import annotations

from typing import Any


def answering_section(found: dict[str, Any]) -> str:
    """Speed, quality and memory of every system."""
    works, systems = list(found["works"]), found["systems"]
    lines = [
        "## Answering: pairloom beside CTranslate2 and Hugging Face transformers",
        "",
        f"    {found['command']} --peers PEERS --rounds {found['rounds']}",
        "",
        f"Multi30k test_2016, German → English, text in, text out; {found['threads']} threads on {found['processor']}; "
        f"every system in a process of its own, in turn, {found['rounds']} rounds. Target tokens a second (`</s>` "
        f"counted): median, and in brackets how many times that of {found['rival']} (median of the single rounds). The "
        "peers have the weights of pairloom's Transformer. CTranslate2 runs at its best setting: batches on "
        f"{found['threads']} workers of one thread, single lines on one thread.",
        "",
        f"| system | {' | '.join(works)} | BLEU greedy / beam 5 | peak memory, MB |",
        f"|---|{'---|' * (len(works) + 2)}",
    ]
    for name, facts in systems.items():
        cells = [
            f"{found['works'][work][name]['median']:,} ({found['works'][work][name]['ratio']:.2f} ×)" for work in works
        ]
        bleu = " / ".join(f"{value:.2f}" for value in facts["bleu"].values())
        lines.append(f"| {name} | {' | '.join(cells)} | {bleu} | {facts['peak_mb']:.0f} |")
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    peers = ", ".join(
        f"{name.split()[0]} {facts['version']}" for name, facts in systems.items() if name.endswith("float32")
        and not name.startswith("pairloom")
    )  # fmt: skip
    same = ", ".join(
        f"{name}: {' / '.join(str(count) for count in counts.values())}" for name, counts in found["same_texts"].items()
    )
    lines += [
        "",
        f"Peak memory: a fresh process that loads the model and answers 64 lines at once with a beam of 5. Of "
        f"{found['lines']:,} lines the same text as pairloom's Transformer in torch (greedy / beam 5): {same}. The "
        "peers' beams normalise by length in another way. MarianMT of transformers has norms after the layers only and "
        "cannot carry these weights; M2M100 of the same library, with the same `generate`, does.",
        "",
        f"{versions}, {peers}.",
        "",
    ]
    return "\n".join(lines)
