"""The model card (README.md of the folder, with the metadata that model hubs read) and the learning curve beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairloom.folder import FolderSettings
from pairloom.pictures import draw_curve
from pairloom.storage import write_file

BAR = "\\|"  # a bar within a cell of a table

TEMPLATE = """---
library_name: pairloom
pipeline_tag: text2text-generation
tags:
- pairloom
- {kind}
---

# {name}

An encoder-decoder of kind `{kind}`: {source} sequences in, {target} sequences out. Trained with pairloom {version}.

```
pairloom generate {name} --beam 5 < sources.txt
```

```python
import pairloom
model = pairloom.load("{name}")
print(model.generate(["..."]))
```

## Scores

On {judged} development pairs, by the model's own output, with 95% bootstrap intervals. The best weights were chosen on
these same pairs, so a test set of your own (`pairloom evaluate`) is the honest judge.

{scores}

## How it was made

| | |
|---|---|
{facts}

![learning curve](curve.png)

The settings, versions and hashes of the data are in `training.json`, the log in `metrics.jsonl`. The pairs themselves
are not in this folder; their licence and their mistakes are those of the model, too.
"""


def write_card_and_curve(out: Path, settings: FolderSettings, facts: dict[str, Any], log: list[dict[str, Any]]) -> None:
    """README.md and curve.png."""
    draw_curve(log, out / "curve.png")
    write_file(out / "README.md", card(out.name or "model", settings, facts).encode())


def card(name: str, settings: FolderSettings, facts: dict[str, Any], engine: str = "") -> str:
    """The text of the card."""
    judged = facts.get("development", {"pairs": 0, "scores": []})
    scores = [
        f"| {s['name']} | {s['value']:.2f} | {s['low']:.2f} to {s['high']:.2f} | {s['signature'].replace('|', BAR)} |"
        for s in judged["scores"]
    ]
    table = (
        ["| metric | value | interval | signature |", "|---|---|---|---|", *scores] if scores else ["(not judged yet)"]
    )
    result, versions = facts["result"], facts["versions"]
    rows = {
        "model": f"{settings.kind}, {facts['parameters']:,} parameters",
        "source": f"{settings.source.unit}, {settings.source.size:,} entries",
        "target": f"{settings.target.unit}, {settings.target.size:,} entries" + (" (shared)" if settings.joint else ""),
        "training": f"{result['step']:,} updates in {result['seconds'] / 60:.1f} minutes, seed {facts['seed']}",
        "arithmetic": f"{facts['precision']}, {facts['machine']['processor']}, {facts['machine']['threads']} threads",
        "best weights": f"of update {result['best_step']:,}: loss {result['best_loss']:.3f} a token, "
        f"{100 * result['best_exact']:.1f}% of the development targets wholly right by greedy search",
        "versions": ", ".join(f"{package} {version}" for package, version in versions.items()),
    }
    if engine:
        rows["engine"] = engine.replace("|", BAR)
    return TEMPLATE.format(
        name=name,
        kind=settings.kind,
        source=settings.source.unit,
        target=settings.target.unit,
        version=settings.pairloom,
        judged=judged["pairs"],
        scores="\n".join(table),
        facts="\n".join(f"| {key} | {value} |" for key, value in rows.items()),
    )
