"""From pairs to what a trainer can eat: units chosen, tokenizers learned, both corpora encoded, a plan made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from pairloom.errors import DataError, FolderError
from pairloom.folder import TOKENIZERS, FolderSettings, SideSettings, is_model, with_feature_ids, write_json
from pairloom.storage import check_manifest, file_hash, new_directory, remove_directory, write_file
from pairloom.text.columns import text_part
from pairloom.text.corpus import Corpus, build_corpus, open_corpus
from pairloom.text.features import learn_features
from pairloom.text.findings import EXAMPLES
from pairloom.text.pairs import HeldOut, Pair, PairSource, PairsSettings, open_pairs
from pairloom.text.tokenizer import Tokenizer, train_tokenizer
from pairloom.text.units import UnitChoice, choose_units
from pairloom.version import __version__
from pairloom.workflow.plan import Plan, choose_device, has_fast_bfloat16, make_plan
from pairloom.workflow.settings import RunSettings
from pairloom.workflow.sizing import Sizing, fit, recorded
from pairloom.workflow.start import fit_vectors

SAMPLED_PAIRS = 1_000_000
"""Pairs that tokenizers are learned from, at most: more change next to nothing."""

LARGEST_SLICE = 2000
"""Development pairs that are held out, at most (about)."""


@dataclass(frozen=True)
class Prepared:
    """Everything that training needs."""

    folder: FolderSettings
    source: Tokenizer
    target: Tokenizer
    train: Corpus
    development: Corpus
    development_pairs: list[tuple[str, str]]
    plan: Plan
    sizing: Sizing | None  # what was measured of this machine, now or in an earlier sitting
    device: torch.device
    lines: tuple[str, ...]  # what was found and chosen, for people


@dataclass(frozen=True)
class Data:
    """The pairs, and which of them are for development. Every pass can be stopped."""

    pairs: PairSource
    dev: PairSource | None
    held_out: HeldOut | None
    stop: Callable[[], bool]

    def training(self) -> Iterator[Pair]:
        """Pairs to learn from."""
        read = stoppable(self.pairs, self.stop)
        return (pair for pair in read if self.held_out is None or pair.source not in self.held_out)

    def development(self) -> Iterator[Pair]:
        """Pairs to judge by: no source of theirs is among the held-in ones."""
        if self.dev is not None:
            return stoppable(self.dev, self.stop)
        read = stoppable(self.pairs, self.stop)
        return (pair for pair in read if self.held_out is not None and pair.source in self.held_out)

    def digest(self) -> dict[str, str]:
        """SHA-256 of the files."""
        return {"pairs": self.pairs.digest()} | ({"dev": self.dev.digest()} if self.dev else {})


class StopAskedError(Exception):
    """Somebody asked to stop in the middle of a pass."""


def stoppable(pairs: Iterable[Pair], stop: Callable[[], bool]) -> Iterator[Pair]:
    """The pairs; raises StopAskedError soon after `stop` has said so."""
    for number, pair in enumerate(pairs):
        if number % 4096 == 0 and stop():
            raise StopAskedError
        yield pair


def open_data(settings: RunSettings, stop: Callable[[], bool] = lambda: False) -> Data:
    """Opens the files; decides what is held out when there are no development pairs."""
    reading = PairsSettings(normal_form=settings.normal_form, strict=settings.strict, columns=settings.columns)
    pairs = open_pairs(settings.pairs, reading)
    if settings.dev:
        return Data(pairs, open_pairs(settings.dev, reading), None, stop)
    count = sum(1 for _ in stoppable(pairs, stop))
    share = min(settings.dev_share, LARGEST_SLICE / count)
    return Data(pairs, None, HeldOut(share, settings.split_seed), stop)


def prepare(settings: RunSettings, data: Data, out: Path, *, begun: bool = False) -> Prepared:
    """Raises DataError if nothing can be learned from the pairs. Uses what an earlier sitting has left in `out`.

    `begun`: there is a checkpoint, whose weights belong to the tokenizers in `out`.
    """
    development_pairs = [(pair.source, pair.target) for pair in data.development()]
    held_out = len(development_pairs)
    sample = [(pair.source, pair.target) for pair in islice(data.training(), SAMPLED_PAIRS)]
    if not sample or not development_pairs:
        side = "training" if not sample else "development"
        raise DataError(
            f"{data.pairs.name}: no {side} pairs are left after holding out the sources for development; "
            "give more pairs, or development pairs of their own with --dev",
            [str(problem) for problem in data.pairs.problems[:EXAMPLES]],  # what was skipped may be what is missing
        )
    features = learn_features(source for source, _ in sample) if data.pairs.settings.features else ()
    texts = [(text_part(source), target) for source, target in sample] if features else sample
    choice = _units(settings, texts)
    source, target = with_feature_ids(*_tokenizers(choice, texts, out, begun), features, joint=choice.joint)
    folder = FolderSettings(
        schema=1,
        pairloom=__version__,
        kind=settings.kind,
        model={},
        source=SideSettings(
            unit=choice.source_unit, size=source.size, max_tokens=settings.max_source, features=features
        ),
        target=SideSettings(unit=choice.target_unit, size=target.size, max_tokens=settings.max_target),
        joint=choice.joint,
        normal_form=settings.normal_form,
        columns=settings.columns,
        metrics=settings.metrics,
        merge=settings.merge,
    )
    fingerprint = _fingerprint(settings, folder, data, out)
    train = _corpus(out / "corpus" / "train", (p[:2] for p in data.training()), source, target, folder, fingerprint)
    development = _corpus(out / "corpus" / "dev", iter(development_pairs), source, target, folder, fingerprint)
    device = choose_device(settings.device)
    plan, sizing = _plan(settings, choice, folder, (train, development), device, out, begun)
    folder = folder.model_copy(update={"model": plan.model})
    if not is_model(out):
        write_json(out / "config.json", folder.model_dump(by_alias=True))
    leak = _leak(sample, development_pairs) if data.dev else 0
    lines = _lines(data, held_out, choice, folder, train, development, plan, leak)
    if plan.training.precision == "bfloat16" and device.type == "cpu" and not has_fast_bfloat16(device):
        lines = (*lines, "warning: bfloat16 is slower here than float32, which `--precision auto` would choose")
    if sizing is not None:
        lines = (*lines, *sizing.lines(plan))
    if settings.origin:
        lines = (f"{settings.origin}: {', '.join(settings.decided)}", *lines)
    return Prepared(folder, source, target, train, development, development_pairs, plan, sizing, device, lines)


def _plan(
    settings: RunSettings,
    choice: UnitChoice,
    folder: FolderSettings,
    corpora: tuple[Corpus, Corpus],
    device: torch.device,
    out: Path,
    begun: bool,
) -> tuple[Plan, Sizing | None]:
    """What to train: as recorded where a run goes on, else of a size that this machine can train in the time given."""

    def make(size: str | None) -> Plan:
        return make_plan(fit_vectors(settings, choice.joint), choice.target_unit, len(corpora[0]), device, size)

    before = recorded(out)
    if begun or before is not None:
        return make(settings.size or (before.size if before else None)), before
    return fit(settings, make, folder, corpora, device)


def _units(settings: RunSettings, sample: list[tuple[str, str]]) -> UnitChoice:
    """The units that suit the data, except where the user has decided."""
    chosen = choose_units(sample)
    source, target = settings.source_unit or chosen.source_unit, settings.target_unit or chosen.target_unit
    joint = settings.joint if settings.joint is not None else chosen.joint and source == target
    asked = settings.source_unit or settings.target_unit
    return UnitChoice(source, target, joint, settings.vocabulary or chosen.size, "as asked" if asked else chosen.reason)


def _tokenizers(
    choice: UnitChoice, sample: list[tuple[str, str]], out: Path, begun: bool
) -> tuple[Tokenizer, Tokenizer]:
    """Learned from the sample and written, or as an earlier sitting has left them, if they are whole."""
    if begun and all((out / name).is_file() for name in TOKENIZERS):
        return _loaded(out, choice)
    kept = out / "corpus" / "tokenizers"  # with a manifest, so that what a crash or the disk has spoiled is found
    try:
        if check_manifest(kept):
            raise FolderError("damaged")
        found = _loaded(kept, choice)
    except FolderError:
        if choice.joint:
            learned = [train_tokenizer([text for pair in sample for text in pair], choice.source_unit, choice.size)] * 2
        else:
            units = (choice.source_unit, choice.target_unit)
            learned = [train_tokenizer([p[side] for p in sample], units[side], choice.size) for side in (0, 1)]
        remove_directory(kept)
        with new_directory(kept) as beside:
            for tokenizer, name in zip(learned, TOKENIZERS, strict=True):
                tokenizer.save(beside / name)
        found = _loaded(kept, choice)
    for name in TOKENIZERS:
        write_file(out / name, (kept / name).read_bytes())
    return found


def _loaded(directory: Path, choice: UnitChoice) -> tuple[Tokenizer, Tokenizer]:
    units = (choice.source_unit, choice.target_unit)
    source, target = (Tokenizer.load(directory / name, unit) for name, unit in zip(TOKENIZERS, units, strict=True))
    return source, target


def _corpus(
    directory: Path,
    pairs: Iterator[tuple[str, ...]],
    source: Tokenizer,
    target: Tokenizer,
    folder: FolderSettings,
    fingerprint: str,
) -> Corpus:
    there = open_corpus(directory, fingerprint)
    if there is not None:
        return there
    directory.parent.mkdir(parents=True, exist_ok=True)
    both = ((pair[0], pair[1]) for pair in pairs)
    limits = (folder.source.max_tokens, folder.target.max_tokens)
    return build_corpus(directory, both, source, target, *limits, fingerprint)


def _fingerprint(settings: RunSettings, folder: FolderSettings, data: Data, out: Path) -> str:
    """Of all that decides what the corpus holds."""
    known: dict[str, Any] = {
        "data": data.digest(),
        "sides": [folder.source.model_dump(), folder.target.model_dump()],
        "normal_form": folder.normal_form,
        "tokenizers": [file_hash(out / name) for name in TOKENIZERS],
        "held_out": [settings.dev_share, settings.split_seed] if data.held_out else None,
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _leak(sample: list[tuple[str, str]], development: list[tuple[str, str]]) -> int:
    """How many development pairs have a source that is trained on."""
    trained = {source for source, _ in sample}
    return sum(source in trained for source, _ in development)


def _lines(
    data: Data,
    held_out: int,
    choice: UnitChoice,
    folder: FolderSettings,
    train: Corpus,
    development: Corpus,
    plan: Plan,
    leak: int,
) -> tuple[str, ...]:
    origin = "held out, no source in both" if data.dev is None else data.dev.name
    shared = (
        f"one vocabulary of {folder.source.size:,}"
        if choice.joint
        else "vocabularies of " + " and ".join(f"{side.size:,}" for side in (folder.source, folder.target))
    )
    lines = [
        f"pairs: {len(train):,} to learn from, {held_out:,} to judge by ({origin})",
        f"units: {choice.source_unit} → {choice.target_unit}, {shared} ({choice.reason})",
        f"model: {plan.kind}, {plan.summary} ({plan.reason})",
    ]
    if folder.source.features:
        lines.insert(2, f"features of the source: {len(folder.source.features):,}, each a token of its own")
    lines += [line for source in (data.pairs, data.dev) if source is not None for line in source.report()]
    for name, side in (("source", folder.source), ("target", folder.target)):
        cut = getattr(train, f"cut_{name}") + getattr(development, f"cut_{name}")
        if cut:
            lines.append(f"cut: {cut:,} texts longer than {side.max_tokens} {name} tokens (--max-{name} to change it)")
    if leak:
        lines.append(
            f"warning: {leak:,} of {held_out:,} development sources are also trained on, so the scores will flatter; "
            "`pairloom check` lists them"
        )
    return tuple(lines)
