"""The files in deploy/: valid, and agreeing with the service and with each other."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from bulk.command import _parser
from service import __version__
from service.endpoints.table import JOBS
from service.settings import Settings
from service.telemetry import Telemetry

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
KUBERNETES = "1.31.0"  # the oldest version that these manifests are checked against


def strict(**properties: Any) -> dict[str, Any]:
    """A schema of an object that has these properties, and no other."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


TEXT, NUMBER = {"type": "string"}, {"type": "integer", "minimum": 1}
# What the documentation of KEDA 2 and KubeRay 1 says of the fields that are used here.
TRIGGER = strict(
    type={"const": "redis"}, name=TEXT,
    metadata=strict(addressFromEnv=TEXT, passwordFromEnv=TEXT, databaseIndex=TEXT, listName=TEXT, listLength=TEXT),
)  # fmt: skip
SCALED_OBJECT = strict(
    scaleTargetRef=strict(name=TEXT), minReplicaCount=NUMBER, maxReplicaCount=NUMBER, pollingInterval=NUMBER,
    cooldownPeriod=NUMBER, triggers={"type": "array", "minItems": 1, "items": TRIGGER},
)  # fmt: skip
GROUP = {"rayStartParams": {"type": "object", "additionalProperties": TEXT}, "template": {"type": "object"}}
WORKERS = strict(groupName=TEXT, replicas=NUMBER, minReplicas=NUMBER, maxReplicas=NUMBER, **GROUP)
RAY_JOB = strict(
    entrypoint=TEXT, backoffLimit=NUMBER, shutdownAfterJobFinishes={"const": True}, ttlSecondsAfterFinished=NUMBER,
    rayClusterSpec=strict(
        rayVersion=TEXT, headGroupSpec=strict(**GROUP), workerGroupSpecs={"type": "array", "items": WORKERS}
    ),
)  # fmt: skip
CUSTOM = {"ScaledObject": SCALED_OBJECT, "RayJob": RAY_JOB}


def rendered(folder: Path) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed here")
    command = ["kubectl", "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, timeout=300, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def by_name(objects: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    named = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    assert len(named) == len(objects)
    return named


@pytest.fixture(scope="module")
def base() -> dict[tuple[str, str], dict[str, Any]]:
    return by_name(rendered(FOLDER / "base"))


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """With the component that scales workers by the queue, as its own text says to use it."""
    folder = tmp_path_factory.mktemp("mine")
    parts = {"resources": "scaled", "components": "keda"}
    mine = {field: [os.path.relpath(FOLDER / name, folder)] for field, name in parts.items()}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(mine))
    return by_name(rendered(folder))


def validate(definition: dict[str, Any]) -> None:
    """Against the schema of its kind; unknown fields are errors. Raises ValidationError, of either library."""
    if definition["kind"] in CUSTOM:
        jsonschema.validate(definition["spec"], CUSTOM[definition["kind"]])
    else:
        kubernetes_validate.validate(definition, KUBERNETES, strict=True)


def container_of(deployment: dict[str, Any]) -> dict[str, Any]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def deployments(objects: dict[tuple[str, str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: one for (kind, name), one in objects.items() if kind == "Deployment"}


def test_manifests_are_valid(base, scaled):
    for definition in [*base.values(), *scaled.values(), *rendered(FOLDER / "bulk")]:
        validate(definition)


def test_the_check_finds_a_misspelt_field(base, scaled):
    service = base["Service", "gan-service"]
    with pytest.raises(kubernetes_validate.ValidationError):
        validate({**service, "spec": {**service["spec"], "sessionAfinity": "None"}})
    scaler = scaled["ScaledObject", "gan-service-worker"]
    with pytest.raises(jsonschema.ValidationError):
        validate({**scaler, "spec": {**scaler["spec"], "maxReplicas": 3}})


def test_every_manifest_is_in_a_kustomization():
    for path in FOLDER.rglob("kustomization.yaml"):
        kustomization = yaml.safe_load(path.read_text())
        named = [*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", []))]
        files = {one.name for one in path.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert {name for name in named if name.endswith(".yaml")} == files, path


def test_what_was_not_tried_is_said_first():
    for path in ("kubernetes/base/kustomization.yaml", "kubernetes/scaled/kustomization.yaml",
                 "kubernetes/keda/kustomization.yaml", "kubernetes/bulk/kustomization.yaml"):  # fmt: skip
        assert "not tried on a real cluster" in (ROOT / "deploy" / path).read_text().split("apiVersion")[0], path


def test_base_is_one_replica_with_a_volume_of_its_own(base):
    deployment = base["Deployment", "gan-service"]
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["type"]) == (1, "Recreate")
    mounts = {mount["mountPath"]: mount["name"] for mount in container_of(deployment)["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    claim = base["PersistentVolumeClaim", volumes[mounts["/data"]]["persistentVolumeClaim"]["claimName"]]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert base["ConfigMap", "gan-service"]["data"]["GAN_STORE"] == "/data"
    assert base["NetworkPolicy", "gan-service"]["spec"]["egress"] == []


def test_scaled_shares_a_bucket_and_a_queue_and_no_volume(scaled):
    assert sorted(deployments(scaled)) == ["gan-service-web", "gan-service-worker"]
    assert not [name for kind, name in scaled if kind == "PersistentVolumeClaim"]
    for deployment in deployments(scaled).values():
        volumes = deployment["spec"]["template"]["spec"]["volumes"]
        assert [(volume["name"], "emptyDir" in volume) for volume in volumes] == [("scratch", True)]
        sources = [one.get("secretRef", one.get("configMapRef"))["name"] for one in container_of(deployment)["envFrom"]]
        assert sources == ["gan-service", "gan-service-shared"]
    assert "GAN_STORE" not in scaled["ConfigMap", "gan-service"]["data"]
    assert "sessionAffinity" not in scaled["Service", "gan-service"]["spec"]


def test_web_answers_and_workers_work(scaled):
    web, worker = (scaled["Deployment", f"gan-service-{name}"] for name in ("web", "worker"))
    assert {"name": "GAN_JOB_WORKER", "value": "false"} in container_of(web)["env"]
    assert "command" not in container_of(web)
    (port,) = container_of(worker)["ports"]  # which its probes name
    asked = ["--host", "0.0.0.0", "--port", str(port["containerPort"])]
    assert container_of(worker)["command"] == ["python", "-m", "service.worker", *asked]
    assert worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 30
    selector = scaled["Service", "gan-service"]["spec"]["selector"].items()
    assert selector <= web["spec"]["template"]["metadata"]["labels"].items()
    assert not selector <= worker["spec"]["template"]["metadata"]["labels"].items()


def test_scaled_reaches_what_it_uses(scaled):
    rules = scaled["NetworkPolicy", "gan-service"]["spec"]["egress"]
    ports = {(port["port"], port["protocol"]) for rule in rules for port in rule["ports"]}
    assert ports == {(53, "UDP"), (53, "TCP"), (6379, "TCP"), (5432, "TCP"), (443, "TCP")}


def test_workers_are_scaled_by_the_queue_of_every_kind(scaled):
    spec = scaled["ScaledObject", "gan-service-worker"]["spec"]
    assert spec["scaleTargetRef"]["name"] in deployments(scaled)
    kinds = {operation.name for operation, _ in JOBS}
    assert {one["metadata"]["listName"] for one in spec["triggers"]} == {f"saq:gan-{kind}:queued" for kind in kinds}


def test_the_pods_of_the_bulk_job_are_pods():
    (job,) = rendered(FOLDER / "bulk")
    cluster = job["spec"]["rayClusterSpec"]
    pins = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "requirements-bulk.txt").read_text(), re.MULTILINE))
    assert cluster["rayVersion"] == pins["ray"]
    assert f"rayproject/ray:{pins['ray']}-" in (ROOT / "deploy" / "bulk.Dockerfile").read_text()
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": group["template"]["spec"]}
        validate(pod)
        (container,) = pod["spec"]["containers"]
        assert container["image"] == f"gan-bulk:{__version__}"
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"]


def test_the_bulk_job_is_a_command_that_there_is():
    (job,) = rendered(FOLDER / "bulk")
    words = job["spec"]["entrypoint"].split()
    assert words[:3] == ["python", "-m", "bulk"]
    options = _parser().parse_args(words[3:])
    assert (options.address, options.model, options.direction) == ("auto", "horse2zebra", "zebra")


def test_the_settings_are_settings(base, scaled):
    for objects in (base, scaled):
        values = objects["ConfigMap", "gan-service"]["data"]
        assert all(isinstance(value, str) for value in values.values())
        settings = Settings.from_environment(values)
        for deployment in deployments(objects).values():
            container = container_of(deployment)
            assert settings.threads <= int(container["resources"]["limits"]["cpu"])
            named = {entry["name"].removeprefix("GAN_").lower() for entry in container["env"]}
            assert named <= Settings.model_fields.keys()


def test_what_is_written_has_a_volume_and_the_rest_is_read_only(base, scaled):
    for objects in (base, scaled):
        assert Path(objects["ConfigMap", "gan-service"]["data"]["BENTOML_HOME"]).is_relative_to("/tmp")
        for deployment in deployments(objects).values():
            container = container_of(deployment)
            mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
            volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert "emptyDir" in volumes[mounts["/tmp"]]


def test_the_pod_matches_the_image(base):
    pod = base["Deployment", "gan-service"]["spec"]["template"]["spec"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    user = int(re.search(r"--uid (\d+)", dockerfile).group(1))  # type: ignore[union-attr]
    port = int(re.search(r"EXPOSE (\d+)", dockerfile).group(1))  # type: ignore[union-attr]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == user
    assert [one["containerPort"] for one in pod["containers"][0]["ports"]] == [port]
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_what_was_accepted_is_finished_before_the_pod_goes(base, scaled):
    for objects, name in ((base, "gan-service"), (scaled, "gan-service-web")):
        pod = objects["Deployment", name]["spec"]["template"]["spec"]
        wait_s = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
        deadline_s = float(objects["ConfigMap", "gan-service"]["data"]["GAN_DEADLINE_S"])
        assert pod["terminationGracePeriodSeconds"] > wait_s + deadline_s


def test_probes_ask_the_service_with_a_timeout(base):
    container = container_of(base["Deployment", "gan-service"])
    asked = {kind: container[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert asked == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
    assert all(container[kind]["timeoutSeconds"] > 1 for kind in asked)


def test_the_autoscaler_and_the_budget_leave_a_replica(scaled):
    scaler = scaled["HorizontalPodAutoscaler", "gan-service"]["spec"]
    budget = scaled["PodDisruptionBudget", "gan-service"]["spec"]
    web = scaled["Deployment", scaler["scaleTargetRef"]["name"]]
    assert "replicas" not in web["spec"]
    assert budget["minAvailable"] < scaler["minReplicas"] <= scaler["maxReplicas"]
    assert budget["selector"]["matchLabels"].items() <= web["spec"]["template"]["metadata"]["labels"].items()


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
