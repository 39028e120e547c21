"""The files in deploy/: valid, and agreeing with the service and with each other."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service import __version__
from service.settings import Settings
from service.telemetry import Telemetry

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
MANIFESTS = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
KUBERNETES = "1.31.0"  # the oldest version that these manifests are checked against


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


@pytest.fixture(scope="module")
def objects() -> dict[str, dict[str, Any]]:
    return {one["kind"]: one for path in MANIFESTS for one in documents(path)}


@pytest.fixture(scope="module")
def pod(objects: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = objects["Deployment"]["spec"]["template"]["spec"]
    return spec


def validate(definition: dict[str, Any]) -> None:
    """Against the schema of its kind; unknown fields are errors. Raises kubernetes_validate.ValidationError."""
    kubernetes_validate.validate(definition, KUBERNETES, strict=True)


def with_selector(definition: dict[str, Any]) -> dict[str, Any]:
    """As kustomize completes it: it adds the labels and the selectors of the kustomization."""
    if definition["kind"] == "Deployment":
        labels = {"app.kubernetes.io/name": "gan-service"}
        definition["spec"]["selector"] = {"matchLabels": labels}
        definition["spec"]["template"]["metadata"]["labels"] = labels
    return definition


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_valid(path):
    for definition in documents(path):
        validate(with_selector(definition))


def test_the_check_finds_a_misspelt_field(objects):
    service = {**objects["Service"], "spec": {**objects["Service"]["spec"], "sessionAfinity": "None"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(service)


def test_the_kustomization_names_every_manifest_and_renders():
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == [path.name for path in MANIFESTS]
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed here")
    rendered = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER)], capture_output=True, check=True, timeout=300
    ).stdout
    whole = list(yaml.safe_load_all(rendered))
    for definition in whole:
        validate(definition)
    deployment = next(one for one in whole if one["kind"] == "Deployment")
    service = next(one for one in whole if one["kind"] == "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == f"gan-service:{__version__}"


def test_the_settings_are_settings(objects):
    values = objects["ConfigMap"]["data"]
    assert all(isinstance(value, str) for value in values.values())
    settings = Settings.from_environment(values)
    container = objects["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert settings.threads <= int(container["resources"]["limits"]["cpu"])
    assert {entry["name"].removeprefix("GAN_").lower() for entry in container["env"]} <= Settings.model_fields.keys()


def test_what_is_written_has_a_volume_and_the_rest_is_read_only(objects, pod):
    container = pod["containers"][0]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert objects["ConfigMap"]["data"]["GAN_STORE"] in mounts
    assert Path(objects["ConfigMap"]["data"]["BENTOML_HOME"]).is_relative_to("/tmp")
    claim = volumes[mounts["/data"]]["persistentVolumeClaim"]["claimName"]
    assert claim == objects["PersistentVolumeClaim"]["metadata"]["name"]
    assert "emptyDir" in volumes[mounts["/tmp"]]


def test_the_pod_matches_the_image(pod):
    dockerfile = (ROOT / "Dockerfile").read_text()
    user = int(re.search(r"--uid (\d+)", dockerfile).group(1))  # type: ignore[union-attr]
    port = int(re.search(r"EXPOSE (\d+)", dockerfile).group(1))  # type: ignore[union-attr]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == user
    assert [one["containerPort"] for one in pod["containers"][0]["ports"]] == [port]
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_what_was_accepted_is_finished_before_the_pod_goes(objects, pod):
    wait_s = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    deadline_s = float(objects["ConfigMap"]["data"]["GAN_DEADLINE_S"])
    assert pod["terminationGracePeriodSeconds"] > wait_s + deadline_s


def test_probes_ask_the_service_with_a_timeout(pod):
    container = pod["containers"][0]
    asked = {kind: container[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert asked == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    assert all(container[kind]["timeoutSeconds"] > 1 for kind in asked)


def test_the_autoscaler_and_the_budget_leave_a_replica(objects):
    scaler, budget = objects["HorizontalPodAutoscaler"]["spec"], objects["PodDisruptionBudget"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == objects["Deployment"]["metadata"]["name"]
    assert "replicas" not in objects["Deployment"]["spec"]
    assert budget["minAvailable"] < scaler["minReplicas"] <= scaler["maxReplicas"]


def test_prometheus_scrapes_the_pods():
    config = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())
    pods = next(job for job in config["scrape_configs"] if "kubernetes_sd_configs" in job)
    rules = {rule["source_labels"][0]: rule for rule in pods["relabel_configs"] if rule.get("action") == "keep"}
    assert rules["__meta_kubernetes_pod_label_app_kubernetes_io_name"]["regex"] == "gan-service"
    assert rules["__meta_kubernetes_pod_container_port_name"]["regex"] == "http"
    assert config["global"]["scrape_timeout"] <= config["global"]["scrape_interval"]


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana.json").read_text())
    return board


def test_the_dashboard_asks_for_metrics_and_labels_that_there_are(dashboard):
    families = {family.name: family for family in Telemetry().registry.collect()}
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    labels = {name: set(_labels(name)) for name in families}
    asked = set()
    for query in queries:
        for series in re.findall(r"\bgan_\w+", query):
            name = re.sub(r"_(total|bucket|sum|count)$", "", series)
            assert name in families, series
            suffixes = {"counter": {"_total"}, "histogram": {"_bucket", "_sum", "_count"}, "gauge": {""}}
            assert series.removeprefix(name) in suffixes[families[name].type], series
            known = labels[name] | {"le", "job"}
            used = {label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")}
            used |= set(re.findall(r'(\w+)[=!]~?"', query))
            assert used <= known, (query, used - known)
            asked.add(name)
    assert asked == families.keys(), "each metric of ours has its place on the dashboard"


def _labels(name: str) -> tuple[str, ...]:
    telemetry = Telemetry()
    metric = next(value for value in vars(telemetry).values() if getattr(value, "_name", None) == name)
    labels: tuple[str, ...] = metric._labelnames
    return labels


def test_the_dashboards_panels_do_not_overlap(dashboard):
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        box = panel["gridPos"]
        covered = {(x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])}
        assert box["x"] + box["w"] <= 24
        assert not covered & cells, panel["title"]
        cells |= covered
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
