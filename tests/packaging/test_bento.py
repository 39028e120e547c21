"""`bentoml build`, without any network, makes a bento that serves and answers from an empty folder."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests.packaging.conftest import Serve

ROOT = Path(__file__).resolve().parents[2]
HORSE = ROOT / "tests" / "fixtures" / "horse2zebra" / "testA" / "n02381460_1000.jpg"
# Registries are out of reach: the installers refuse to ask, and the proxy is a port where nothing listens.
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "UV_OFFLINE": "1",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
    "BENTOML_DO_NOT_TRACK": "True",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BentoML store of its own, with our bento in it."""
    store = tmp_path_factory.mktemp("bentoml-home")
    environment = {**os.environ, **OFFLINE, "BENTOML_HOME": str(store)}
    built = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--output", "tag"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return store


@pytest.fixture(scope="module")
def url(home: Path, serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bento served from an empty folder: nothing of the working tree is at hand."""
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "gan-service:latest",
        "--host",
        "127.0.0.1",
        "--port",
        "{port}",
    ]
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = {**OFFLINE, "BENTOML_HOME": str(home), "PYTHONPATH": "", "GAN_STORE": str(folder / "store")}
    with serve(command, folder, environment) as address:
        yield address


def test_the_bento_holds_the_service_alone(home: Path) -> None:
    (source,) = home.glob("bentos/gan-service/*/src")
    assert sorted(path.name for path in source.iterdir() if path.is_dir()) == ["metrics", "models", "service"]
    shipped = {path.name for path in (ROOT / "models" / "pretrained").glob("*.safetensors")}
    assert {path.name for path in (source / "models" / "pretrained").glob("*.safetensors")} == shipped


def test_the_bento_samples(url: str) -> None:
    answer = requests.post(f"{url}/v1/sample", json={"n": 1, "seed": 7}, headers={"Accept": "image/png"}, timeout=60)
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == "PNG"


def test_the_bento_translates(url: str) -> None:
    with HORSE.open("rb") as photo:
        answer = requests.post(
            f"{url}/v1/translate", files={"images": photo}, headers={"Accept": "image/png"}, timeout=120
        )
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as image, Image.open(HORSE) as horse:
        assert image.size == horse.size
        assert image.tobytes() != horse.tobytes()
