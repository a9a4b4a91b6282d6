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
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from pairloom.errors import FolderError
from pairloom.models import SETTINGS
from pairloom.models.settings import ModelSettings
from pairloom.storage import MANIFEST, check_manifest, disk_errors, read_manifest, write_file, write_manifest
from pairloom.text.bounded import LARGEST, parsed, read_table
from pairloom.text.columns import Columns, split_features
from pairloom.text.components import MAX_FILE_BYTES
from pairloom.text.features import LONGEST, MOST, FeatureTokenizer
from pairloom.text.tokenizer import Tokenizer, Unit

WEIGHTS = "model.safetensors"
TOKENIZERS = ("tokenizer.source.json", "tokenizer.target.json")
NEEDED = ("config.json", *TOKENIZERS, WEIGHTS, "generation.json", "training.json")
"""Files without which nothing can be answered."""
SEALED = (*NEEDED, "metrics.jsonl", "README.md", "curve.png")
"""Files of which the manifest has the hashes. What else lies in a folder is none of its business."""
LARGEST_HEADER = 2**20
LARGEST_FILES = {
    **dict.fromkeys(TOKENIZERS, MAX_FILE_BYTES), "generation.json": 2**16,
    "metrics.jsonl": 2**28, "README.md": 2**23, "curve.png": 2**26,
}  # fmt: skip
"""Bytes, at most: nothing larger is even hashed. Other JSON: `bounded.LARGEST`; weights: what the model takes."""


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
        if any("\ud800" <= character <= "\udfff" for feature in self.features for character in feature):
            raise ValueError("a feature holds half a character (a lone surrogate)")
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


class _Record(BaseModel):
    """A part of training.json: what is not named here may be there, and is nobody's business."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ResultRecord(_Record):
    """How the run ended."""

    step: int
    seconds: float
    best_step: int = 0
    best_loss: float = 0.0
    best_exact: float = 0.0


class ScoreRecord(_Record):
    """One score of the finished model."""

    name: str
    metric: str
    value: float
    low: float
    high: float
    signature: str


class JudgedRecord(_Record):
    """The finished model on the development pairs."""

    pairs: int
    scores: list[ScoreRecord]


class AskedRecord(_Record):
    """The run as it was asked for."""

    minutes: float | None = None
    epochs: int | None = None
    steps: int | None = None
    seed: int | None = None
    task: str | None = None
    recipe: str | None = None


class TrainingRecord(_Record):
    """training.json"""

    run: AskedRecord = AskedRecord()
    decided: list[str] = []
    data: dict[str, str] = {}
    files: dict[str, list[str]] = {}
    versions: dict[str, str] = {}
    machine: dict[str, int | str] = {}
    parameters: int | None = None
    precision: str | None = None
    result: ResultRecord | None = None
    development: JudgedRecord | None = None


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
    """Reads and checks all of a model folder but the weights, which whoever reads them checks (`check_weights`): an
    engine that needs others does not wait for that. Raises FolderError, naming everything that is wrong."""
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
    check_files(path, [name for name in SEALED if name != WEIGHTS])
    settings = read_settings(path)
    model_settings(settings)
    weights = size_of_weights(path)
    if max(settings.source.size, settings.target.size) > weights // 2:  # at least one number of two bytes for an entry
        raise FolderError(f"{path}: {WEIGHTS} has {weights:,} bytes, too few for the vocabularies of config.json")
    source = _tokenizer(path, "source", settings.source)
    target = source if settings.joint and _same_files(path) else _tokenizer(path, "target", settings.target)
    source, target = with_feature_ids(source, target, settings.source.features, joint=settings.joint)
    for side, tokenizer, expected in (("source", source, settings.source), ("target", target, settings.target)):
        if tokenizer.size != expected.size:
            raise FolderError(f"tokenizer.{side}.json has {tokenizer.size} entries, config.json says {expected.size}")
    return Folder(path, settings, source, target, read_json(path / "generation.json"), read_training(path))


def check_files(
    path: Path,
    names: Collection[str],
    needed: Collection[str] = NEEDED,
    largest: Mapping[str, int] = LARGEST_FILES,  # bytes
) -> None:
    """Raises FolderError, naming them, for files among `names` that are too large, not as the manifest says, not in it,
    or needed and missing. What is not checked here is not to be opened."""
    if path.is_symlink() and path.name == "engine":
        raise FolderError(f"{path} is a link; a folder of a model has none")
    listed = read_manifest(path).keys()
    findings = [f"{name} is missing" for name in names if name in needed and not (path / name).exists()]
    findings += [f"{name} is not in {MANIFEST}" for name in names if name not in listed and (path / name).exists()]
    for name in names:
        file, most = path / name, largest.get(name, LARGEST)
        if name in listed and name != WEIGHTS and file.is_file() and file.stat().st_size > most:
            findings.append(f"{name} is larger than the {most:,} bytes that such a file can have")
    findings = findings or check_manifest(path, names)
    if findings:
        raise FolderError(f"{path} is damaged:", findings)


def check_weights(path: Path, bytes_of_tensors: int) -> None:
    """Raises FolderError where model.safetensors is not that of the manifest, or larger than tensors of so many bytes
    and a header make it (which is found out first)."""
    if size_of_weights(path) > bytes_of_tensors + LARGEST_HEADER + 8:
        raise FolderError(f"{path / WEIGHTS} is larger than the weights that config.json speaks of")
    check_files(path, [WEIGHTS])


def size_of_weights(path: Path) -> int:
    """Bytes of model.safetensors."""
    file = path / WEIGHTS
    if file.is_symlink() or not file.is_file():
        raise FolderError(f"{path} is damaged:", [f"{WEIGHTS} is missing"])
    return file.stat().st_size


def _tokenizer(path: Path, side: str, settings: SideSettings) -> Tokenizer:
    return Tokenizer.load(path / f"tokenizer.{side}.json", settings.unit, settings.size)


def _same_files(path: Path) -> bool:
    """Whether both tokenizers are one, as with a joint vocabulary: then it is built once."""
    first, second = (path / name for name in TOKENIZERS)
    return first.stat().st_size == second.stat().st_size and first.read_bytes() == second.read_bytes()


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
    if path.is_symlink() or not path.is_file():
        raise FolderError(f"{path} is missing")
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LARGEST_HEADER or length > path.stat().st_size:
                raise FolderError(f"{path} is damaged: its header claims {length:,} bytes")
            header = parsed(file.read(length), path, most=50_000)
    except (OSError, struct.error) as error:
        raise FolderError(f"{path} is damaged or truncated: {error}") from None
    header.pop("__metadata__", None)
    for name, entry in header.items():
        if not (isinstance(entry, dict) and _is_shape(entry.get("shape")) and isinstance(entry.get("dtype"), str)):
            raise FolderError(f"{path} is damaged: its header says nothing sensible of {name!r:.80}")
    return header


def _is_shape(shape: object) -> bool:
    return isinstance(shape, list) and len(shape) <= 8 and all(type(n) is int and 0 <= n < 2**40 for n in shape)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON table of bounded size. Raises FolderError for anything else."""
    return read_table(path, LARGEST_FILES.get(path.name, LARGEST))


def read_training(path: Path) -> dict[str, Any]:
    """training.json, as far as others rely on what it says."""
    found = read_json(path / "training.json")
    try:
        TrainingRecord.model_validate(found)
    except ValidationError as error:
        raise FolderError(f"{path / 'training.json'} is not valid:", explain(error)) from None
    return found


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
