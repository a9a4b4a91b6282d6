"""The works that are measured: what they are, by which metric they are compared, and what is published.

Where a published figure could not be looked up, there is none: nothing here is guessed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from family import FAMILY


class Work(NamedTuple):
    """One row of the table."""

    what: str  # {minutes} stands for the budget
    metric: str
    published: str


LANGUAGES = ("fre", "gre", "hin", "hun", "ice", "kor")
_SHARED_TASK = {
    "fre": ("French", "6.22"),
    "gre": ("Greek", "18.89"),
    "hin": ("Hindi", "6.67"),
    "hun": ("Hungarian", "5.33"),
    "ice": ("Icelandic", "10.00"),
    "kor": ("Korean", "46.89"),
}
"""Word error rates of the LSTM baseline of SIGMORPHON 2020, task 1."""


def _pronunciation(language: str) -> Work:
    name, published = _SHARED_TASK[language]
    return Work(f"{name} pronunciation (SIGMORPHON 2020), {{minutes}}", "wer", f"the shared task's LSTM {published}")


def _paper(name: str) -> Work:
    what = f"Multi30k German → English, test_2016, the small recipe of {name}, {{minutes}}"
    return Work(what, "bleu", "none known at this size; the paper has another corpus")


def _member(what: str) -> Work:
    name, published = _SHARED_TASK["gre"]
    return Work(f"{name} pronunciation, {what}, {{minutes}}", "wer", f"the shared task's LSTM {published}")


_RULES = json.loads((Path(__file__).parent / "results" / "rules.json").read_text("utf-8"))["exact"]
"""Its baseline for inflection, made again by rules.py."""


def _inflection(language: str, amount: str) -> Work:
    published = f"the shared task's rules {_RULES[f'{language.lower()}-{amount}']}"
    return Work(f"{language} inflection (CoNLL-SIGMORPHON 2018, {amount}), {{minutes}}", "exact", published)


WORKS: dict[str, Work] = {
    "multi30k-20": Work(
        "Multi30k German → English, test_2016, {minutes}",
        "bleu",
        "a tutorial's LSTM with attention 28.3, its Transformer 36.5 (lower-cased)",
    ),
    "multi30k-20-avx2": Work(
        "Multi30k German → English, test_2016, {minutes} of a processor with AVX2 only, in float32", "bleu", ""
    ),
    "multi30k-5": Work("Multi30k German → English, test_2016, {minutes}", "bleu", ""),
    "multi30k-10": Work("Multi30k German → English, test_2016, {minutes}", "bleu", ""),
    "multi30k-60": Work("Multi30k German → English, test_2016, {minutes}", "bleu", ""),
    "multi30k-rnn": Work(
        "Multi30k German → English, test_2016, fixed context vector, source reversed, {minutes}",
        "bleu",
        "an encoder-decoder without attention 13.8",
    ),
    "multi30k-rnn-plain": Work("the same, source not reversed, {minutes}", "bleu", ""),
    "multi30k-transformer": Work(
        "Multi30k German → English, test_2016, Transformer, {minutes}",
        "bleu",
        "a tutorial's Transformer 36.5 (lower-cased)",
    ),
    "multi30k-hybrid": Work("Multi30k German → English, test_2016, hybrid, {minutes}", "bleu", ""),
    "multi30k-en-de": Work(
        "Multi30k English → German, test_2016, {minutes}", "bleu", "LIUM-CVC 2017's RNN with attention 38.1"
    ),
    "sutskever-2014": _paper("Sutskever et al. 2014"),
    "bahdanau-2015": _paper("Bahdanau et al. 2015"),
    "luong-2015": _paper("Luong et al. 2015"),
    "vaswani-2017": _paper("Vaswani et al. 2017"),
    **{name: _member(what) for name, (_, what) in FAMILY.items()},
    "kor": _pronunciation("kor"),
    "gre": _pronunciation("gre"),
    **{language: _pronunciation(language) for language in ("fre", "hin", "hun", "ice")},
    "cmudict": Work(
        "English pronunciation (CMUdict, WikiPron-modelling split), {minutes}",
        "wer",
        "on other splits: Transformer 30.2, Phonetisaurus 33.9",
    ),
    "cmudict-20": Work("English pronunciation (CMUdict, WikiPron-modelling split), {minutes}", "wer", ""),
    "german-high": _inflection("German", "high"),
    "german-medium": _inflection("German", "medium"),
    "turkish-high": _inflection("Turkish", "high"),
    "turkish-medium": _inflection("Turkish", "medium"),
    "spelling": Work("English spelling, Norvig's testset1, {minutes}", "exact", "Norvig's corrector 75"),
    "german-anselm": Work(
        "Early New High German → modern spelling (Anselm; development tokens, the test set is not at hand), {minutes}",
        "exact",
        "",
    ),
    "quickstart-dates": Work("dates in 17 languages → ISO 8601, 2.5 minutes", "exact", ""),
    "quickstart-pronounce": Work(
        "English pronunciation (CMUdict without stress), 7.8 minutes",
        "wer",
        "on other splits: Transformer 30.2, Phonetisaurus 33.9",
    ),
    "sae4k": Work("Korean summaries of utterances (sae4k, development part), {minutes}", "rougeL", ""),
    "chat": Work("Korean chat, replies drawn, {minutes}", "chrf", ""),
    "chatbot": Work("Korean chat, {minutes}", "chrf", ""),
}
"""Name of a measurement → its row; results of NAME-SEED and NAME-xN stand beside that of NAME."""

ON_THE_FRONT = (
    "multi30k-20",
    "multi30k-60",
    "multi30k-rnn",
    "multi30k-transformer",
    "multi30k-hybrid",
    "multi30k-en-de",
    "cmudict",
    "german-high",
    "turkish-high",
    "spelling",
    "german-anselm",
    "quickstart-dates",
    "sae4k",
    "chat",
)
"""The works whose rows stand in the READMEs, too, with the mean of the six languages: one or two of each task."""


def score_of(result: dict[str, Any], metric: str) -> dict[str, Any]:
    """One score of a result."""
    found: dict[str, Any] = next(score for score in result["scores"] if score["metric"] == metric)
    return found


def provenance_line(found: dict[str, Any]) -> str:
    """On which machine, of which code, when, for people; older results say less."""
    commit = f"commit {found['commit']}" if "commit" in found else ""
    when = ", ".join(filter(None, (commit, found.get("date"))))
    return "; ".join(filter(None, (found.get("machine"), when)))


def processor_words(found: dict[str, Any]) -> str:
    """What a title adds where the processor is not of the kind that most was measured on; older results say nothing."""
    return ", on a processor with AVX2 only" if "machine" in found and "avx512f" not in found["machine"] else ""
