"""Jobs over HTTP: the same answers as requests give, later; and still there after the service was killed."""

import contextlib
import io
import os
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

CIFAR = Path(__file__).parents[2] / "fixtures" / "cifar10"
IMAGES = sorted(CIFAR.glob("train/*/*.png"))[:12]
SCORE = {"a_n": 8, "a_model": "tiny", "b_n": 8, "b_model": "tiny", "b_seed": 50}
Serve = Callable[..., Any]


def submit(url: str, kind: str, json: object = None, **options: Any) -> requests.Response:
    return requests.post(f"{url}/v1/jobs/{kind}", json=json, timeout=300, **options)


def look(url: str, job: str) -> dict[str, Any]:
    view: dict[str, Any] = requests.get(f"{url}/v1/jobs/{job}", timeout=300).json()
    return view


def wait(url: str, job: str, *states: str) -> dict[str, Any]:
    end = time.monotonic() + 300
    while (view := look(url, job)).get("state") not in (states or ("done", "failed", "cancelled", "interrupted")):
        assert time.monotonic() < end, view
        time.sleep(0.02)
    return view


def result(url: str, job: str) -> requests.Response:
    return requests.get(f"{url}/v1/jobs/{job}/result", timeout=300)


def test_a_job_answers_what_its_request_does(scoring: Any) -> None:
    submitted = submit(scoring.url, "score", SCORE)
    assert submitted.status_code == 202
    job = submitted.json()["id"]
    assert submitted.headers["Location"] == f"/v1/jobs/{job}"
    assert submitted.json()["state"] == "queued"
    view = wait(scoring.url, job)
    assert (view["state"], view["result"]) == ("done", f"/v1/jobs/{job}/result")
    assert view["progress"] == {"done": 16, "total": 16, "seconds_left": None}
    assert view["created_at"] <= view["started_at"] <= view["finished_at"]
    direct = requests.post(f"{scoring.url}/v1/score", json=SCORE, timeout=300)
    assert result(scoring.url, job).json() == direct.json()


def test_files_go_into_jobs_too(scoring: Any) -> None:
    files = [("images", (path.name, path.read_bytes())) for path in IMAGES]
    answer = requests.post(f"{scoring.url}/v1/jobs/reference", data={"name": "by-job"}, files=files, timeout=300)
    job = answer.json()["id"]
    assert wait(scoring.url, job)["state"] == "done"
    kept = result(scoring.url, job)
    assert (kept.status_code, kept.headers["Location"]) == (201, "/v1/references/by-job")
    assert kept.json()["n"] == 12


def test_a_job_may_draw_more_than_a_request(scoring: Any) -> None:
    body = {"model": "tiny", "n": 300, "seed": 7}
    assert requests.post(f"{scoring.url}/v1/sample", json=body, timeout=300).status_code == 400
    job = submit(scoring.url, "sample", body, headers={"Accept": "application/zip"}).json()["id"]
    assert wait(scoring.url, job)["progress"]["total"] == 300
    answer = result(scoring.url, job)
    assert answer.headers["X-Seeds"] == "7..306"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        assert (len(names), names[-1]) == (300, "299_seed306.png")
        last = archive.read(names[-1])
    alone = requests.post(f"{scoring.url}/v1/sample", json={"model": "tiny", "seed": 306}, timeout=300)
    assert last == alone.content


@pytest.fixture(scope="module")
def failed(scoring: Any) -> str:
    """A job that failed for what only decoding shows: an image that ends in its middle."""
    whole = IMAGES[0].read_bytes()
    files = [("a", ("whole.png", whole)), ("a", ("half.png", whole[: len(whole) // 2]))]
    job: str = submit(scoring.url, "score", data={"b_model": "tiny", "b_n": "8"}, files=files).json()["id"]
    return job


def test_a_failed_job_gives_the_request_s_error(scoring: Any, failed: str) -> None:
    view = wait(scoring.url, failed)
    assert view["state"] == "failed"
    assert "422" in view["note"]
    answer = result(scoring.url, failed)
    assert answer.status_code == 422
    assert "half.png" in answer.json()["error"]["message"]


def test_a_job_has_a_bound_of_its_own(scoring: Any) -> None:
    body = {"model": "tiny", "seeds": [1, 2, 3, 4], "shape": "map", "steps": 10_000}
    answer = submit(scoring.url, "interpolate", body)
    assert answer.status_code == 413
    assert "100,000,000 frames" in answer.json()["error"]["message"]


def test_the_form_of_a_result_is_the_body_s_and_not_the_submission_s(scoring: Any) -> None:
    """What a client accepts when it submits is about the 202: axios and others always ask for JSON first."""
    body = {"model": "tiny", "n": 2, "seed": 5}
    for accept in ("application/json, text/plain, */*", "text/html"):
        job = submit(scoring.url, "sample", body, headers={"Accept": accept}).json()["id"]
        assert wait(scoring.url, job)["state"] == "done"
        assert result(scoring.url, job).headers["Content-Type"] == "application/zip"
    job = submit(scoring.url, "sample", {**body, "output": "json", "format": "webp"}).json()["id"]
    wait(scoring.url, job)
    assert result(scoring.url, job).json()["images"][0]["format"] == "webp"


def test_a_result_has_one_form_whatever_the_download_accepts(scoring: Any, failed: str) -> None:
    job = submit(scoring.url, "sample", {"model": "tiny", "n": 2}).json()["id"]
    wait(scoring.url, job)
    answer = requests.get(f"{scoring.url}/v1/jobs/{job}/result", headers={"Accept": "application/json"}, timeout=300)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/zip")
    wait(scoring.url, failed)
    url = f"{scoring.url}/v1/jobs/{failed}/result"
    assert requests.get(url, headers={"Accept": "image/png"}, timeout=300).status_code == 422  # errors are JSON


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("score", {"a_n": 0}, 400),
        ("score", {"stray": 1}, 400),
        ("sample", {"n": 10_001}, 400),
        ("bake", {}, 405),  # GET /v1/jobs/{id} is there, POST is not
    ],
)
def test_what_is_no_request_is_no_job(scoring: Any, kind: str, body: dict[str, Any], status: int) -> None:
    answer = submit(scoring.url, kind, body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("job", ["0" * 32, "x", "..%2f..%2fetc%2fpasswd", "%00", "a" * 5000])
def test_jobs_that_are_not_there(scoring: Any, job: str) -> None:
    for method, path in (("GET", ""), ("GET", "/result"), ("DELETE", "")):
        answer = requests.request(method, f"{scoring.url}/v1/jobs/{job}{path}", timeout=300)
        assert answer.status_code == 404
        assert answer.json()["error"]["message"].startswith("There is no")


def test_progress_is_real_and_a_running_job_has_no_result(serve: Serve, turnstile: Any) -> None:
    url = serve(turnstile).url
    job = submit(url, "score", SCORE).json()["id"]
    for done in (4, 8):
        turnstile.let_one()
        end = time.monotonic() + 300
        while (view := look(url, job))["progress"]["done"] < done:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert view["state"] == "running"
        assert view["progress"]["done"] == done
        assert view["progress"]["total"] == 16
    assert view["progress"]["seconds_left"] > 0
    early = result(url, job)
    assert early.status_code == 409
    assert "running" in early.json()["error"]["message"]
    turnstile.let_all()
    assert wait(url, job)["state"] == "done"


def test_cancel_frees_the_thread(serve: Serve, turnstile: Any) -> None:
    url = serve(turnstile, score_queue=0).url
    running = submit(url, "score", SCORE).json()["id"]
    waiting = submit(url, "score", {**SCORE, "a_seed": 1}).json()["id"]
    turnstile.let_one()
    wait(url, running, "running")
    for job in (waiting, running):
        answer = requests.delete(f"{url}/v1/jobs/{job}", timeout=300)
        assert answer.json()["state"] == "cancelled"
        assert look(url, job)["state"] == "cancelled"
        assert result(url, job).status_code == 409
    turnstile.let_all()
    assert wait(url, submit(url, "score", {**SCORE, "a_seed": 2}).json()["id"])["state"] == "done"
    assert requests.delete(f"{url}/v1/jobs/{running}", timeout=300).status_code == 200
    assert requests.get(f"{url}/v1/jobs/{running}", timeout=300).status_code == 404


def test_the_same_key_is_the_same_job(scoring: Any) -> None:
    headers = {"Idempotency-Key": "4f9c-one"}
    first = submit(scoring.url, "score", SCORE, headers=headers)
    again = submit(scoring.url, "score", SCORE, headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert again.status_code == 202
    other = submit(scoring.url, "score", {**SCORE, "a_seed": 3}, headers=headers)
    assert other.status_code == 409
    bad = submit(scoring.url, "score", SCORE, headers={"Idempotency-Key": "x" * 256})
    assert (bad.status_code, bad.json()["error"]["where"]) == (400, "Idempotency-Key")


def test_too_many_jobs_are_turned_away(serve: Serve, turnstile: Any) -> None:
    url = serve(turnstile, job_queue=1).url
    assert submit(url, "score", SCORE).status_code == 202
    full = submit(url, "score", SCORE)
    assert full.status_code == 503
    assert int(full.headers["Retry-After"]) >= 1


def test_a_callback_is_taken_where_the_operator_allows_it(serve: Serve) -> None:
    hosts = ("hooks.example.com",)
    url = serve(webhook_hosts=hosts, webhook_secrets=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",)).url
    body = {"model": "tiny", "n": 2}
    refused = submit(url, "sample", {**body, "callback": "https://evil.example.com/"})
    assert (refused.status_code, refused.json()["error"]["where"]) == (400, "callback")
    taken = submit(url, "sample", {**body, "callback": "https://hooks.example.com/gan"})
    told = {"state": "pending", "attempts": 0, "last_at": None, "last_status": None, "last_error": None}
    assert taken.json()["webhook"] == told
    assert submit(url, "sample", body).json()["webhook"] is None
    form = [("images", (IMAGES[0].name, IMAGES[0].read_bytes())), ("callback", (None, "https://hooks.example.com/"))]
    sent = requests.post(f"{url}/v1/jobs/translate", files=form, timeout=300)
    assert sent.json()["webhook"]["state"] == "pending"
    direct = requests.post(f"{url}/v1/sample", json={"callback": "https://hooks.example.com/"}, timeout=300)
    assert direct.status_code == 400


PROGRAM = """
import sys, threading
from dataclasses import dataclass
from pathlib import Path
import torch, uvicorn
from service.runtime import Runtime
from service.routes import standalone
from service.settings import Settings

@dataclass(frozen=True)
class Extractor:
    name = "corner"; side = 299; dimensions = 2; precision = "float32"; batch_size = 4
    def features(self, images):
        if stuck:
            threading.Event().wait()
        return images[:, :2, 0, 0].numpy()
    def logits(self, features):
        raise NotImplementedError

models, store, port, stuck = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "stuck"
runtime = Runtime(Settings(models=(models,), store=store, reload_s=0), Extractor())
uvicorn.run(standalone(runtime), port=port, log_level="warning")
"""


@contextlib.contextmanager
def process(checkpoints: Path, store: Path, how: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    arguments = [sys.executable, "-c", PROGRAM, str(checkpoints), str(store), str(port), how]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GAN_")}
    root = Path(__file__).parents[3]
    with subprocess.Popen(arguments, cwd=root, env={**environment, "PYTHONPATH": str(root)}) as running:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 400
        try:
            while True:
                assert time.monotonic() < end
                with contextlib.suppress(requests.ConnectionError):
                    if requests.get(f"{url}/v1/models", timeout=300).json()["ready"]:
                        break
                time.sleep(0.05)
            yield url, running
        finally:
            running.kill()


def test_jobs_outlive_a_killed_service(checkpoints: Path, tmp_path: Path) -> None:
    with process(checkpoints, tmp_path, "stuck") as (url, running):
        sample = submit(url, "sample", {"model": "tiny", "n": 20, "seed": 1}).json()["id"]
        assert wait(url, sample)["state"] == "done"
        score = submit(url, "score", SCORE).json()["id"]
        wait(url, score, "running")
        running.kill()
        running.wait()
    with process(checkpoints, tmp_path, "free") as (url, _):
        view = wait(url, score)
        assert (view["state"], view["attempts"]) == ("done", 2)
        assert "Begun again" in view["note"]
        assert result(url, score).json()["a"]["n"] == 8
        assert result(url, sample).headers["X-Seeds"].startswith("1,2,3")


def test_the_real_service_runs_jobs(server: str) -> None:
    submitted = submit(server, "sample", {"model": "tiny", "n": 300, "seed": 7})
    assert submitted.status_code == 202
    job = submitted.json()["id"]
    assert wait(server, job)["progress"]["done"] == 300
    answer = result(server, job)
    assert (answer.headers["Content-Type"], answer.headers["X-Seeds"]) == ("application/zip", "7..306")
    assert requests.delete(f"{server}/v1/jobs/{job}", timeout=300).status_code == 200
    assert requests.get(f"{server}/v1/jobs/{job}", timeout=300).status_code == 404
