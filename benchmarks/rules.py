"""The baseline of CoNLL-SIGMORPHON 2018, task 1, made again: changes of prefix and suffix, learned by counting.

    python benchmarks/rules.py --data DATA

It is the system of the shared task (Cotterell et al. 2018, arXiv 1810.07125), described at github sigmorphon/conll2018,
task1/baseline: lemma and form are aligned, and cut into prefix, stem and suffix where one of them has nothing; for
every list of features it is counted what a suffix of any length becomes, and what a prefix becomes. A new word takes
the longest suffix that fits, then the most frequent prefix. Languages of prefixes, which are read backwards there, are
left out here: neither German nor Turkish is one. Seconds; kept in results/rules.json.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from origin import provenance

HERE = Path(__file__).parent
SUBSTITUTION = 1.1
"""Cost of another letter; leaving one out or putting one in costs 1, so that these are preferred."""

Change = tuple[str, str]


class Form(NamedTuple):
    """A line of the data."""

    lemma: str
    form: str
    features: str


class Rules(NamedTuple):
    """features → what becomes what, and how often."""

    prefixes: dict[str, Counter[Change]]
    suffixes: dict[str, Counter[Change]]


def main() -> None:
    """Learns, judges on the test forms, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data / "inflection_2018"
    exact = {}
    for language in ("german", "turkish"):
        test = read(folder / f"{language}-test.tsv")
        for amount in ("high", "medium"):
            rules = learn(read(folder / f"{language}-train-{amount}.tsv"))
            right = sum(inflected(one, rules) == one.form for one in test)
            exact[f"{language}-{amount}"] = round(100 * right / len(test), 2)
    found = {"command": "python benchmarks/rules.py --data DATA", "exact": exact, **provenance()}
    (HERE / "results" / "rules.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    print(json.dumps(exact, indent=2))


def read(path: Path) -> list[Form]:
    """lemma TAB form TAB features."""
    return [Form(*line.split("\t")) for line in path.read_text("utf-8").splitlines() if line]


def learn(forms: list[Form]) -> Rules:
    """Counts every change."""
    rules = Rules(defaultdict(Counter), defaultdict(Counter))
    for one in forms:
        above, below = aligned(one.lemma, one.form)
        begin = max(len(side) - len(side.lstrip("_")) for side in (above, below))
        end = len(above) - max(len(side) - len(side.rstrip("_")) for side in (above, below))
        rest = (above[begin:] + ">", below[begin:] + ">")
        stem = below[begin:end]
        for start in range(len(rest[0])):
            rules.suffixes[one.features][_letters(rest[0][start:], rest[1][start:])] += 1
        before = [(f"<{above[:begin]}{stem[:n]}", f"<{below[:begin]}{stem[:n]}") for n in range(len(stem))]
        rules.prefixes[one.features].update({_letters(*pair) for pair in before})
    return rules


def _letters(above: str, below: str) -> Change:
    return above.replace("_", ""), below.replace("_", "")


def aligned(lemma: str, form: str) -> tuple[str, str]:
    """Both with `_` where they have nothing, at the least cost."""
    table: list[list[tuple[float, str, str]]] = [
        [(0.0, "", "")] * (len(form) + 1) for _ in range(len(lemma) + 1)
    ]  # [i][j]: the rest of the lemma from i beside the rest of the form from j
    for i in range(len(lemma), -1, -1):
        for j in range(len(form), -1, -1):
            ways = []
            if i < len(lemma) and j < len(form):
                cost, above, below = table[i + 1][j + 1]
                ways.append((cost + SUBSTITUTION * (lemma[i] != form[j]), lemma[i] + above, form[j] + below))
            if j < len(form):
                cost, above, below = table[i][j + 1]
                ways.append((cost + 1, "_" + above, form[j] + below))
            if i < len(lemma):
                cost, above, below = table[i + 1][j]
                ways.append((cost + 1, lemma[i] + above, "_" + below))
            if ways:
                table[i][j] = min(ways, key=lambda way: way[0])
    return table[0][0][1], table[0][0][2]


def inflected(one: Form, rules: Rules) -> str:
    """The lemma itself, where its features were never seen."""
    word = f"<{one.lemma}>"
    suffixes = [(change, n) for change, n in rules.suffixes.get(one.features, Counter()).items() if change[0] in word]
    if suffixes:
        word = word.replace(*max(suffixes, key=lambda rule: (len(rule[0][0]), rule[1], len(rule[0][1])))[0])
    prefixes = [(change, n) for change, n in rules.prefixes.get(one.features, Counter()).items() if change[0] in word]
    if prefixes:
        word = word.replace(*max(prefixes, key=lambda rule: rule[1])[0])
    return word.removeprefix("<").removesuffix(">")


if __name__ == "__main__":
    main()
