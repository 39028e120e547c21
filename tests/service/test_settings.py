"""Settings: read from the environment with a sentence for what is wrong, and printed for the documentation."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import models
from service.settings import Settings, table

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"GAN_MAX_BATCH": "0"}, "GAN_MAX_BATCH"),
        ({"GAN_MAX_BATHC": "8"}, "GAN_MAX_BATHC"),
        ({"GAN_ALIASES": "a"}, "name=value"),
        ({"GAN_ALIASES": "a="}, "name=value"),
        ({"GAN_MODEL_REFERENCES": "=a"}, "name=value"),
        ({"GAN_ALIASES": "a=b, c=d, a=e"}, "'a' is there twice"),
        ({"GAN_TRANSLATE_ENGINE": "onnx"}, "GAN_TRANSLATE_ENGINE"),
        ({"GAN_TRANSLATE_ENGINE": "openvino", "GAN_DEVICE": "cuda"}, "GAN_TRANSLATE_ENGINE: .* on the CPU"),
        ({"GAN_PRECISION": "int8"}, "GAN_PRECISION: .* float32, bfloat16 or auto"),
        ({"GAN_C2PA_KEY": "key.pem"}, "GAN_C2PA_KEY: .* go together"),
        ({"GAN_C2PA_CERTIFICATE": "chain.pem"}, "GAN_C2PA_KEY: .* go together"),
        ({"GAN_C2PA_TIMESTAMPS": "file:///etc/passwd"}, "GAN_C2PA_TIMESTAMPS"),
        ({"GAN_PRECISION": "auto", "GAN_DEVICE": "tpu"}, "GAN_DEVICE: .*cuda"),
        ({"GAN_API_KEYS_FILE": "/dev/zero"}, "GAN_API_KEYS_FILE: .*/dev/zero is no regular file"),
        ({"GAN_C2PA_ANCHORS": "/dev/zero"}, "GAN_C2PA_ANCHORS: .* no regular file"),
        ({"GAN_INCEPTION_WEIGHTS": "/"}, "GAN_INCEPTION_WEIGHTS: .* no regular file"),
        ({"GAN_JOB_KEEP_H": "1e400"}, "GAN_JOB_KEEP_H: .*finite"),
    ],
)
def test_wrong_settings_are_named(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.from_environment(environment)


@pytest.mark.parametrize("text", ["1_0", "+10", "010", "0x10", "\u0661\u0660", "inf", "nan", " ", "4,2", "ten"])
def test_numbers_are_written_as_json_has_them(text: str) -> None:
    kinds = {name: json.dumps(kind) for name, kind in Settings.model_json_schema()["properties"].items()}
    numbers = [name for name, kind in kinds.items() if '"integer"' in kind or '"number"' in kind]
    assert {"max_batch", "threads", "deadline_s", "gate_fid_margin"} <= set(numbers)
    for name in numbers:
        with pytest.raises(ValueError, match=f"GAN_{name.upper()}: Write a number in digits"):
            Settings.from_environment({f"GAN_{name.upper()}": text})


def test_an_engine_that_is_not_installed_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ValueError, match=r"GAN_TRANSLATE_ENGINE: .* pip install openvino"):
        Settings.from_environment({"GAN_TRANSLATE_ENGINE": "openvino"})


def test_signing_without_its_package_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(ValueError, match=r"GAN_C2PA_KEY: .* pip install c2pa-python"):
        Settings.from_environment({"GAN_C2PA_CERTIFICATE": "chain.pem", "GAN_C2PA_KEY": "key.pem"})


@pytest.mark.parametrize(("faster", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_the_precision_that_the_device_is_faster_in(
    monkeypatch: pytest.MonkeyPatch, faster: bool, precision: str
) -> None:
    asked: list[torch.device] = []

    def measure(device: torch.device) -> bool:
        asked.append(device)
        return faster

    monkeypatch.setattr(models, "faster_in_bfloat16", measure)
    environment = {"GAN_PRECISION": "auto", "GAN_DEVICE": "cuda:1"}
    assert Settings.from_environment(environment).precision == precision
    assert asked == [torch.device("cuda:1")]
    assert Settings.from_environment({}).precision == "float32"
    assert len(asked) == 1  # what nobody asked for is not measured


def test_settings_from_the_environment() -> None:
    settings = Settings.from_environment({"GAN_MODELS": "/a:/b", "GAN_ALIASES": "x=y, z=w", "OTHER": "1"})
    assert settings.models == (Path("/a"), Path("/b"))
    assert settings.aliases == {"x": "y", "z": "w"}


def test_names_that_the_client_and_the_trainer_read_are_no_mistake() -> None:
    others = {"GAN_URL": "http://elsewhere:3000", "GAN_API_KEY": "secret", "GAN_BACKBONE_WEIGHTS": "/weights.whl"}
    assert Settings.from_environment(others) == Settings.from_environment({})


@pytest.mark.parametrize(("asked", "threads"), [("3", 3), ("4,2", 4), (" 2 ", 2), ("", os.cpu_count())])
def test_a_translator_has_the_threads_that_openmp_reads(
    monkeypatch: pytest.MonkeyPatch, asked: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert Settings.from_environment({}).translate_threads == threads


@pytest.mark.parametrize("asked", ["many", "0", "-1", "1e3", "99999", "\u0664"])
def test_threads_that_are_no_number_are_a_sentence(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    with pytest.raises(ValueError, match=r"^OMP_NUM_THREADS is .* whole number"):
        Settings.from_environment({})
    assert Settings.from_environment({"GAN_TRANSLATE_THREADS": "2"}).translate_threads == 2


def test_every_setting_is_explained() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_documentation_holds_the_printed_table() -> None:
    done = subprocess.run([sys.executable, "-m", "service.settings"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == table()
    rows = [line.split("|")[1].strip() for line in table().splitlines() if line.startswith("| `")]
    assert rows == [f"`GAN_{name.upper()}`" for name in Settings.model_fields]
    assert table() in (ROOT / "docs" / "api" / "operating.md").read_text()


@pytest.mark.parametrize(
    ("name", "default_and_bounds"),
    [
        ("TILE", "| 512 | from 256 in steps of 4 |"),
        ("THREADS", "| half the cores | from 1 to 1,024 |"),
        ("DEADLINE_S", "| 30 | above 0 to 300 |"),
        ("GATE_FID_MARGIN", "| | from 0 |"),
        ("LOG_JSON", "| `true` | |"),
        ("STORE", "| `data/store` | |"),
    ],
)
def test_the_table_tells_defaults_and_bounds(name: str, default_and_bounds: str) -> None:
    (row,) = [line for line in table().splitlines() if line.startswith(f"| `GAN_{name}` ")]
    assert row.endswith(f". {default_and_bounds}")


def test_every_setting_is_read_somewhere() -> None:
    code = "".join(path.read_text() for path in (ROOT / "service").rglob("*.py") if path.name != "settings.py")
    elsewhere = {"cache"}  # by metrics/, which finds the weights there
    unread = {name for name in Settings.model_fields if not re.search(rf"settings\.{name}\b", code)}
    assert unread == elsewhere
