"""Results that are too large for memory: in ranges from a folder, from the bucket itself, or through the service."""

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

import models
from gan_client import Client
from service.jobs import kept
from tests.service.sse import follow

ROOT = Path(__file__).parents[3]
SERVER = """
import sys
import numpy as np
import uvicorn
from service.engine.sampler import SamplerRun
from service.routes import standalone
from service.runtime import Runtime
from service.settings import Settings

noise = np.random.default_rng(0).integers(0, 256, (64, 128, 128, 3), dtype=np.uint8)  # which no PNG makes smaller
SamplerRun.__call__ = lambda self, key, items: [noise[: len(item.latents)] for item in items]
uvicorn.run(standalone(Runtime(Settings.from_environment())), port=int(sys.argv[1]), log_level="warning")
"""
Serve = Callable[..., Any]
BODY = {"model": "tiny", "n": 40, "seed": 7, "output": "zip"}


@pytest.fixture(autouse=True)
def _small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_SMALL", 1000)


def finished(url: str, body: dict[str, Any] = BODY, kind: str = "sample", **options: Any) -> str:
    """The address of the result of a job."""
    job = requests.post(f"{url}/v1/jobs/{kind}", json=body, timeout=300, **options).json()["id"]
    with follow(url, job, **options.get("headers", {})) as events:
        assert [event.data["state"] for event in events if event.name == "end"] == ["done"]
    return f"{url}/v1/jobs/{job}/result"


def is_whole(data: bytes, count: int = 40) -> bool:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.testzip() is None and len(archive.namelist()) == count


def test_from_a_folder_a_broken_download_goes_on_where_it_stopped(serve: Serve) -> None:
    url = finished(serve().url)
    whole = requests.get(url, timeout=300)
    assert is_whole(whole.content)
    assert (whole.headers["X-Seeds"][:4], whole.headers["Content-Type"]) == ("7,8,", "application/zip")
    assert whole.headers["Accept-Ranges"] == "bytes"
    rest = {"Range": "bytes=1000-", "If-Range": whole.headers["ETag"]}
    later = requests.get(url, headers=rest, timeout=300)
    assert (later.status_code, later.content) == (206, whole.content[1000:])
    assert later.headers["Content-Range"] == f"bytes 1000-{len(whole.content) - 1}/{len(whole.content)}"
    changed = requests.get(url, headers={**rest, "If-Range": '"another"'}, timeout=300)
    assert (changed.status_code, changed.content) == (200, whole.content)
    past = requests.get(url, headers={"Range": f"bytes={len(whole.content)}-"}, timeout=300)
    assert past.status_code == 416
    assert past.headers["Content-Range"] == f"bytes */{len(whole.content)}"
    assert past.json()["error"]["code"] == "range_not_satisfiable"
    broken = requests.get(url, headers={"Range": "bytes=x"}, timeout=300)
    assert (broken.status_code, broken.json()["error"]["where"]) == (416, "range")
    head = requests.head(url, timeout=300)
    assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(len(whole.content)), b"")


def test_a_bucket_gives_it_itself_and_never_sees_the_key(serve: Serve, bucket: str, tmp_path: Path) -> None:
    server = serve(store=f"{bucket}/{tmp_path.name}", api_keys=(hashlib.sha256(b"secret").hexdigest(),))
    key = {"Authorization": "Bearer secret"}
    url = finished(server.url, headers=key)
    sent = requests.get(url, headers=key, timeout=300, allow_redirects=False)
    assert (sent.status_code, sent.content, sent.headers["Cache-Control"]) == (307, b"", "no-store")
    assert sent.headers["X-Seeds"].startswith("7,8,")
    assert not sent.headers["Location"].startswith(server.url)
    whole = requests.get(url, headers=key, timeout=300)
    assert is_whole(whole.content)
    assert whole.headers["Content-Type"] == "application/zip"
    assert "Authorization" not in whole.request.headers
    part = requests.get(url, headers={**key, "Range": "bytes=10-19"}, timeout=300)
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    with Client(server.url, api_key="secret") as client:
        picture = client.job(url.split("/")[-2]).wait()
    assert (picture.data, picture.media_type) == (whole.content, "application/zip")
    assert picture.model == sent.headers["X-Model"]


def test_where_clients_cannot_reach_the_bucket_it_passes_through(serve: Serve, bucket: str, tmp_path: Path) -> None:
    url = finished(serve(store=f"{bucket}/{tmp_path.name}", store_links=False).url)
    whole = requests.get(url, timeout=300, allow_redirects=False)
    assert (whole.status_code, whole.headers["Content-Length"]) == (200, str(len(whole.content)))
    assert is_whole(whole.content)
    assert (whole.headers["X-Seeds"][:4], whole.headers["Content-Type"]) == ("7,8,", "application/zip")


@pytest.mark.parametrize(
    ("kind", "output"),
    [("sample", "zip"), ("sample", "npz"), ("sample", "json"), ("interpolate", "zip"), ("interpolate", "json")],
)
def test_a_job_s_result_is_the_request_s_whatever_the_form(serve: Serve, kind: str, output: str) -> None:
    body = {**BODY, "output": output} if kind == "sample" else {"seeds": [1, 2], "steps": 40, "output": output}
    url = serve().url
    direct = requests.post(f"{url}/v1/{kind}", json=body, timeout=300)
    kept_one = requests.get(finished(url, body, kind), timeout=300)
    assert kept_one.content == direct.content
    assert kept_one.headers["Content-Type"] == direct.headers["Content-Type"]


def high_water(process: int) -> int:
    """MiB of memory that a process had at most since `forget_high_water`."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def forget_high_water(process: int) -> None:
    Path(f"/proc/{process}/clear_refs").write_text("5")


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_large_result_is_never_whole_in_memory(
    tmp_path: Path, free_port: int, wait_until: Callable[..., None]
) -> None:
    """115 MB and more of it may take 150 MiB above idle, made, kept and fetched four times at once."""
    config = models.DCGANConfig(image_size=128, latent_size=8, width=2)
    (tmp_path / "models").mkdir()
    models.save(tmp_path / "models" / "large.safetensors", config.parts(), models.metadata_of(config))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GAN_")} | {
        "OMP_NUM_THREADS": "1",
        "GAN_MODELS": str(tmp_path / "models"),
        "GAN_STORE": str(tmp_path / "store"),
        "GAN_RELOAD_S": "0",
    }
    url = f"http://127.0.0.1:{free_port}"
    with subprocess.Popen([sys.executable, "-c", SERVER, str(free_port)], cwd=ROOT, env=environment) as process:
        try:
            wait_until(lambda: requests.get(f"{url}/v1/models", timeout=2).json()["ready"], "readiness")
            requests.post(f"{url}/v1/sample", json={"n": 64, "output": "npz"}, timeout=300).raise_for_status()
            forget_high_water(process.pid)
            idle = high_water(process.pid)
            result = finished(url, {"n": 2400, "seed": 1, "output": "zip"})
            with ThreadPoolExecutor(4) as pool:
                sizes = list(pool.map(lambda _: len(requests.get(result, timeout=300).content), range(4)))
            assert min(sizes) == max(sizes) > 115e6
            assert high_water(process.pid) - idle < 150
        finally:
            process.kill()


def test_an_animation_of_more_than_fits_in_memory_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "MAX_PIXELS", 41 * 16 * 16 - 1)
    url = serve().url
    body = {"seeds": [1, 2], "steps": 40, "output": "webp"}
    refused = requests.post(f"{url}/v1/interpolate", json=body, timeout=300)
    assert (refused.status_code, refused.json()["error"]["where"]) == (413, "output")
    assert requests.post(f"{url}/v1/interpolate", json={**body, "steps": 39}, timeout=300).status_code == 200
