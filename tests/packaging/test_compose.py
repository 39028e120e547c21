"""The Compose file: valid, and agreeing with the service, with what it mounts, and with the dashboard."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings

FOLDER = Path(__file__).parents[2] / "deploy" / "compose"
FILE = FOLDER / "compose.yaml"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return found


def checked(file: Path) -> int:
    """The exit status of a check against the schema of Compose, which comes with the program: nothing is fetched."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, timeout=300, check=False).returncode


def test_it_is_valid_and_the_check_finds_a_misspelt_field(compose: dict[str, Any], tmp_path: Path) -> None:
    assert checked(FILE) == 0
    compose["services"]["web"] = compose["services"]["web"] | {"comand": ["x"]}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(compose))
    assert checked(tmp_path / "wrong.yaml") == 1


def test_there_are_two_replicas_that_answer_and_a_worker(compose: dict[str, Any]) -> None:
    web, worker = compose["services"]["web"], compose["services"]["worker"]
    assert web["deploy"]["replicas"] == 2
    assert web["environment"]["GAN_JOB_WORKER"] == "false"
    assert worker["command"][:3] == ["python", "-m", "service.worker"]
    assert web["image"] == worker["image"]


@pytest.mark.parametrize("name", ["web", "worker"])
def test_its_settings_are_settings(compose: dict[str, Any], name: str) -> None:
    settings = Settings.from_environment(compose["services"][name]["environment"])
    assert settings.store.startswith("s3://")
    assert settings.jobs == settings.rates == "redis://redis:6379/0"
    assert not settings.store_links  # the bucket's address means nothing outside
    (network,) = compose["networks"]["inner"]["ipam"]["config"]
    assert settings.trusted_proxies == (network["subnet"],)
    assert ipaddress.ip_network(network["subnet"]).is_private


def test_the_worker_answers_where_it_is_asked(compose: dict[str, Any]) -> None:
    """The image's health check and Prometheus ask at the port of the web replicas."""
    (port,) = re.findall(r"BENTOML_PORT=(\d+)", (FOLDER.parents[1] / "Dockerfile").read_text())
    assert compose["services"]["worker"]["command"][3:] == ["--host", "0.0.0.0", "--port", port]
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert [one["dns_sd_configs"][0]["port"] for one in config["scrape_configs"]] == [int(port)]


def test_what_is_named_is_there(compose: dict[str, Any]) -> None:
    services, volumes = compose["services"], compose["volumes"]
    for name, service in services.items():
        assert service["networks"] == ["inner"], name
        assert {*service.get("depends_on", ())} <= services.keys(), name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (FOLDER / source).exists() if source.startswith(".") else source in volumes, volume


def test_only_this_machine_reaches_it(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_prometheus_asks_every_replica_and_grafana_asks_prometheus(compose: dict[str, Any]) -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    (names,) = [one["dns_sd_configs"][0] for one in config["scrape_configs"]]
    assert set(names["names"]) == {"web", "worker"}
    provisioning = FOLDER / "grafana"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "gan-service.yaml").read_text())["providers"]
    mounted = {volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]}
    assert any(path.startswith(provider["options"]["path"]) for path in mounted)
    board = json.loads((FOLDER.parent / "grafana.json").read_text())
    asked = " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    assert "gan_jobs{" in asked
    assert "gan_job_seconds_" in asked
