"""What the measurements of the server share: a server as a process of its own, a client that costs little, results."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.request import ProxyHandler, build_opener

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "benchmarks" / "results"
LOCAL = build_opener(ProxyHandler({}))  # this machine is asked without any proxy


class Process:
    """`pairloom serve`, its log in a file."""

    def __init__(self, model: Path, *options: str) -> None:
        self.port = free_port()
        self.log = Path(tempfile.mkstemp(suffix=".log")[1])
        self.command = ["pairloom", "serve", model.name, *options]
        words = [sys.executable, "-m", "pairloom", "serve", str(model), "--port", str(self.port), *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(words, stderr=log, stdout=log)
        end = time.monotonic() + 600
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(
                    f"the server did not start ({self.process.poll()}):\n{self.log.read_text('utf-8')[-2000:]}"
                )
            time.sleep(0.05)

    def get(self, path: str) -> bytes:
        """The body of a GET."""
        with LOCAL.open(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return bytes(answer.read())

    def ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            return b"ready" in self.get("/readyz")
        except OSError:
            return False

    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def meter(self, name: str) -> float:
        """The sum of a counter or gauge over its labels."""
        text = self.get("/metrics").decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))

    def events(self) -> list[dict[str, Any]]:
        """The lines of its log that are JSON."""
        lines = self.log.read_text("utf-8", errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and waits; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(60)
        self.log.unlink(missing_ok=True)
        return code


def free_port() -> int:
    """A port that nobody has at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes
    seconds: float


class Wire(asyncio.Protocol):
    """One connection, one answer at a time: it costs little, as whatever clients take is taken from the server."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None  # None: not open
        self.answer: asyncio.Future[tuple[bytes, bytes]] | None = None  # the head in small letters, and the body
        self._read = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._read += data
        end = self._read.find(b"\r\n\r\n")
        if end < 0 or self.answer is None or self.answer.done():
            return
        head = bytes(self._read[:end]).lower()
        length = LENGTH.search(head)
        assert length is not None
        if len(self._read) >= end + 4 + int(length[1]):
            self.answer.set_result((head, bytes(self._read[end + 4 :])))
            self._read.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self.transport = None
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(exc or EOFError("the connection was closed before the answer"))


class Connection:
    """One connection that is kept, and opened again where the server has closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._wire = Wire()

    async def ask(self, request: bytes) -> Answer:
        """Sends a request as it is, and reads the answer. OSError or EOFError where there is none."""
        began = time.perf_counter()
        loop = asyncio.get_running_loop()
        if self._wire.transport is None:
            _, self._wire = await loop.create_connection(Wire, "127.0.0.1", self.port)
        wire = self._wire
        assert wire.transport is not None
        wire.answer = loop.create_future()
        wire.transport.write(request)
        try:
            head, body = await wire.answer
        except BaseException:
            self.close()
            raise
        if b"connection: close" in head:
            self.close()
        return Answer(int(head[9:12]), body, time.perf_counter() - began)

    def close(self) -> None:
        """The next request opens a new one."""
        if self._wire.transport is not None:
            self._wire.transport.close()
        self._wire = Wire()


LENGTH = re.compile(rb"content-length: (\d+)")


def request(path: str, content: Any, *, name: str = "") -> bytes:
    """A POST of JSON as bytes."""
    body = json.dumps(content, ensure_ascii=False).encode()
    named = f"X-Request-Id: {name}\r\n" if name else ""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{named}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(values: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and longest, of seconds."""
    if not values:
        return {}
    found = {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "max": max(values)}
    return {name: round(1000 * value, 1) for name, value in found.items()}


def machine() -> dict[str, Any]:
    """What it was measured on and with."""
    from pairloom.workflow.doctor import examine  # imports torch, which clients do without

    packages = ("torch", "onnxruntime", "fastapi", "uvicorn", "starlette")
    seen = examine()
    return {
        "processors": len(os.sched_getaffinity(0)),
        "processor": f"{seen.processor}, {' '.join(seen.features)}",
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def kept(name: str) -> dict[str, Any]:
    """What `keep` has written last."""
    content: dict[str, Any] = json.loads((RESULTS / f"serving-{name}.json").read_text("utf-8"))
    return content


def keep(name: str, content: dict[str, Any]) -> None:
    """benchmarks/results/serving-NAME.json"""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**content, "machine": machine()}, indent=2, ensure_ascii=False)
    (RESULTS / f"serving-{name}.json").write_text(text + "\n", "utf-8")
