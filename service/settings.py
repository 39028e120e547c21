"""Every knob of the service: one frozen object, read once from `GAN_*` environment variables.

`GAN_MAX_BATCH=8 bentoml serve service.app:GanService` sets `max_batch`. Lists are separated by commas (folders by
the system's path separator, `:`); an unknown `GAN_` name or a value out of bounds stops the start with a sentence.
"""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

import models
from models import Precision

_PREFIX = "GAN_"


def _split(separator: str) -> BeforeValidator:
    def split(value: object) -> object:
        return [part.strip() for part in value.split(separator) if part.strip()] if isinstance(value, str) else value

    return BeforeValidator(split)


def _pairs(value: object) -> object:
    """`a=x,b=y` -> {"a": "x", "b": "y"}"""
    if not isinstance(value, str):
        return value
    parts = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not separator for _, separator, _ in parts):
        raise ValueError("write it as name=value,name=value")
    return {name.strip(): target.strip() for name, _, target in parts}


def _measured(value: object, info: ValidationInfo) -> object:
    """`auto` -> what the device is faster in"""
    if value == "auto":
        device = torch.device(info.data.get("device", "cpu"))  # absent where it is wrong, which is said of it
        return "bfloat16" if models.faster_in_bfloat16(device) else "float32"
    if value not in get_args(Precision):
        raise ValueError(f"write {', '.join(get_args(Precision))} or auto")
    return value


Names = Annotated[tuple[str, ...], _split(",")]
Folders = Annotated[tuple[Path, ...], _split(os.pathsep)]


class Settings(BaseModel):
    """Defaults suit a small CPU machine. Sizes are in the unit that the name ends with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # Models
    models: Folders = (Path("models/pretrained"),)
    """Folders searched for `NAME.safetensors` and `NAME@VERSION.safetensors`."""
    bento_models: Names = ()
    """Tags in BentoML's model store, such as `dcgan:latest`, whose folder holds one .safetensors file."""
    aliases: Annotated[dict[str, str], BeforeValidator(_pairs)] = {}
    """`alias=model` pairs; an `aliases.json` in a model folder adds to them."""
    reload_s: float = Field(default=2.0, ge=0)
    """Seconds between looks at the model folders; 0 looks once, at the start."""
    gate_fid_margin: float | None = Field(default=None, ge=0)
    """With a value, a new version goes into service only if its FID is at most the old one's plus this: see gate.py."""
    gate_images: int = Field(default=1000, ge=16, le=50_000)
    """Images that the gate has each of the two versions draw."""
    model_references: Annotated[dict[str, str], BeforeValidator(_pairs)] = {}
    """What the gate and drift measure each model against: see model_references.py."""

    # Engine
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:[0-9]+)?)$")
    threads: int = Field(default=max(1, (os.cpu_count() or 2) // 2), ge=1, le=1024)
    """Threads inside a generator's forward pass. Half the cores, because HTTP and the encoders need some too."""
    translate_threads: int = Field(default=int(os.environ.get("OMP_NUM_THREADS", 0)) or os.cpu_count() or 1, ge=1)
    """The same for translators, whose forward passes are long enough to have all cores."""
    precision: Annotated[Precision, BeforeValidator(_measured)] = "float32"
    """`auto` becomes the one that is faster here. Processors that differ in it give pixels that differ by a level."""
    translate_engine: Literal["torch", "openvino"] = "torch"
    """What runs translators on a CPU. OpenVINO (`pip install openvino`) is the faster one in bfloat16."""
    max_batch: int = Field(default=16, ge=1, le=1024)
    """Images in one forward pass of a generator; translators count blocks of 64 x 64 pixels. On a CPU, larger batches
    gain no more, and let the device wait for the answers to all of one; a GPU wants 64 or more."""
    max_queue: int = Field(default=1024, ge=1)
    """Images (translators: blocks) that may wait for one model before a request; past it, it is turned away at once."""
    max_requests: int = Field(default=512, ge=1)
    """Requests inside at once, uploads included; past it they are turned away at once."""
    deadline_s: float = Field(default=30.0, gt=0, le=3600)
    """Seconds a request may take, before 504; what takes longer is a job."""

    # Limits
    body_mb: int = Field(default=96, ge=1)
    """A form with files: room for two uncompressed statistics of 34 MB each."""
    json_mb: int = Field(default=16, ge=1)
    """Any other body."""
    image_pixels: int = Field(default=50_000_000, ge=1)
    translate_pixels: int = Field(default=4_194_304, ge=1)
    """Pixels of one image to translate, about 2048 x 2048; above it, 413."""
    tile: int = Field(default=512, ge=256, multiple_of=4)
    """Side of a tile, in pixels."""
    tile_above_pixels: int = Field(default=1_048_576, ge=1)
    """Larger images are translated in overlapping tiles; up to it in one piece."""
    set_files: int = Field(default=10_000, ge=2)
    """Images in one set to score."""
    archive_mb: int = Field(default=512, ge=1)
    """An archive's size once unpacked."""
    score_queue: int = Field(default=2, ge=0)
    """Requests that may wait while another set is scored."""
    references: int = Field(default=50, ge=0)
    """Named references kept; each takes 34 MB, and 8 KB more for each image."""
    job_queue: int = Field(default=32, ge=1)
    """Jobs that may wait or run."""
    job_images: int = Field(default=50_000, ge=1)
    """Images that one job may draw."""
    job_keep_h: float = Field(default=24.0, gt=0)
    """Hours that a finished job and its result are kept."""

    # Access
    api_keys: Names = ()
    """SHA-256 of each accepted key, as hexadecimal digits (`NAME:HEX` names it in the logs). Empty: no keys asked."""
    api_keys_file: Path | None = None
    """A file with one such entry a line."""
    rate_per_minute: int = Field(default=0, ge=0)
    """Requests a minute for each key (each address where no keys are asked); 0 is no limit."""

    # Seen from outside
    log_json: bool = True
    store: Path = Path("data/store")
    """Folder for references and jobs."""
    inception_weights: Path | None = None
    """The FID weights, where they are not in the cache folder: see docs/metrics.md."""
    cache: Path | None = None
    """The cache folder, read by metrics/."""
    drift: Literal["off", "fid", "kid"] = "off"
    """Measure what is served against each model's reference: see drift.py."""
    drift_per_minute: float = Field(default=60.0, gt=0, le=6000)
    """Served images looked at; each takes about 0.1 s of one core."""
    drift_window: int = Field(default=1024, ge=16, le=50_000)
    """Images in one value."""

    @field_validator("translate_engine")
    @classmethod
    def _engine_is_there(cls, engine: str, info: ValidationInfo) -> str:
        if engine == "openvino" and importlib.util.find_spec("openvino") is None:
            raise ValueError("openvino is not installed: pip install openvino")
        if engine == "openvino" and info.data.get("device") != "cpu":
            raise ValueError("openvino runs on the CPU, and GAN_DEVICE is another")
        return engine

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raises ValueError, with a sentence for each wrong variable."""
        values = {
            name.removeprefix(_PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(_PREFIX) and value != ""
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [f"{_PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}." for e in error.errors()]
            raise ValueError("The settings in the environment are wrong. " + " ".join(lines)) from None
