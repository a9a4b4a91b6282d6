"""The toolkits that pairloom is measured against, each in an environment of its own, made when it is needed.

    python benchmarks/peers.py --peers PEERS [NAME ...]     makes them beforehand (minutes; 3 GB)

All of them see one and the same torch: it is installed once, into PEERS/base, and the others find it through a `.pth`
file. Several peers ask for a torch of years ago or for packages that are no longer built; these are installed without
their dependencies, and what they really import beside them. So every version below is one that works together.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple


class Peer(NamedTuple):
    """What pip is told, call by call, and a module whose import shows that it works."""

    steps: tuple[tuple[str, ...], ...]
    module: str
    package: str
    name: str  # for people


PEERS: dict[str, Peer] = {
    "opennmt": Peer(
        (
            ("--no-deps", "OpenNMT-py==3.5.1"),
            ("ctranslate2<5", "configargparse", "tensorboard", "flask", "waitress", "pyonmttok<2", "pyyaml"),
            ("rapidfuzz", "pyahocorasick", "six", "sacrebleu", "sentencepiece", "spacy", "fasttext-wheel"),
        ),
        "onmt.bin.train",
        "OpenNMT-py",
        "OpenNMT-py",
    ),
    "huggingface": Peer(
        (("transformers==5.23.0", "ctranslate2==4.8.5", "sacrebleu", "sentencepiece", "spacy", "fasttext-wheel"),),
        "transformers",
        "transformers",
        "Hugging Face transformers",
    ),
    "gensim": Peer((("gensim==4.4.0",),), "gensim.models", "gensim", "gensim"),
    "yoyodyne": Peer(
        (
            ("--no-deps", "yoyodyne==0.5.27"),
            ("jsonargparse[signatures]<5", "lightning<3", "maxwell", "omegaconf", "rich>=15"),
            ("torchmetrics<2", "wandb", "PyYAML"),
        ),
        "yoyodyne.models",
        "yoyodyne",
        "yoyodyne",
    ),
}
"""Name of an environment → what is in it."""


def python_of(name: str, folder: Path, torch: Sequence[str] = ()) -> Path:
    """The interpreter of a peer's environment below `folder`, which is made if it is not there or not whole.

    `torch`: what pip is told to install as torch, if not just the version that runs here.
    """
    base = _environment(
        folder / "base", [(*(torch or (f"torch=={version('torch').split('+')[0]}",)), "numpy")], "torch"
    )
    if name == "base":
        return base
    peer = PEERS[name]
    return _environment(folder / name, peer.steps, peer.module, sees=base)


def _environment(folder: Path, steps: Sequence[Sequence[str]], module: str, sees: Path | None = None) -> Path:
    """An environment made by `steps` in which `module` can be imported; marked as whole when it can."""
    python, mark = folder / "bin" / "python", folder / ".whole"
    asked = "\n".join(" ".join(step) for step in steps)
    if mark.exists() and mark.read_text("utf-8") == asked:
        return python
    say(f"making {folder}")
    venv.create(folder, clear=folder.exists(), with_pip=True)
    if sees is not None:
        (own,), (others,) = (list(at.parent.parent.glob("lib/python*/site-packages")) for at in (python, sees))
        (own / "torch_from_base.pth").write_text(f"{others}\n", "utf-8")
    for step in steps:
        subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", *step], check=True)
    subprocess.run([python, "-c", f"import {module}"], check=True, env=environment(threads=1))
    mark.write_text(asked, "utf-8")
    return python


def version_of(python: Path, package: str) -> str:
    """The version of a package in another environment."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def environment(threads: int, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of a measured process: so many threads, nothing sent home, old checkpoints of OpenNMT-py read."""
    own = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "disabled",
        "PYTHONWARNINGS": "ignore",
    }
    return {**os.environ, **own, **(more or {})}


def say(line: str) -> None:
    """Progress, on standard error."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Makes environments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(PEERS), metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--peers", type=Path, required=True, help="the folder of the environments")
    parser.add_argument("--torch", nargs="+", default=(), help="what pip is told, if not the version that runs here")
    given = parser.parse_args()
    for name in given.names:
        print(python_of(name, given.peers, given.torch))


if __name__ == "__main__":
    main()
