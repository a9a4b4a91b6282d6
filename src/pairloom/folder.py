"""The model folder: what a trained model is on the disk, and the only way in which training and generation meet.

    config.json              kind, sizes, units: all that is needed to build the model
    tokenizer.source.json    tokenizer.target.json
    model.safetensors        the weights
    generation.json          how this model likes to be asked: beam, length penalty
    training.json            settings, seed, versions, hash of the data, wall time
    metrics.jsonl            the log of the run         curve.png    the same as a picture
    README.md                the model card
    MANIFEST.sha256          hashes of all of these, written last: without it the folder is not a model

Nothing in it can run code. Everything is checked against the settings before anything is allocated. Nothing in this
file needs torch; `weights.py` makes a model of the folder.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from pairloom.errors import FolderError
from pairloom.models import SETTINGS
from pairloom.models.settings import ModelSettings
from pairloom.storage import MANIFEST, check_manifest, disk_errors, write_file, write_manifest
from pairloom.text.columns import Columns, split_features
from pairloom.text.features import LONGEST, MOST, FeatureTokenizer
from pairloom.text.tokenizer import Tokenizer, Unit

TOKENIZERS = ("tokenizer.source.json", "tokenizer.target.json")
NEEDED = ("config.json", *TOKENIZERS, "model.safetensors", "generation.json", "training.json")
"""Files without which nothing can be answered."""
SEALED = (*NEEDED, "metrics.jsonl", "README.md", "curve.png")
"""Files of which the manifest has the hashes. What else lies in a folder is none of its business."""
LARGEST_JSON = 64 * 2**20


class SideSettings(BaseModel):
    """One side of the pairs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: Unit
    size: int = Field(ge=4, le=10**6, description="entries of the vocabulary, features included")
    max_tokens: int = Field(ge=1, le=10**6, description="longer texts were cut in training")
    features: tuple[Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)], ...] = Field(
        (), max_length=MOST, description="marks that a source may carry, each an entry behind those of the text"
    )

    @model_validator(mode="after")
    def _features_can_be_told_apart(self) -> Self:
        odd = [feature for feature in self.features if split_features(feature) != [feature]]
        if odd:
            raise ValueError(f"a feature holds what parts features: {odd[0]!r}")
        if len(set(self.features)) < len(self.features):
            raise ValueError("a feature occurs twice")
        return self


class FolderSettings(BaseModel):
    """config.json"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal[1] = Field(alias="schema")
    pairloom: str = Field(max_length=100, description="the version that wrote the folder")
    kind: str = Field(max_length=40, description="a key of `pairloom.models.SETTINGS`")
    model: dict[str, Any] = Field(description="the settings of that model")
    source: SideSettings
    target: SideSettings
    joint: bool = Field(description="both sides share one vocabulary and its embeddings")
    normal_form: Literal["NFC", "NFD", "NFKC", "NFKD", "none"] = "NFC"
    columns: Columns | None = Field(None, description="of the pairs it was trained on, and of others for it")
    metrics: tuple[Annotated[str, StringConstraints(max_length=40)], ...] = Field(
        (), max_length=20, description="what it is judged by; none: what suits the target's unit"
    )
    merge: bool = Field(False, description="pairs of the same source are several right answers to one question")

    @model_validator(mode="after")
    def _only_sources_have_features(self) -> Self:
        if self.target.features:
            raise ValueError("target.features: only a source has features")
        return self


@dataclass(frozen=True)
class Folder:
    """What a model folder holds, but for the weights."""

    path: Path
    settings: FolderSettings
    source: Tokenizer
    target: Tokenizer
    generation: dict[str, Any]
    training: dict[str, Any]
    members: tuple[Folder, ...] = ()  # of an ensemble: path, generation and training are those of the first


def model_settings(settings: FolderSettings) -> ModelSettings:
    """The model's own part of `settings`, checked. Raises FolderError for settings that describe no model."""
    if settings.kind not in SETTINGS:
        raise FolderError(f"unknown kind of model {settings.kind!r}; known: {', '.join(SETTINGS)}")
    try:
        return SETTINGS[settings.kind].model_validate(settings.model)
    except ValidationError as error:
        raise FolderError("the settings of the model are not valid:", explain(error)) from None


def write_json(path: Path, content: Any) -> None:
    """One JSON file, atomically."""
    write_file(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """JSON that people can read. A lone surrogate, which UTF-8 cannot hold, stays an escape."""
    try:
        return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(content, indent=2) + "\n").encode()


def seal(path: Path) -> None:
    """The manifest, last: from now on the folder is a model."""
    write_manifest(path, SEALED)


def unseal(path: Path) -> None:
    """Takes the manifest away before files are replaced: better no model for a moment than a damaged one."""
    with disk_errors(path):
        (path / MANIFEST).unlink(missing_ok=True)


def is_model(path: Path) -> bool:
    """Whether a finished model lies there (its content is checked on loading only)."""
    return (path / MANIFEST).is_file()


def read_settings(path: Path) -> FolderSettings:
    """config.json, checked."""
    return _validated(path / "config.json")


def read_folder(path: str | Path) -> Folder:
    """Reads and checks all of a model folder but the weights. Raises FolderError, naming everything that is wrong."""
    path = Path(path)
    if not path.is_dir():
        raise FolderError(f"{path} is not a folder" if path.exists() else f"{path} does not exist")
    if not (path / "config.json").is_file():
        raise FolderError(
            f"{path} is not a model folder: it has no config.json; `pairloom train ... --out {path}` makes one"
        )
    if not is_model(path) and (path / "checkpoints").is_dir():
        raise FolderError(
            f"{path} is still in training or was interrupted: give the same `pairloom train` command again"
        )
    findings = check_manifest(path)
    if findings:
        raise FolderError(f"{path} is damaged:", findings)
    settings = read_settings(path)
    source = _tokenizer(path, "source", settings.source)
    target = source if settings.joint and _same_files(path) else _tokenizer(path, "target", settings.target)
    source, target = with_feature_ids(source, target, settings.source.features, joint=settings.joint)
    for side, tokenizer, expected in (("source", source, settings.source), ("target", target, settings.target)):
        if tokenizer.size != expected.size:
            raise FolderError(f"tokenizer.{side}.json has {tokenizer.size} entries, config.json says {expected.size}")
    model_settings(settings)
    generation, training = (read_json(path / name) for name in ("generation.json", "training.json"))
    return Folder(path, settings, source, target, generation, training)


def _tokenizer(path: Path, side: str, settings: SideSettings) -> Tokenizer:
    return Tokenizer.load(path / f"tokenizer.{side}.json", settings.unit)


def _same_files(path: Path) -> bool:
    """Whether both tokenizers are one, as with a joint vocabulary: then it is built once."""
    first, second = (path / name for name in TOKENIZERS)
    return first.stat().st_size == second.stat().st_size <= LARGEST_JSON and first.read_bytes() == second.read_bytes()


def with_feature_ids(
    source: Tokenizer, target: Tokenizer, features: tuple[str, ...], *, joint: bool
) -> tuple[Tokenizer, Tokenizer]:
    """Both tokenizers as a model with these features of the source needs them; without any, as they are.

    With a joint vocabulary the target's has the same ids, though it never uses those of features.
    """
    if not features:
        return source, target
    return FeatureTokenizer(source, features), FeatureTokenizer(target, features, reads=False) if joint else target


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """The names, shapes and types of a safetensors file, without reading a tensor."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LARGEST_JSON or length > path.stat().st_size:
                raise FolderError(f"{path} is damaged: its header claims {length} bytes")
            header = json.loads(file.read(length))
    except (OSError, struct.error, ValueError, RecursionError) as error:
        raise FolderError(f"{path} is damaged or truncated: {error}") from None
    if not isinstance(header, dict):
        raise FolderError(f"{path} is damaged: its header is not a table")
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if not (
            isinstance(entry, dict) and isinstance(entry.get("shape"), list) and isinstance(entry.get("dtype"), str)
        ):
            raise FolderError(f"{path} is damaged: its header says nothing sensible of {name!r:.80}")
    return header


def read_json(path: Path) -> dict[str, Any]:
    """A JSON table of bounded size. Raises FolderError for anything else."""
    if path.is_symlink() or not path.is_file():
        raise FolderError(f"{path} is missing")
    if path.stat().st_size > LARGEST_JSON:
        raise FolderError(f"{path} is larger than {LARGEST_JSON} bytes")
    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise FolderError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise FolderError(f"{path} is not a JSON table")
    return content


def _validated(path: Path) -> FolderSettings:
    try:
        return FolderSettings.model_validate(read_json(path))
    except ValidationError as error:
        raise FolderError(f"{path} is not valid:", explain(error)) from None


def explain(error: ValidationError) -> list[str]:
    """A pydantic error as lines for people: where, what, and what was given."""
    return [
        f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {item['msg']} (given: {item['input']!r:.60})"
        for item in error.errors(include_url=False)
    ]
