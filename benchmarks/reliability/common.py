"""What the trials of reliability share: made-up pairs, tiny models, runs as processes of their own, files of results.

A run is the command line itself (`pairloom.cli.main`) in a process forked from one that has the imports behind it: what
follows the start is the same as ever, and the start, which is always the same, is not paid for a thousand times.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

for name, value in {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}.items():
    os.environ.setdefault(name, value)  # before torch comes: a process with threads cannot be forked

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"

SIZES: dict[str, dict[str, int | float | bool]] = {
    "rnn": {"embedding": 16, "hidden": 16, "layers": 1},
    "attention": {"embedding": 16, "encoder_hidden": 16, "hidden": 16},
    "transformer": {"size": 16, "feed_forward": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1},
    "hybrid": {"size": 16, "feed_forward": 32, "heads": 2, "encoder_layers": 1, "hidden": 16},
}
"""Each kind of model as small as it can be and still do all that it does."""


def words(count: int, seed: int = 5) -> list[tuple[str, str]]:
    """Made-up words, each with itself from the back; all different, some in Hangul and Greek."""
    dice, found = random.Random(seed), set[str]()
    while len(found) < count:
        letters = dice.choices(("abcdefghij", "가나다라마바", "αβγδεζ"), weights=(8, 1, 1))[0]
        found.add("".join(dice.choices(letters, k=dice.randint(2, 9))))
    return [(word, word[::-1]) for word in sorted(found)]


def write_pairs(path: Path, count: int = 400) -> Path:
    """`words` as TSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{source}\t{target}\n" for source, target in words(count)), "utf-8")
    return path


def sizes(kind: str) -> list[str]:
    """The tiny sizes of one kind of model as words of the command line."""
    return [word for key, value in SIZES[kind].items() for word in ("--set", f"model.{key}={json.dumps(value)}")]


def warm_up() -> None:
    """Imports what a run needs, so that a forked process begins at once."""
    import matplotlib.style  # noqa: F401
    import torch

    import pairloom.cli
    import pairloom.workflow.doctor
    import pairloom.workflow.run
    import pairloom.workflow.show  # noqa: F401

    torch.set_num_threads(1)


def start(command: Sequence[object], said: Path, *, read: Path | None = None, errors: Path | None = None) -> int:
    """Begins `pairloom COMMAND` in a forked process; its process id.

    Both outputs are appended to `said`, or standard error to `errors`; standard input is the file `read`, or empty.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        from pairloom.cli import main

        place = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(place, 1)
        os.dup2(place if errors is None else os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        os.dup2(os.open(read or os.devnull, os.O_RDONLY), 0)
        sys.stdin = os.fdopen(0)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        code = main([str(word) for word in command])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def add_engine(folder: Path) -> None:
    """Makes the engine of a model anew, in a process of its own."""
    pid = os.fork()
    if pid:
        if wait(pid):
            raise SystemExit(f"no engine could be made for {folder}")
        return
    code = 99
    try:
        from pairloom.engine import write_engine
        from pairloom.weights import load_folder

        shutil.rmtree(folder / "engine", ignore_errors=True)
        loaded = load_folder(folder)
        write_engine(loaded, loaded.source.encode_all(["abc", "cab"]))
        code = 0
    finally:
        os._exit(code)


def ended(pid: int) -> int | None:
    """The exit code of a process that has ended (minus the signal that killed it); None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def wait(pid: int) -> int:
    """The exit code, when it has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def keep(name: str, command: str, facts: dict[str, Any]) -> Path:
    """Prints a summary and writes benchmarks/results/reliability-NAME.json."""
    from importlib.metadata import version

    import torch

    packages = (
        "torch",
        "numpy",
        "safetensors",
        "tokenizers",
        "pydantic",
        *(("onnxruntime",) if "onnx" in str(facts) else ()),
    )
    content = {
        "name": name,
        "command": command,
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {
            "pairloom": version_of_pairloom(),
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        "machine": {
            "processor": torch.backends.cpu.get_cpu_capability(),
            "architecture": platform.machine(),
            "system": f"{platform.system()} {platform.release()}",
            "threads": torch.get_num_threads(),
        },
        **facts,
    }
    path = RESULTS / f"reliability-{name}.json"
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
    print(json.dumps({key: value for key, value in facts.items() if key != "cases"}, ensure_ascii=False, indent=1))
    print(path)
    return path


def version_of_pairloom() -> str:
    """As the package itself says."""
    from pairloom.version import __version__

    return __version__


def commit() -> str:
    """Of the repository that this file is in; with a + if something in it has been changed since."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=True, stdout=-1, text=True, cwd=HERE)
    changed = subprocess.run(["git", "status", "--porcelain", "../../src"], check=True, stdout=-1, text=True, cwd=HERE)
    return done.stdout.strip() + ("+" if changed.stdout.strip() else "")
