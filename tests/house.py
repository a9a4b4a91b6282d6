"""The rules of the house, as functions from a directory to what is wrong in it (see docs/architecture.md).

Every function takes the place to look at, so that test_house.py can show, on small broken packages, that each rule
catches what it forbids. A finding is one line: `file:line: what is wrong`.
"""

from __future__ import annotations

import ast
import fnmatch
import graphlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = "pairloom"

FLOORS: dict[str, int] = {
    **dict.fromkeys(("errors", "version", "storage", "pictures"), 1),
    "text": 2,
    "models": 3,
    **dict.fromkeys(("checkpoint", "folder", "weights"), 4),
    **dict.fromkeys(("learning", "decoding", "engine", "metrics"), 5),
    **dict.fromkeys(("recipes", "workflow", "quickstart", "server", "export"), 6),
    **dict.fromkeys(("cli", "__init__", "__main__"), 7),
}
"""Top-level module or package → floor. Imports run down, or stay on their floor."""

STRANGERS = {("learning", "decoding"), ("decoding", "learning")}
"""Never import each other, though on one floor: only the folder joins them."""

LONGEST_FILE = 400  # lines
LINE_COUNTED = {".py", ".js", ".css", ".html"}

CODE_LOADERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
"""Modules that run what a file tells them to."""

TORCH_FILES = {"load", "save"}  # of torch: pickles
HTTP_CLIENTS = (
    *("urllib.request", "http.client", "urllib3", "requests", "httpx", "httpx2", "aiohttp", "pycurl", "websockets"),
    *("ftplib", "smtplib", "poplib", "imaplib", "telnetlib", "xmlrpc.client"),
)
"""Modules that ask others, over HTTP or otherwise."""

CALLS_OUT = {"connect", "connect_ex", "create_connection", "open_connection", "open_unix_connection", "urlopen"}
"""Functions and methods that open a connection, of sockets and of asyncio."""

TALKERS = {"cli", "__main__"}  # may print

REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("registry", "npmjs", "org"),
        ("deb", "debian", "org"),
        ("conda", "anaconda", "org"),
    )
)  # in parts, because no file of the repository may hold them whole: not even this one
_MACHINE_PATHS = re.compile(r"(?<![\w.*/-])/(?:work\b(?!-)|farm/|root/|home/|Users/|tmp/)|\.\./shared\b")
_LINK = re.compile(r"\]\(([^()\s#]+)(?:#[^()\s]*)?\)")
_TEST_NAME = re.compile(r"`(test_\w+)(?:\.py)?`")
_UNVISITED = {"__pycache__", "build", "dist", "runs"}
_HIDDEN_BUT_OURS = {".ci", ".github", ".gitignore"}


class Import(NamedTuple):
    """One import of something inside the package."""

    importer: str  # dotted, without the package's own name; "" is its __init__
    imported: str
    line: int
    typing_only: bool  # under `if TYPE_CHECKING`


# -- the modules and their imports -------------------------------------------------------------------------------------


def modules_of(package: Path) -> dict[str, Path]:
    """Dotted name → file; a package goes by its own name ("text"), the outermost one by ""."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(package: Path) -> list[Import]:
    """Every import of the package's own modules, inside functions and under `if TYPE_CHECKING` too."""
    modules = modules_of(package)
    found = []
    for name, path in modules.items():
        tree = parse(path)
        typing_only = {id(node) for guard in ast.walk(tree) if is_typing_guard(guard) for node in under(guard)}
        for node in ast.walk(tree):
            for target in targets(node, name, path):
                if target == PACKAGE or target.startswith(PACKAGE + "."):
                    inside = nearest_module(target.removeprefix(PACKAGE).removeprefix("."), modules)
                    found.append(Import(name, inside, getattr(node, "lineno", 0), id(node) in typing_only))
    return found


def parse(path: Path) -> ast.Module:
    """The syntax tree of one file."""
    return ast.parse(path.read_text("utf-8"), str(path))


def is_typing_guard(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:` or `if typing.TYPE_CHECKING:`"""
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def under(guard: ast.AST) -> Iterator[ast.AST]:
    """What only a type checker sees: the body of the `if`, without its `else`."""
    assert isinstance(guard, ast.If)
    for statement in guard.body:
        yield from ast.walk(statement)


def targets(node: ast.AST, module: str, path: Path) -> list[str]:
    """The dotted names that a statement or a call of `import_module("...")` imports, as far as it spells them."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = [PACKAGE, *(module.split(".") if module else [])]
            up = node.level - (path.name == "__init__.py")  # one dot in a package's __init__ is the package itself
            base = ".".join([*parts[: len(parts) - up], *([node.module] if node.module else [])])
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and called(node) in {"import_module", "importlib.import_module", "__import__"}:
        return [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return []


def called(call: ast.Call) -> str:
    """What is called, as it is written."""
    return ast.unparse(call.func)


def nearest_module(dotted: str, modules: dict[str, Path]) -> str:
    """`text.pairs.Pair` → `text.pairs`; `__version__` → "", the package's own __init__."""
    while dotted and dotted not in modules and dotted.rpartition(".")[0] in modules:
        dotted = dotted.rpartition(".")[0]
    return dotted


def top(module: str) -> str:
    """The name by which a module has its floor."""
    return module.split(".", maxsplit=1)[0] or "__init__"


# -- the rules ---------------------------------------------------------------------------------------------------------


def homeless(package: Path) -> list[str]:
    """Modules that belong to no floor."""
    return [
        f"{path.relative_to(package)}: {top(name)} is on no floor: see tests/house.py"
        for name, path in modules_of(package).items()
        if top(name) not in FLOORS
    ]


def upward(package: Path) -> list[str]:
    """Imports that run up, and those between learning and decoding. `if TYPE_CHECKING` is no excuse."""
    modules = modules_of(package)
    found = []
    for one in imports_of(package):
        here, there = top(one.importer), top(one.imported)
        place = f"{modules[one.importer].relative_to(package)}:{one.line}"
        if FLOORS.get(there, 0) > FLOORS.get(here, 99):
            found.append(f"{place}: {here} (floor {FLOORS[here]}) imports {there} (floor {FLOORS[there]}): it runs up")
        elif (here, there) in STRANGERS:
            found.append(f"{place}: {here} imports {there}: only the folder joins them")
    return found


def circle(package: Path) -> list[str]:
    """One circle of imports, if there is any. Imports inside functions count: they only hide it."""
    graph: dict[str, set[str]] = {name: set() for name in modules_of(package)}
    for one in imports_of(package):
        if not one.typing_only:
            graph[one.importer].add(one.imported)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return ["a circle: " + " ← ".join(name or "__init__" for name in error.args[1])]
    return []


def dangerous(package: Path) -> list[str]:
    """Whatever would run code out of a file or a text: pickles in all their forms, `eval`, `exec`."""
    found = []
    for path in modules_of(package).values():
        tree = parse(path)
        torch_names = aliases(tree, "torch")
        for node in ast.walk(tree):
            for what in dangers(node, torch_names):
                found.append(f"{path.relative_to(package)}:{getattr(node, 'lineno', 0)}: {what}")
    return found


def aliases(tree: ast.Module, module: str) -> set[str]:
    """The names under which a file has imported `module`."""
    imported = (alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names)
    return {alias.asname or alias.name for alias in imported if alias.name == module}


def dangers(node: ast.AST, torch_names: set[str]) -> list[str]:
    """The forbidden things that this one node is."""
    if isinstance(node, ast.Import):
        return [f"imports {a.name}" for a in node.names if a.name.split(".")[0] in CODE_LOADERS]
    if isinstance(node, ast.ImportFrom) and not node.level:
        if (node.module or "").split(".")[0] in CODE_LOADERS:
            return [f"imports {node.module}"]
        return [f"imports torch.{a.name}" for a in node.names if node.module == "torch" and a.name in TORCH_FILES]
    if isinstance(node, ast.Attribute) and node.attr in TORCH_FILES and ast.unparse(node.value) in torch_names:
        return [f"torch.{node.attr}"]
    if isinstance(node, ast.Call):
        loose = {"allow_pickle": True, "weights_only": False}
        found = [
            f"{keyword.arg}={keyword.value.value}"
            for keyword in node.keywords
            if isinstance(keyword.value, ast.Constant) and keyword.value.value is loose.get(keyword.arg or "", ...)
        ]
        if called(node) in {"eval", "exec", "builtins.eval", "builtins.exec"}:
            found.append(f"calls {called(node)}")
        return found
    return []


def asking_others(package: Path) -> list[str]:
    """Whatever would let the server ask other machines: a client could have it fetch what only this one may see."""
    found = []
    for name, path in modules_of(package).items():
        if top(name) == "server":
            for node in ast.walk(parse(path)):
                place = f"{path.relative_to(package)}:{getattr(node, 'lineno', 0)}"
                found += [f"{place}: imports {client}" for client in clients(targets(node, name, path))]
                if isinstance(node, ast.Call) and called(node).rpartition(".")[2] in CALLS_OUT:
                    found.append(f"{place}: calls {called(node)}")
    return found


def clients(imported: list[str]) -> list[str]:
    """Those of the names that are, or are in, a module that asks others."""
    return sorted({one for one in HTTP_CLIENTS for name in imported if f"{name}.".startswith(f"{one}.")})


def talking(package: Path) -> list[str]:
    """`print` anywhere but on the command line's floor."""
    return [
        f"{path.relative_to(package)}:{node.lineno}: prints; only the command line does"
        for name, path in modules_of(package).items()
        if top(name) not in TALKERS
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and called(node) in {"print", "builtins.print", "rich.print"}
    ]


def too_long(package: Path) -> list[str]:
    """Files that nobody reads in one sitting."""
    found = []
    for path in sorted(package.rglob("*")):
        if path.suffix in LINE_COUNTED:
            lines = len(path.read_text("utf-8").splitlines())
            if lines > LONGEST_FILE:
                found.append(
                    f"{path.relative_to(package)}: {lines} lines, at most {LONGEST_FILE}: split it by its ideas"
                )
    return found


def left_behind(repository: Path) -> list[str]:
    """Files beside the modules that an installed package would lack, as pyproject.toml does not name them."""
    setup = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))
    patterns = setup["tool"]["setuptools"]["package-data"][PACKAGE]
    package = repository / "src" / PACKAGE
    names = [path.relative_to(package).as_posix() for path in sorted(package.rglob("*")) if is_data(path)]
    return [
        f"{name}: no pattern of package-data in pyproject.toml has it, so `pip install .` would leave it behind"
        for name in names
        if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
    ]


def is_data(path: Path) -> bool:
    """A file that is no module and no trace of running one."""
    return path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts


# -- the texts of the repository ---------------------------------------------------------------------------------------


def texts_of(repository: Path) -> Iterator[tuple[Path, str]]:
    """Every text file that belongs to the repository (no caches, no runs, no binary files)."""
    for path in sorted(repository.iterdir()):
        hidden = path.name.startswith(".") and path.name not in _HIDDEN_BUT_OURS
        if hidden or path.name in _UNVISITED or path.name.endswith(".egg-info") or path.is_symlink():
            continue
        if path.is_dir():
            yield from texts_of(path)
        else:
            content = path.read_bytes()
            if b"\0" not in content:
                yield path, content.decode("utf-8", errors="replace")


def strange_places(repository: Path) -> list[str]:
    """Paths of somebody's machine, and hosts of package registries. Tests may speak of the temporary directory."""
    found = []
    for path, text in texts_of(repository):
        name = path.relative_to(repository)
        for number, line in enumerate(text.splitlines(), start=1):
            paths = [match.group() for match in _MACHINE_PATHS.finditer(line)]
            if name.parts[0] == "tests":
                paths = [place for place in paths if place != "/tmp/"]
            found += [f"{name}:{number}: a path of one machine: {place}" for place in paths]
            found += [f"{name}:{number}: a registry's host: {host}" for host in REGISTRY_HOSTS if host in line]
    return found


def dead_ends(repository: Path) -> list[str]:
    """Links of documents to files, and names of tests in them, that lead nowhere."""
    tests = {path.stem: path.read_text("utf-8") for path in sorted((repository / "tests").glob("*.py"))}
    defined = {
        *tests,
        *(name for text in tests.values() for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)),
    }
    found = []
    for path, text in texts_of(repository):
        if path.suffix == ".md":
            name = path.relative_to(repository)
            links = [link for link in _LINK.findall(text) if "://" not in link and not (path.parent / link).exists()]
            found += [f"{name}: a link to nothing: {link}" for link in links]
            found += [f"{name}: no such test: {test}" for test in _TEST_NAME.findall(text) if test not in defined]
    return found
