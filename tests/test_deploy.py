"""What deploy/ says is true of the program: flags, ports, paths, metrics, times."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from pairloom.cli import COMMANDS
from pairloom.cli.parser import build, grouped
from pairloom.server import guards
from pairloom.server.app import create_app
from pairloom.server.meters import Meters
from pairloom.server.run import longest_end
from pairloom.server.service import Service
from pairloom.server.settings import KEY_VARIABLE, ServerSettings, server_settings
from pairloom.server.shelf import Shelf

DEPLOY = Path(__file__).parent.parent / "deploy"


def parsed(words: list[str]) -> dict[str, Any]:
    """The arguments of `pairloom serve`, as the command line reads them."""
    return grouped(vars(build(COMMANDS).parse_args(["serve", *words])))


@pytest.fixture(scope="module")
def parts() -> dict[str, dict[str, Any]]:
    """The objects of the Kubernetes example by kind."""
    yaml = pytest.importorskip("yaml")
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8")))
    return {one["kind"]: one for one in objects}


@pytest.fixture(scope="module")
def words() -> tuple[list[str], list[str]]:
    """The Dockerfile's entry point and its default arguments."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    entry, default = (re.findall(rf"^{name} (\[.*\])$", text, re.MULTILINE) for name in ("ENTRYPOINT", "CMD"))
    return json.loads(entry[0]), json.loads(default[0])


def test_the_image_starts_the_server(words: tuple[list[str], list[str]]) -> None:
    entry, default = words
    assert entry[:2] == ["pairloom", "serve"]
    arguments = parsed([*entry[2:], *default])
    assert arguments["server"]["port"] == 8000
    assert arguments["server"]["host"] == "0.0.0.0"
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert f"EXPOSE {arguments['server']['port']}" in text
    assert f"http://127.0.0.1:{arguments['server']['port']}/healthz" in text
    assert "/healthz" in guards.OPEN
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        assert all((DEPLOY.parent / name).exists() for name in source.split())
    (extras,) = re.findall(r"/source\[(.+?)\]", text)
    setup = (DEPLOY.parent / "pyproject.toml").read_text("utf-8")
    assert all(re.search(rf"^{extra} = \[", setup, re.MULTILINE) for extra in extras.split(","))


def test_the_container_has_the_servers_flags_and_ports(
    parts: dict[str, dict[str, Any]], words: tuple[list[str], list[str]]
) -> None:
    pod = parts["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    arguments = parsed([*words[0][2:], *container["args"]])
    assert container["ports"] == [{"name": "http", "containerPort": arguments["server"]["port"]}]
    assert pod["terminationGracePeriodSeconds"] > longest_end(server_settings(arguments["server"]))
    assert [one["name"] for one in container["env"]] == [KEY_VARIABLE]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in guards.OPEN
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    # The probe must have seen that it is not ready before the server stops listening.
    assert container["readinessProbe"]["periodSeconds"] < arguments["server"]["grace"]
    assert parts["Service"]["spec"]["ports"][0]["targetPort"] == "http"
    mounts = {one["name"] for one in container["volumeMounts"]}
    assert mounts == {one["name"] for one in pod["volumes"]}
    assert arguments["directories"][0].startswith("/models/")


def test_it_scales_by_a_metric_that_there_is(parts: dict[str, dict[str, Any]]) -> None:
    meters = Meters()
    settings = ServerSettings()
    Service(Shelf([]), settings, meters)
    (metric,) = parts["HorizontalPodAutoscaler"]["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert f"\n{name} 0.0\n" in meters.exposition().decode()
    assert metric["pods"]["target"]["averageValue"] == f"{round(1000 * settings.queue_seconds / 4)}m"


def scraped(settings: ServerSettings, endpoint: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
    """The answer to a scraper, which asks a pod by its address."""
    transport = httpx.ASGITransport(create_app(Shelf([]), settings))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url=f"http://10.1.2.3:{settings.port}") as client:
            return await client.get(endpoint["path"], headers=headers)

    return asyncio.run(ask())


def test_the_scraper_is_let_in_and_finds_what_it_scales_by(
    parts: dict[str, dict[str, Any]], words: tuple[list[str], list[str]]
) -> None:
    template = parts["Deployment"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    monitor = parts["PodMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"] == template["metadata"]["labels"] == parts["Service"]["spec"]["selector"]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in [port["name"] for port in container["ports"]]
    assert int(endpoint["interval"].removesuffix("s")) * 2 <= 30  # the adapter's rule takes the mean of 30 seconds
    authorization = endpoint["authorization"]
    (variable,) = container["env"]
    assert authorization["credentials"] == variable["valueFrom"]["secretKeyRef"]  # the key of the server itself
    secret = parts["Secret"]
    assert secret["metadata"]["name"] == authorization["credentials"]["name"]
    key = secret["stringData"][authorization["credentials"]["key"]]
    arguments = parsed([*words[0][2:], *container["args"]])
    settings = server_settings({**arguments["server"], "hosts": tuple(arguments["hosts"]), "key": key})
    assert scraped(settings, endpoint, {}).status_code == 401
    answer = scraped(settings, endpoint, {"Authorization": f"{authorization['type']} {key}"})
    assert answer.status_code == 200
    (metric,) = parts["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert f"\n{metric['pods']['metric']['name']} " in answer.text
