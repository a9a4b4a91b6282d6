"""`engine/` of a model folder: made, checked against torch, loaded without torch, refused where it does not fit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

from conftest import reversed_words
from pairloom.decoding.loop import generate
from pairloom.decoding.settings import DecodingSettings
from pairloom.engine import Engine, choose_default, write_engine
from pairloom.errors import FolderError
from pairloom.folder import seal
from pairloom.storage import write_manifest
from pairloom.weights import load_folder
from searches import assert_same

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def with_engine(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with an engine; only to be read."""
    path = tmp_path_factory.mktemp("engines") / "tiny"
    shutil.copytree(tiny_model_dir, path)
    shutil.rmtree(path / "engine", ignore_errors=True)
    folder = load_folder(path)
    sources = folder.source.encode_all([word for word, _ in reversed_words(40)])
    report = write_engine(folder, sources)
    assert report.facts.equal_float32 == 1
    assert report.facts.equal_int8 is not None
    assert report.facts.equal_int8 > 0.8
    assert report.facts.sentences == len(report.torch) == len(report.int8) == len(report.singly) == 40
    assert sum(one[0].tokens == whole[0].tokens for one, whole in zip(report.singly, report.torch, strict=True)) > 32
    assert_same(report.float32, report.torch)
    return path


@pytest.fixture
def copied(with_engine: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return Path(shutil.copytree(with_engine, tmp_path / "copied"))


def test_the_stored_engine_is_the_one_that_was_checked(with_engine: Path) -> None:
    folder = load_folder(with_engine)
    sources = folder.source.encode_all(["abc", "h", "gfe"])
    for precision in ("float32", "int8"):
        stored, fresh = (
            Engine.load(with_engine, folder.settings, precision=precision, stored=stored) for stored in (True, False)
        )
        settings = DecodingSettings(beam=3, nbest=2)
        assert_same(stored.generate(sources, settings), fresh.generate(sources, settings))
        assert stored.precision == precision
    assert Engine.load(with_engine, folder.settings).precision == "int8"


def test_the_default_can_be_chosen(copied: Path) -> None:
    choose_default(copied, "float32", {"bleu": [30.0, 29.0]})
    folder = load_folder(copied)
    engine = Engine.load(copied, folder.settings)
    assert engine.precision == "float32"
    sources = folder.source.encode_all(["abc"])
    assert_same(
        engine.generate(sources, DecodingSettings()), generate(folder.model, sources, settings=DecodingSettings())
    )
    assert Engine.load(copied, folder.settings, precision="int8").precision == "int8"


def test_without_an_engine_it_is_made_of_the_weights(copied: Path) -> None:
    shutil.rmtree(copied / "engine")
    settings = load_folder(copied).settings
    assert Engine.load(copied, settings).precision == "float32"
    assert Engine.load(copied, settings, precision="int8").precision == "int8"


def test_an_engine_that_does_not_fit_is_refused(copied: Path) -> None:
    settings = load_folder(copied).settings
    place = copied / "engine" / "int8.safetensors"
    arrays = load_file(place)
    place.write_bytes(place.read_bytes()[:-1] + b"?")
    with pytest.raises(FolderError, match="damaged"):
        Engine.load(copied, settings)
    changed = {**arrays, "table": arrays["table"][:, :-1].copy(), "more": arrays["table"]}
    del changed["output.scale"]
    save_file(changed, place)
    write_manifest(copied / "engine")
    with pytest.raises(FolderError, match=r"does not fit config\.json") as caught:
        Engine.load(copied, settings)
    assert "output.scale is missing" in str(caught.value)
    assert "more does not belong to this model" in str(caught.value)
    assert "table is float16 " in str(caught.value)


def test_an_engine_of_other_weights_is_refused(copied: Path) -> None:
    settings = load_folder(copied).settings
    facts = json.loads((copied / "engine" / "engine.json").read_text())
    (copied / "engine" / "engine.json").write_text(json.dumps({**facts, "weights": "0" * 64}))
    write_manifest(copied / "engine")
    with pytest.raises(FolderError, match="belongs to other weights"):
        Engine.load(copied, settings)


def test_weights_that_do_not_fit_are_refused(copied: Path) -> None:
    settings = load_folder(copied).settings
    weights = load_file(copied / "model.safetensors")
    for changed in (
        {**weights, "combine.weight": weights["combine.weight"][:, :-1].copy()},
        {name: weight for name, weight in weights.items() if name != "bridge.bias"},
    ):
        save_file(changed, copied / "model.safetensors")
        with pytest.raises(FolderError, match=r"model\.safetensors is damaged"):
            Engine.load(copied, settings, precision="float32")
        seal(copied)
        with pytest.raises(FolderError, match=r"does not fit config\.json"):
            Engine.load(copied, settings, precision="float32")


def test_it_answers_without_torch(with_engine: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom pairloom.folder import read_settings\n"
        "from pairloom.engine import Engine\nfrom pairloom.decoding.settings import DecodingSettings\n"
        f"path = Path({str(with_engine)!r})\nengine = Engine.load(path, read_settings(path))\n"
        "assert engine.generate([[5, 6]], DecodingSettings())[0][0].tokens\n"
        "assert {'torch', 'onnx'} & set(sys.modules) == set()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
