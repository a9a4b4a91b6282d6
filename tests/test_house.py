"""The house stands: imports run down, nothing on the load path runs code, files stay small, the package is whole.

The rules themselves are in house.py. Each is applied to the repository, and to a small package that breaks it: a guard
that could never fail would be worse than none.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

import house

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "src" / house.PACKAGE

Rule = Callable[[Path], list[str]]

PACKAGE_RULES: list[Rule] = [
    house.homeless,
    house.upward,
    house.circle,
    house.dangerous,
    house.asking_others,
    house.talking,
    house.too_long,
]

SOUND = {
    "__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pairloom.workflow import run\n",
    "errors.py": "class E(Exception): ...\n",
    "text/__init__.py": "from pairloom.text.pairs import Pair\n",
    "text/pairs.py": "from ..errors import E\nclass Pair: ...\n",
    "models/__init__.py": "import torch\n\ndef f(m: torch.nn.Module) -> None:\n    m.eval()\n",
    "folder.py": "from pairloom import text\nimport pairloom.models as m\nfrom pairloom.text import Pair\n",
    "learning/__init__.py": "from pairloom.folder import m\n",
    "decoding/__init__.py": "import json\njson.load\n",
    "workflow/__init__.py": "from pairloom import decoding, learning\nfrom . import steps\n",
    "workflow/steps.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pairloom import workflow\n",
    "server/__init__.py": "import socket\nfrom urllib.parse import parse_qs\nfrom http import HTTPStatus\n",
    "cli/__init__.py": "from pairloom import workflow\nimport urllib.request\nprint(workflow)\n",
}
"""A package that keeps every rule, close to their edges."""


def build(root: Path, files: dict[str, str]) -> Path:
    """Writes the files below `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    return root


# -- the repository keeps the rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", PACKAGE_RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    assert len(house.modules_of(PACKAGE)) > 30, "the rules have been looking at nothing"
    assert rule(PACKAGE) == []


def test_no_file_stays_behind_when_the_package_is_installed() -> None:
    assert house.left_behind(REPOSITORY) == []


def test_no_text_names_a_machine_or_a_registry() -> None:
    names = {path.relative_to(REPOSITORY).as_posix() for path, _ in house.texts_of(REPOSITORY)}
    assert {".ci/run", "Makefile", "requirements/checks.txt", "src/pairloom/errors.py", "tests/house.py"} <= names
    assert house.strange_places(REPOSITORY) == []


def test_documents_lead_somewhere() -> None:
    assert house.dead_ends(REPOSITORY) == []


def test_one_version() -> None:
    import pairloom

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    assert pairloom.__version__ == project["version"]
    assert f"## [{project['version']}]" in (REPOSITORY / "CHANGELOG.md").read_text("utf-8")


def test_everything_installed_for_the_checks_is_pinned_with_a_hash_and_torch_apart() -> None:
    lock = (REPOSITORY / "requirements" / "checks.txt").read_text("utf-8")
    entries = re.findall(r"^[a-z0-9][^\n]*(?:\n    --hash[^\n]*)*", lock, re.MULTILINE)
    assert len(entries) > 30
    assert [
        entry for entry in entries if not re.match(r"[a-z0-9.-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", entry)
    ] == []
    assert [entry for entry in entries if re.match(r"torch=|nvidia|cuda|triton", entry)] == []
    assert re.search(r"^torch==[\d.]+$", (REPOSITORY / "requirements" / "torch.txt").read_text("utf-8"), re.MULTILINE)


# -- nothing heavy is loaded before it is needed -----------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["-c", "import pairloom"], ["-m", "pairloom", "--help"]], ids=" ".join)
def test_neither_import_nor_help_loads_what_is_slow(arguments: list[str]) -> None:
    """`pairloom --help` is to answer in a quarter of a second; torch alone takes several times as long."""
    loaded = modules_loaded_by(arguments)
    assert "pairloom" in loaded
    assert loaded & {"torch", "matplotlib", "sacrebleu"} == set()


def test_a_slow_import_would_be_seen() -> None:
    assert {"json", "json.decoder"} <= modules_loaded_by(["-c", "def late():\n import json\nlate()"])


def modules_loaded_by(arguments: list[str]) -> set[str]:
    """The names of all modules that a Python process imports."""
    path = os.pathsep.join([str(PACKAGE.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]).rstrip(
        os.pathsep
    )
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 0, "\n".join(said)
    return set(re.findall(r"^import time:[ \d]+\|[ \d]+\| *(\S+)$", done.stderr, re.MULTILINE))


# -- the rules catch what they forbid ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", PACKAGE_RULES, ids=lambda rule: rule.__name__)
def test_a_sound_package_has_no_finding(rule: Rule, tmp_path: Path) -> None:
    assert rule(build(tmp_path, SOUND)) == []


@pytest.mark.parametrize(
    ("rule", "files", "finding"),
    [
        (house.homeless, {"helpers.py": ""}, "helpers.py: helpers is on no floor"),
        (house.homeless, {"misc/things.py": ""}, "misc/things.py: misc is on no floor"),
        (house.upward, {"text/pairs.py": "import pairloom.models"}, "text/pairs.py:1: text (floor 2) imports models"),
        (house.upward, {"text/pairs.py": "from ..models import f"}, "text/pairs.py:1: text (floor 2) imports models"),
        (
            house.upward,
            {"text/__init__.py": "from .. import folder"},
            "text/__init__.py:1: text (floor 2) imports folder",
        ),
        (house.upward, {"text/pairs.py": "def f():\n    from pairloom import cli"}, "text/pairs.py:2: text (floor 2)"),
        (
            house.upward,
            {"errors.py": "from pairloom import __version__"},
            "errors.py:1: errors (floor 1) imports __init__",
        ),
        (
            house.upward,
            {"text/pairs.py": "if TYPE_CHECKING:\n    from pairloom.cli import x"},
            "text/pairs.py:2: text (floor 2) imports cli (floor 7): it runs up",
        ),
        (
            house.upward,
            {"folder.py": "import importlib\nimportlib.import_module('pairloom.server')", "server/__init__.py": ""},
            "folder.py:2: folder (floor 4) imports server (floor 6)",
        ),
        (
            house.upward,
            {"learning/__init__.py": "from pairloom.decoding import generate"},
            "learning/__init__.py:1: learning imports decoding: only the folder joins them",
        ),
        (
            house.upward,
            {"decoding/beam.py": "from pairloom import learning"},
            "decoding/beam.py:1: decoding imports learning: only the folder joins them",
        ),
        (
            house.circle,
            {"text/a.py": "from pairloom.text.b import x", "text/b.py": "from pairloom.text import a"},
            "a circle: text.a ← text.b ← text.a",
        ),
        (
            house.circle,
            {"text/a.py": "import pairloom.text.b", "text/b.py": "def late():\n    from . import a"},
            "a circle: text.a ← text.b ← text.a",
        ),
        (house.circle, {"text/pairs.py": "from pairloom.text import Other"}, "a circle: text ← text.pairs ← text"),
        (house.dangerous, {"text/pairs.py": "x = 1\nimport pickle"}, "text/pairs.py:2: imports pickle"),
        (house.dangerous, {"text/pairs.py": "from joblib.x import y"}, "text/pairs.py:1: imports joblib.x"),
        (house.dangerous, {"models/a.py": "import torch as t\nt.load(p)"}, "models/a.py:2: torch.load"),
        (house.dangerous, {"models/a.py": "from torch import load"}, "models/a.py:1: imports torch.load"),
        (house.dangerous, {"models/a.py": "f(p, allow_pickle=True)"}, "models/a.py:1: allow_pickle=True"),
        (house.dangerous, {"models/a.py": "f(p, weights_only=False)"}, "models/a.py:1: weights_only=False"),
        (house.dangerous, {"cli/__init__.py": "eval('1')"}, "cli/__init__.py:1: calls eval"),
        (house.dangerous, {"cli/__init__.py": "exec('1')"}, "cli/__init__.py:1: calls exec"),
        (house.asking_others, {"server/a.py": "import urllib.request"}, "server/a.py:1: imports urllib.request"),
        (house.asking_others, {"server/a.py": "from urllib import request"}, "server/a.py:1: imports urllib.request"),
        (house.asking_others, {"server/a.py": "\nfrom http.client import X"}, "server/a.py:2: imports http.client"),
        (house.asking_others, {"server/a.py": "def f():\n    import httpx"}, "server/a.py:2: imports httpx"),
        (house.asking_others, {"server/a.py": "__import__('requests.api')"}, "server/a.py:1: imports requests"),
        (house.asking_others, {"server/b/c.py": "s.connect(('a', 1))"}, "server/b/c.py:1: calls s.connect"),
        (house.asking_others, {"server/a.py": "loop.create_connection(p, h)"}, "server/a.py:1: calls loop.create_conn"),
        (house.talking, {"learning/__init__.py": "\nprint('loss')"}, "learning/__init__.py:2: prints"),
        (house.too_long, {"text/long.py": "\n" * 401}, "text/long.py: 401 lines, at most 400"),
        (house.too_long, {"text/page.js": "//\n" * 401}, "text/page.js: 401 lines, at most 400"),
    ],
)
def test_a_broken_package_has_a_finding(rule: Rule, files: dict[str, str], finding: str, tmp_path: Path) -> None:
    found = rule(build(tmp_path, {**SOUND, **files}))
    assert len(found) == 1
    # A circle may be told from any of its members: compare it as a set of arrows.
    assert found[0].startswith(finding) or arrows(found[0]) == arrows(finding)


def arrows(finding: str) -> set[tuple[str, str]]:
    """`a circle: a ← b ← a` → its arrows in reading order; nothing for other findings."""
    names = finding.removeprefix("a circle: ").split(" ← ")
    return set(pairwise(names)) or {(finding, finding)}


def test_what_is_left_behind_is_found(tmp_path: Path) -> None:
    setup = '[tool.setuptools.package-data]\npairloom = ["py.typed", "fonts/*"]\n'
    data = {"py.typed": "", "fonts/a.ttf": "", "pictures/page/a.html": "", "__pycache__/a.pyc": "", "a.py": ""}
    build(tmp_path, {"pyproject.toml": setup, **{f"src/pairloom/{name}": content for name, content in data.items()}})
    [finding] = house.left_behind(tmp_path)
    assert finding.startswith("pictures/page/a.html: no pattern of package-data")


def test_strange_places_are_found(tmp_path: Path) -> None:
    host = house.REGISTRY_HOSTS[0]
    files = {
        "README.md": f"cd {os.sep}work/main\npip install --index-url https://{host}/simple\n",
        ".ci/run": f"cat ..{os.sep}shared/x\n",
        "docs/a.md": f"see {os.sep}home/me/x, and `{os.sep}tmp/x`\n",
        "tests/a.py": f"'{os.sep}tmp/x'\n",
        "fine.md": "runs/work, https://example.org/home/x, at work/home, //work-in-progress\n",
        "runs/mine/log": f"{os.sep}work\n",
        ".venv/x": host,
    }
    build(tmp_path, files)
    (tmp_path / "binary").write_bytes(b"\0" + host.encode())
    assert [finding.split(": ", 1)[0] for finding in house.strange_places(tmp_path)] == [
        ".ci/run:1",
        "README.md:1",
        "README.md:2",
        "docs/a.md:1",
        "docs/a.md:1",
    ]


def test_dead_ends_are_found(tmp_path: Path) -> None:
    text = "[a](b.md) [c](https://example.org/x) [d](#here) [e](docs/f.md#x) `test_a` `test_b.py` `test_c` `test_d`"
    tests = {"tests/test_b.py": "def test_a() -> None: ...\n# def test_c\n"}
    build(tmp_path, {"README.md": text, "docs/f.md": "[up](../README.md)", **tests})
    assert house.dead_ends(tmp_path) == [
        "README.md: a link to nothing: b.md",
        "README.md: no such test: test_c",
        "README.md: no such test: test_d",
    ]
