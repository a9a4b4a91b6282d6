"""`pairloom train --vectors`: embeddings that start from a file of word vectors instead of from chance.

Which token gets which vector is decided by its text. Files differ in one thing: those learned with the tokenizer of a
model write "▁" before what begins a word, as the tokenizer does ("▁dog" but "s"), all others have plain words ("dog").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pairloom.errors import DataError, UsageError
from pairloom.models import SETTINGS
from pairloom.models.protocol import Model
from pairloom.text.components import BYTE_UNITS, MARK, reserved
from pairloom.text.files import InputFile, sha256_of
from pairloom.text.tokenizer import Tokenizer
from pairloom.text.vectors import WordVectors, read_vectors, vector_size
from pairloom.workflow.settings import RunSettings

if TYPE_CHECKING:
    from pairloom.workflow.prepare import Prepared

SIDES = ("source", "target")
FEWEST = 2
"""Tokens that must be in the file: the scale of a single vector cannot be told."""


def vectors_digest(settings: RunSettings) -> dict[str, str]:
    """SHA-256 of the files of vectors, if there are any: a run goes on only with the same ones."""
    return {"vectors": sha256_of(InputFile(path) for path in settings.vectors)} if settings.vectors else {}


def fit_vectors(settings: RunSettings, joint: bool) -> RunSettings:
    """The settings with the model's embeddings as large as the vectors. Raises UsageError where they contradict."""
    if not settings.vectors:
        return settings
    if joint and len(settings.vectors) == 2:
        raise UsageError(
            "two files of vectors, but both sides share one vocabulary: give one file learned from the texts of both "
            "(`pairloom vectors SOURCE TARGET --out FILE`), or --no-joint"
        )
    sizes = {path: vector_size(path) for path in settings.vectors}
    size = next(iter(sizes.values()))
    if set(sizes.values()) != {size}:
        listed = " and ".join(f"{path} has {one}" for path, one in sizes.items())
        raise UsageError(f"the vectors of both sides must be of one size: {listed} numbers")
    kind = SETTINGS.get(settings.kind)
    if kind is not None and "embedding" not in kind.model_fields:
        raise UsageError(f"--vectors: the model {settings.kind} has no embeddings of a size of their own")
    asked = settings.model.get("embedding", size)
    if asked != size:
        raise UsageError(
            f"the vectors of {settings.vectors[0]} have {size} numbers, but model.embedding is set to {asked}: "
            f"leave that out, or make vectors with --size {asked}"
        )
    return settings.model_copy(update={"model": {**settings.model, "embedding": size}})


def start_from_vectors(model: Model, settings: RunSettings, prepared: Prepared) -> list[str]:
    """Copies the vectors into the embeddings of both sides; says for how many tokens there were some."""
    if not settings.vectors:
        return []
    tokenizers = {"source": prepared.source, "target": prepared.target}
    names = {side: token_names(tokenizer) for side, tokenizer in tokenizers.items()}
    wanted = {one for tokens in names.values() for name in tokens for one in (name, name.removeprefix(MARK)) if one}
    files = [read_vectors(path, lambda word: word in wanted or word.startswith(MARK)) for path in settings.vectors]
    shared = prepared.folder.joint
    lines, found_any = [], False
    for side, vectors in zip(
        SIDES[1:] if shared else SIDES, files[-1:] if shared else [files[0], files[-1]], strict=True
    ):
        table = embedding_table(model, side)
        found = matches(names[side], vectors, tokenizers[side].unit in BYTE_UNITS)
        place(table, found, vectors)
        found_any = found_any or len(found) >= FEWEST
        whose = "tokens of both sides" if shared else f"{side} tokens"
        lines.append(f"vectors: for {len(found):,} of {sum(map(bool, names[side])):,} {whose}")
    if not found_any:
        raise DataError(
            f"{' and '.join(settings.vectors)}: no vector in there is for a token of this model; vectors of words fit "
            "--source-unit word and --target-unit word, those made with `pairloom vectors --tokenizer` the model of it"
        )
    return lines


def embedding_table(model: Model, side: str) -> Tensor:
    """The embeddings [V, E] of a side; with one vocabulary for both sides those of the target are the source's too."""
    table = getattr(model, f"{side}_embedding", None)
    if table is None:
        table = getattr(model, "target_embedding", None)
    if not isinstance(table, nn.Embedding):
        raise UsageError(f"a {type(model).__name__} has no embeddings of its {side} tokens that could be looked at")
    return table.weight.data


def token_names(tokenizer: Tokenizer) -> list[str]:
    """The text of every token as `Tokenizer.tokens` has it, a space as "▁"; "" for specials, bytes and a lone "▁"."""
    fixed = len(reserved(tokenizer.unit))
    names = [MARK if name == " " else name for name in tokenizer.tokens(range(fixed, tokenizer.size))]
    alone = tokenizer.unit in ("word", "bpe", "unigram")
    return [""] * fixed + ["" if alone and name == MARK else name for name in names]


def matches(names: Sequence[str], vectors: WordVectors, subwords: bool) -> dict[int, int]:
    """Token id → row of the vectors, for the tokens that have one.

    In a file of plain words a piece inside of a word ("er") is not the word that is written like it ("er").
    """
    marked = any(word.startswith(MARK) and word != MARK for word in vectors.words)
    found = {}
    for token, name in enumerate(names):
        plain = name.removeprefix(MARK)
        inner = subwords and plain == name and any(map(str.isalnum, name))
        row = vectors.rows.get(name) if marked else None if inner else vectors.rows.get(plain or name)
        if name and row is not None:
            found[token] = row
    return found


def place(table: Tensor, found: dict[int, int], vectors: WordVectors) -> None:
    """The vectors of the tokens in `found`, into their rows of the table [V, E].

    Word vectors have a large mean in common and a length of their own, and a model counts on its initial embeddings to
    have neither. So the mean is taken off and the deviation brought to that of the rows that are replaced: angles
    between the words' differences stay, nothing else of the model has to change.
    """
    if len(found) < FEWEST:
        return
    tokens = torch.tensor(list(found))
    new = torch.from_numpy(vectors.matrix[list(found.values())])
    new = new - new.mean(dim=0)
    scale = table[tokens.to(table.device)].std() / new.std().clamp_min(1e-12).to(table.device)
    table[tokens.to(table.device)] = new.to(table.device) * scale
