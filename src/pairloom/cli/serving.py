"""`pairloom serve`: models behind HTTP."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pairloom.cli.output import say
from pairloom.cli.parser import Command, Parser, add_machine
from pairloom.errors import MissingExtraError


def add_serve(parser: Parser) -> None:
    """The arguments."""
    parser.add_argument("directories", nargs="+", metavar="DIR", help="folders of models, each under its own name")
    parser.rest = "directories"

    def option(group: Any, name: str, kind: Any, metavar: str, text: str, prefix: str = "server") -> None:
        dest = f"{prefix}.{name.removeprefix('--').replace('-', '_')}"
        group.add_argument(name, type=kind, metavar=metavar, dest=dest, help=text)

    option(parser, "--host", str, "ADDRESS", "where it listens; 127.0.0.1: for this machine only")
    text = "a further name by which clients call this server, such as that of a proxy before it; several times for more"
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME", dest="hosts", help=text)
    option(parser, "--port", int, "N", "8000; 0 takes any free one")
    text = "de:en, or NAME=de:en: what a model turns into what (else from the names of its training files)"
    parser.add_argument("--languages", action="append", default=[], metavar="[NAME=]A:B", help=text)
    text = "an origin whose pages may ask, too; may be given several times; * for all"
    parser.add_argument("--cors", action="append", default=[], metavar="ORIGIN", help=text)
    work = parser.add_argument_group("work")
    option(work, "--workers", int, "N", "threads that run models (one for each processor)")
    option(work, "--batch", int, "N", "texts answered at the same time by a worker (32)")
    option(work, "--queue-tokens", int, "N", "source tokens, times the beam, that may wait; then 503 at once (65536)")
    option(work, "--queue-seconds", float, "SECONDS", "that what waits may take; then 503 at once (10)")
    option(work, "--overload-status", int, "N", "429 for clients that do not know 503")
    option(work, "--grace", float, "SECONDS", "after SIGTERM, in which new requests are still taken in (0.5)")
    option(work, "--drain", float, "SECONDS", "after the grace, to answer what was accepted; then it ends (30)")
    option(work, "--connections", int, "N", "with a request under way at the same time; then 503 at once (1024)")
    limits = parser.add_argument_group("limits of a request")
    for name, kind, metavar, text in (
        ("--body-bytes", int, "N", "bytes (1048576)"),
        ("--texts", int, "N", "texts (256)"),
        ("--characters", int, "N", "characters of all texts (20000)"),
        ("--alternatives", int, "N", "outputs for each text (16)"),
        ("--beam", int, "N", "hypotheses of a beam (16)"),
        ("--length", int, "N", "tokens of an output (512)"),
        ("--deadline", float, "SECONDS", "until the answer; then 503 (30)"),
    ):
        option(limits, name, kind, metavar, text, "limits")
    add_machine(parser)


def serve(
    *,
    directories: Sequence[str],
    languages: Sequence[str],
    cors: Sequence[str],
    hosts: Sequence[str],
    server: dict[str, Any],
    limits: dict[str, Any],
    machine: dict[str, Any],
) -> int:
    """Serves until Ctrl-C or SIGTERM."""
    try:
        from pairloom.server.logs import start_logging
        from pairloom.server.run import serve as run
        from pairloom.server.settings import KEY_VARIABLE, server_settings
        from pairloom.server.shelf import open_shelf
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] == "pairloom":
            raise
        raise MissingExtraError("`pairloom serve`", "serve") from None
    key = os.environ.get(KEY_VARIABLE) or None
    lists = {"cors": tuple(cors), "hosts": tuple(hosts)}
    settings = server_settings({**server, **lists, "limits": limits, "key": key})
    # Workers are threads that answer different batches at the same time: one thread each, unless told otherwise.
    shelf = open_shelf([Path(one) for one in directories], languages, **{"threads": 1, **machine})
    start_logging()
    say(f"http://{settings.host}:{settings.port}/    Ctrl-C ends")
    run(shelf, settings)
    return 0


SERVE = Command(
    "serve",
    "DIR... [options]",
    "a page in the browser, and HTTP for programs",
    (
        "pairloom serve runs/mine     # then open http://127.0.0.1:8000/",
        "pairloom serve runs/de-en runs/chat --languages de-en=de:en --port 8080",
        "PAIRLOOM_API_KEY=... pairloom serve runs/mine --host 0.0.0.0",
    ),
    add_serve,
    serve,
)
