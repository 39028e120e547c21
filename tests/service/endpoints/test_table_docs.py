"""The examples in docs/api, run as they stand against a service."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from service.settings import Settings
from service.telemetry import Telemetry
from tests.service.conftest import PATIENT, MeanColours, local_server

ROOT = Path(__file__).parents[3]
PAGES = (
    *("index", "sample", "interpolate", "encode", "directions", "translate", "score", "references", "jobs"),
    *("models", "inspect", "openai", "errors", "operating"),
)
HORSES = sorted((ROOT / "tests" / "fixtures" / "horse2zebra").rglob("*.jpg"))
KEPT = (".json", ".png", ".zip", ".npz", ".gif", ".webp", ".jpeg")  # what the examples write
EXAMPLES = [
    pytest.param(language, code, id=f"{page}-{language}-{number}")
    for page in PAGES
    for number, (language, code) in enumerate(
        re.findall(r"^```(sh|python)\n(.*?)^```", (ROOT / "docs" / "api" / f"{page}.md").read_text(), re.M | re.S)
    )
]


@pytest.fixture(scope="module")
def url(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service whose first generator has no classes, as the shipped one, and that scores by mean colours."""
    folder = tmp_path_factory.mktemp("documented")
    for name in ("tiny", "horse"):
        shutil.copy(checkpoints / f"{name}.safetensors", folder)
    settings = Settings(models=(folder,), store=folder / "store", **PATIENT)
    with local_server(settings, MeanColours()) as one:
        yield one.url


@pytest.mark.parametrize(("language", "code"), EXAMPLES)
def test_examples_work(url, tmp_path, language, code):
    if language == "sh" and shutil.which("curl") is None:
        pytest.skip("curl is not installed here")
    for name, photo in zip(("horse.jpg", "horse2.jpg"), HORSES, strict=False):
        (tmp_path / name).write_bytes(photo.read_bytes())
    with Image.open(HORSES[0]) as photo:
        Image.new("L", photo.size, 128).save(tmp_path / "mask.png")
        small = photo.resize((32, 24))
        small.save(tmp_path / "gallop.gif", save_all=True, append_images=[small.rotate(5)])
    for room in ("docs", "tests"):
        (tmp_path / room).symlink_to(ROOT / room)
    code = code.replace("http://localhost:3000", url)
    command = ["bash", "-euc", code] if language == "sh" else [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "client")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [done.stdout, *(path.read_text("latin-1") for path in tmp_path.iterdir() if path.suffix in KEPT)]
    assert any('"error"' in answer for answer in answers) == ('{"n": 1000}' in code)  # curl ends well all the same


def test_metrics_and_settings_are_written_as_they_are():
    text = (ROOT / "docs" / "api" / "operating.md").read_text()
    written = {re.sub(r"_total$", "", name) for name in re.findall(r"`(gan_\w+)`", text)}
    assert written == {one.name for one in Telemetry().registry.collect()} | {"gan_drift", "gan_drift_images"}
    for page in PAGES:
        for name in re.findall(r"`GAN_(\w+)", (ROOT / "docs" / "api" / f"{page}.md").read_text()):
            assert name.lower() in Settings.model_fields, (page, name)


def test_every_endpoint_has_its_page_and_every_page_is_linked():
    index = (ROOT / "docs" / "api" / "index.md").read_text()
    linked = set(re.findall(r"\]\((\w+\.md)\)", index))
    assert {f"{page}.md" for page in PAGES if page != "index"} <= linked
    for page in PAGES:
        text = (ROOT / "docs" / "api" / f"{page}.md").read_text()
        assert "```sh" in text or page == "index"
        assert "```python" in text
