"""A service with a certificate: whatever it makes is signed, and it verifies what it is shown."""

import base64
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import c2pa
import pytest
import requests

from benchmarks.certificates import certificate


@pytest.fixture
def signing(serve: Any, tmp_path: Path) -> Any:
    made = certificate(tmp_path)
    return serve(c2pa_certificate=made.chain, c2pa_key=made.key, c2pa_anchors=made.anchors)


def test_everything_that_is_made_is_signed(signing: Any, picture: Callable[..., bytes], wait_until: Any) -> None:
    def post(path: str, **arguments: Any) -> requests.Response:
        answer = requests.post(f"{signing.url}{path}", timeout=300, **arguments)
        assert answer.ok, answer.text
        return answer

    def sample(**body: Any) -> bytes:
        return post("/v1/sample", json={"model": "tiny", "seed": 7, **body}).content

    job = post("/v1/jobs/sample", json={"model": "tiny", "seed": 7, "format": "jpeg"}).json()["id"]
    wait_until(lambda: requests.get(f"{signing.url}/v1/jobs/{job}", timeout=9).json()["state"] == "done", "the job")
    archive = zipfile.ZipFile(io.BytesIO(sample(n=2, output="zip")))
    generations = post("/v1/images/generations", json={"prompt": "", "model": "tiny", "seed": 7}).json()
    photo = picture(20, 30, kind="JPEG")
    made = {
        "png": sample(),
        "jpeg": sample(format="jpeg"),
        "webp": sample(format="webp"),
        "grid": sample(n=2, output="grid"),
        "zip": archive.read(archive.namelist()[1]),
        "json": base64.b64decode(json.loads(sample(output="json"))["images"][0]["data"]),
        "openai": base64.b64decode(generations["data"][0]["b64_json"]),
        "gif": post("/v1/interpolate", json={"model": "tiny", "seeds": [1, 2], "output": "gif"}).content,
        "strip": post("/v1/interpolate", json={"model": "tiny", "seeds": [1, 2], "output": "strip"}).content,
        "translation": post("/v1/translate", files={"images": photo}).content,
        "job": requests.get(f"{signing.url}/v1/jobs/{job}/result", timeout=300).content,
    }
    for name, data in made.items():
        found = post("/v1/inspect", files={"image": data}).json()
        actions = ["c2pa.opened", "c2pa.edited"] if name == "translation" else ["c2pa.created"]
        assert (found["c2pa"]["state"], found["c2pa"]["actions"]) == ("trusted", actions), name
        assert found["served"], name
    with c2pa.Reader("image/png", io.BytesIO(made["translation"])) as reader:
        store = json.loads(reader.json())
    labelled = {one["label"]: one["data"] for one in store["manifests"][store["active_manifest"]]["assertions"]}
    assert labelled["gan-service.origin"]["photo"]["hash"] == hashlib.sha256(photo).hexdigest()


def test_a_changed_picture_is_found_out(signing: Any) -> None:
    """Its text says another seed, and the chunk's checksum is right: only the signature tells."""
    body = {"model": "tiny", "seed": 7}
    data = requests.post(f"{signing.url}/v1/sample", json=body, timeout=300).content
    said, forged = b"tEXtgan.seed\x007", b"tEXtgan.seed\x008"
    whole = said + zlib.crc32(said).to_bytes(4, "big")
    assert whole in data
    changed = data.replace(whole, forged + zlib.crc32(forged).to_bytes(4, "big"))
    found = requests.post(f"{signing.url}/v1/inspect", files={"image": changed}, timeout=300).json()
    assert (found["seed"], found["c2pa"]["state"]) == (8, "invalid")
    assert "assertion.dataHash.mismatch" in found["c2pa"]["problems"]


def test_a_service_without_a_certificate_signs_nothing(local: Any) -> None:
    data = requests.post(f"{local.url}/v1/sample", json={"model": "tiny", "seed": 7}, timeout=300).content
    assert b"c2pa" not in data
    found = requests.post(f"{local.url}/v1/inspect", files={"image": data}, timeout=300).json()
    assert found["c2pa"] is None
