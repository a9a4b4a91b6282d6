"""The weights of a model folder: the torch model that its settings describe, built, checked, read and written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from pairloom.errors import FolderError, UsageError
from pairloom.folder import WEIGHTS, Folder, FolderSettings, check_weights, model_settings, read_folder, read_header
from pairloom.models.ensemble import Ensemble
from pairloom.models.kinds import MODELS
from pairloom.models.protocol import Model
from pairloom.storage import write_file

_DTYPES = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class ModelFolder(Folder):
    """A model, ready to be asked."""

    members: tuple[ModelFolder, ...] = ()
    model: Model = field(kw_only=True)  # in eval mode


def load_folder(path: str | Path) -> ModelFolder:
    """Reads a model folder. Raises FolderError, naming everything that is wrong with it; runs nothing from it."""
    return with_weights(read_folder(path))


def with_weights(folder: Folder) -> ModelFolder:
    """The folder with its model; that of an ensemble with its members' models as one."""
    if isinstance(folder, ModelFolder):
        return folder
    if folder.members:
        members = tuple(with_weights(member) for member in folder.members)
        together = Ensemble([member.model for member in members]).eval()
        return ModelFolder(**{**vars(folder), "members": members}, model=together)
    return ModelFolder(**vars(folder), model=build_model_checked(folder.path, folder.settings))


def build_model(settings: FolderSettings) -> Model:
    """The model that `settings` describe, with fresh weights. Raises FolderError for settings that describe none."""
    chosen = model_settings(settings)
    return MODELS[settings.kind](chosen, settings.source.size, settings.target.size, settings.joint)


def build_model_checked(path: Path, settings: FolderSettings) -> Model:
    """Builds the model without memory, compares size, hash and header of the file with it, and only then reads it."""
    try:
        with torch.device("meta"):
            model = build_model(settings)
    except UsageError as error:  # settings that exclude each other, which a run would have refused
        raise FolderError(f"the settings of the model are not valid: {error}") from None
    weights = path / WEIGHTS
    expected = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    check_weights(path, 4 * sum(tensor.numel() for tensor in model.state_dict().values()))
    header = read_header(weights)
    problems = [f"{name} is missing" for name in expected.keys() - header.keys()]
    problems += [f"{name} does not belong to this model" for name in header.keys() - expected.keys()]
    for name in expected.keys() & header.keys():
        if header[name]["shape"] != expected[name] or header[name]["dtype"] not in _DTYPES:
            problems.append(f"{name} is {header[name]['dtype']} {header[name]['shape']}, expected {expected[name]}")
    if problems:
        raise FolderError(f"{weights} does not fit config.json:", sorted(problems)[:50])
    try:
        tensors = {name: tensor.float() for name, tensor in load_file(weights).items()}
        model.load_state_dict(tensors, assign=True)
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a panic of the library's is no Exception
        raise FolderError(f"{weights} cannot be read: {error}") from None
    odd = sorted(name for name, tensor in tensors.items() if not bool(tensor.isfinite().all()))
    if odd:
        raise FolderError(f"{weights} holds numbers that are not finite:", odd[:20])
    model.requires_grad_(False)
    return model.eval()


def write_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """model.safetensors, atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_file(path / "model.safetensors", save(tensors, metadata={"format": "pt"}))
