"""Every knob of the service: one frozen object, read once from `GAN_*` environment variables.

`GAN_MAX_BATCH=8 bentoml serve service.app:GanService` sets `max_batch`. Lists are separated by commas (folders by
the system's path separator, `:`); an unknown `GAN_` name or a value out of bounds stops the start with a sentence.
`python -m service.settings` prints all of them, as docs/api/operating.md has them.
"""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo

from models import Precision, tiles
from service.setting_values import (
    Folders,
    Names,
    Real,
    RegularFile,
    Whole,
    all_cores,
    half_the_cores,
    measured,
    networks,
    origins,
    pairs,
    split,
)

_PREFIX = "GAN_"
LONGEST_DEADLINE_S = 300.0  # BentoML's own deadline stands behind it, and keeps a timer for every request until then
# The client's and the trainer's own, which may be set in the same shell.
_OTHERS = {"GAN_URL", "GAN_API_KEY", "GAN_BACKBONE_WEIGHTS"}


class Settings(BaseModel):
    """Defaults suit a small CPU machine. Sizes are in the unit that the name ends with.

    The text under a setting is its `description`: `table()` prints it, for docs/api/operating.md.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    models: Folders = (Path("models/pretrained"),)
    """Folders searched for `NAME.safetensors` and `NAME@VERSION.safetensors`, separated by `:`."""
    model_bucket: str | None = None
    """A bucket with such files, `s3://bucket/models`, `gs://` or `az://`, or a folder, to be copied to
    `GAN_MODEL_CACHE`."""
    model_cache: Path = Path("data/models")
    """Folder for those copies; each process wants one of its own."""
    model_bucket_s: Real = Field(default=30.0, ge=1)
    """Seconds between looks at that bucket."""
    bento_models: Names = ()
    """Tags in BentoML's model store, such as `dcgan:latest`, whose folder holds one .safetensors file."""
    aliases: Annotated[dict[str, str], BeforeValidator(pairs)] = {}
    """Other names of models, as `alias=model` pairs; an `aliases.json` in a model folder adds to them."""
    reload_s: Real = Field(default=2.0, ge=0)
    """Seconds between looks at the model folders; 0 looks once, at the start."""
    gate_fid_margin: Real | None = Field(default=None, ge=0)
    """With a value, a new version goes into service only if its FID is at most the old one's plus this."""
    gate_images: Whole = Field(default=1000, ge=16, le=50_000)
    """Images that this gate has each of the two versions draw."""
    model_references: Annotated[dict[str, str], BeforeValidator(pairs)] = {}
    """What the gate and drift measure each model against, as `model=reference` pairs."""

    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:[0-9]+)?)$")
    """`cpu`, `cuda` or `cuda:N`."""
    threads: Whole = Field(default_factory=half_the_cores, ge=1, le=1024)
    """Threads inside a generator's forward pass. Half the cores, because HTTP and the encoders need some too."""
    translate_threads: Whole = Field(default_factory=all_cores, ge=1, le=1024)
    """The same for translators, whose forward passes are long enough to have all cores."""
    encode_threads: Whole = Field(default=3, ge=1, le=1024)
    """Threads that decode and encode pictures beside the event loop. One caller has all but one of them at a time."""
    precision: Annotated[Precision, BeforeValidator(measured)] = "float32"
    """`float32`, or `bfloat16`: a few levels of 255 off, faster on GPUs, with AMX and on AMD's avx512_bf16, slower on
    other CPUs. `auto` times both at the start and takes the faster one, which `/v1/models` tells."""
    translate_engine: Literal["torch", "openvino"] = "torch"
    """What runs translators on a CPU: `torch` or `openvino`, which is the faster one in bfloat16."""
    max_batch: Whole = Field(default=16, ge=1, le=1024)
    """Images in one forward pass of a generator; translators count blocks of 64 x 64 pixels. On a CPU, larger batches
    gain no more, and let the device wait for the answers to all of one; a GPU wants 64 or more."""
    max_queue: Whole = Field(default=1024, ge=1)
    """Images (translators: blocks) that may wait for one model before a request; past it 503, at once."""

    max_requests: Whole = Field(default=512, ge=1)
    """Requests inside at once, uploads included; past it 503, at once."""
    deadline_s: Real = Field(default=30.0, gt=0, le=LONGEST_DEADLINE_S)
    """Seconds that a request may take, upload included; then 408 or 504. What takes longer is a job."""
    body_mb: Whole = Field(default=96, ge=1)
    """Size of a form with files, past which 413: room for two uncompressed statistics of 34 MB each."""
    json_mb: Whole = Field(default=8, ge=1)
    """Size of any other body, past which 413."""
    image_pixels: Whole = Field(default=50_000_000, ge=1)
    """Pixels of one image that is looked at; past it 413."""
    translate_pixels: Whole = Field(default=4_194_304, ge=1)
    """Pixels of one image to translate, about 2048 x 2048, a side of less than 8 counted for 8; past it 413."""
    job_translate_pixels: Whole = Field(default=16_777_216, ge=1)
    """The same for a job: the photos of most phones. A pixel takes some 40 bytes while tiles are joined."""
    clip_pixels: Whole = Field(default=33_554_432, ge=1)
    """Pixels of all frames of a clip to translate, 128 of 512 x 512, a frame of less than 64 x 64 counted for that;
    past it 413."""
    job_clip_pixels: Whole = Field(default=536_870_912, ge=1)
    """The same for a job: 2,048 frames of 512 x 512."""
    decoded_pixels: Whole = Field(default=33_554_432, ge=1)
    """Pixels of all decoded photos in the process at once, some 10 bytes each; the next ones wait, still encoded."""
    tile: Whole = Field(default=tiles.SIDE, ge=256, multiple_of=4)
    """Side, in pixels, of the overlapping tiles in which large images are translated."""
    tile_above_pixels: Whole = Field(default=tiles.WHOLE, ge=1)
    """Pixels up to which an image is translated in one piece; larger ones go in tiles."""
    set_files: Whole = Field(default=10_000, ge=2)
    """Images in one set to score; past it 413."""
    archive_mb: Whole = Field(default=512, ge=1)
    """Size of an archive once unpacked; past it 413."""
    archive_others: Whole = Field(default=1000, ge=0)
    """Entries of an archive that need not be images, such as folders and labels; past it 413."""
    score_queue: Whole = Field(default=2, ge=0)
    """Requests that may wait while another set is scored; past it 503."""
    references: Whole = Field(default=50, ge=0)
    """Named references kept; each takes 34 MB, and 8 KB more for each image. Past it 413."""
    directions: Whole = Field(default=200, ge=0)
    """Named directions kept, up to 100 KB each. Past it 413."""
    job_queue: Whole = Field(default=32, ge=1)
    """Jobs that may wait or run; past it 503."""
    job_images: Whole = Field(default=50_000, ge=1)
    """Images of one set that a score job may have a model draw; past it 413. A request has at most `GAN_SET_FILES`."""
    job_keep_h: Real = Field(default=24.0, gt=0)
    """Hours that a finished job and its result are kept."""
    job_dead_s: Real = Field(default=30.0, ge=1)
    """Seconds without a sign of life after which a job is taken from the process that runs it, and begun again."""
    jobs: str | None = None
    """Where jobs wait, for several replicas: `redis://`, `rediss://` or `postgres://`. Unset: in this process."""
    job_followers: Whole = Field(default=256, ge=1)
    """Streams of jobs' events open at once; past it 503."""
    job_followers_per_caller: Whole = Field(default=32, ge=1)
    """The same for one API key, or one address where no keys are asked for."""
    job_heartbeat_s: Real = Field(default=15.0, gt=0)
    """Seconds between signs of life in a stream of events, which proxies would close else."""
    webhook_hosts: Names = ()
    """What may be told that a job is over: origins, `hooks.example.com` or `http://10.0.3.7:9000`, and networks,
    `10.0.3.0/24`, of addresses that are not public. Empty: nobody is told."""
    webhook_secrets: Names = ()
    """What that is signed with: `whsec_` and at least 24 random bytes in base64; several while one replaces another."""
    job_worker: bool = True
    """Whether this process runs jobs, too; `false` for one that only answers, beside others that `GAN_JOBS` joins."""

    api_keys: Names = ()
    """SHA-256 of each accepted key, as hexadecimal digits, separated by commas; `NAME:DIGEST` gives the caller a name
    in logs and limits. Empty: no key is asked for."""
    api_keys_file: RegularFile | None = None
    """A file with one such entry a line."""
    operators: Names = ()
    """Names of keys that see, fetch and cancel everybody's jobs; any other sees those that it submitted."""
    rate_per_minute: Whole = Field(default=0, ge=0)
    """Requests a minute of each key, or of each address where no keys are asked for; past it 429. 0 is no limit."""
    rates: str | None = None
    """Where those are counted for all replicas together: `redis://` or `rediss://`. Unset: in each process."""

    cors_origins: Annotated[tuple[str, ...], split(","), AfterValidator(origins)] = ()
    """Origins whose pages may read the answers, such as `https://app.example.com`, or `*` for all. Empty: none."""
    trusted_proxies: Annotated[tuple[str, ...], split(","), AfterValidator(networks)] = ()
    """Addresses and networks of proxies whose header says who the caller is. Empty: whoever connects is the caller."""
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    """The one header that those proxies write; the other is not looked at, since it may come from outside."""
    connections: Whole = Field(default=4096, ge=1)
    """Open at once, and at most half of the files that the process may open. For one more, the one that has waited
    longest for its client is closed."""
    connections_per_address: Whole = Field(default=512, ge=1)
    """The same for one address (of IPv6, one network of 64 bits) that is no trusted proxy."""
    header_kb: Whole = Field(default=32, ge=1, le=1024)
    """The head of a request, address and headers; past it, 431."""
    header_s: Real = Field(default=10.0, gt=0)
    """Seconds for a head to arrive; then 408."""
    keep_alive_s: Real = Field(default=5.0, gt=0)
    """Seconds that a connection may stay open between two requests."""
    send_s: Real = Field(default=20.0, gt=0)
    """Seconds in which a client has to take the next 64 KiB of its answer, or be cut off."""
    half_closed_s: Real = Field(default=10.0, ge=0)
    """Seconds that a request is worked on after its client has closed its side: it may wait for the answer, or be
    gone."""
    bodies_mb: Whole = Field(default=1024, ge=1)
    """Bodies of all requests together, in memory or in temporary files; half of it for one caller. Past it, 503."""
    unsent_mb: Whole = Field(default=256, ge=1)
    """Answers that clients have not taken yet; past it, the one that has stood still longest is cut off."""

    c2pa_certificate: RegularFile | None = None
    """A PEM file: the certificate that signs pictures, and those that lead to its authority. Unset: none are signed."""
    c2pa_key: RegularFile | None = Field(default=None, validate_default=True)
    """Its private key, a PEM file without a password."""
    c2pa_timestamps: str | None = Field(default=None, pattern=r"^https?://")
    """A timestamp authority (RFC 3161) that is asked for every picture that is signed. Unset: none."""
    c2pa_anchors: RegularFile | None = None
    """A PEM file of the authorities whose signatures `/v1/inspect` calls trusted."""

    store: Annotated[str, BeforeValidator(os.fspath)] = "data/store"
    """Where references and jobs are kept: a folder, or the URL of a bucket, `s3://bucket/prefix`, `gs://` or `az://`."""
    store_links: bool = True
    """Whether a client that fetches a result of more than 8 MiB is sent to the bucket, by an address that is good for
    five minutes; `false` passes it through, where clients cannot reach the bucket."""
    cache: Path | None = None
    """Folder for the FID weights, once fetched; unset, the user's cache folder."""
    inception_weights: RegularFile | None = None
    """The file of FID weights, where it is not in the cache folder: docs/metrics.md says which files will do."""
    extractors: Annotated[dict[str, Path], BeforeValidator(pairs)] = {}
    """Networks that scores may use in the Inception's place, as `name=file` pairs: a classifier's .safetensors, or
    ONNX."""
    log_json: bool = True
    """Log lines as JSON, or plain."""
    drift: Literal["off", "fid", "kid"] = "off"
    """Measure what is served against each model's reference, by `fid` or `kid`."""
    drift_per_minute: Real = Field(default=60.0, gt=0, le=6000)
    """Served images that drift looks at; each takes about 0.1 s of one core."""
    drift_window: Whole = Field(default=1024, ge=16, le=50_000)
    """Images in one value of drift."""

    @field_validator("translate_engine")
    @classmethod
    def _engine_is_there(cls, engine: str, info: ValidationInfo) -> str:
        if engine == "openvino" and importlib.util.find_spec("openvino") is None:
            raise ValueError("openvino is not installed: pip install openvino")
        if engine == "openvino" and info.data.get("device") != "cpu":
            raise ValueError("openvino runs on the CPU, and GAN_DEVICE is another")
        return engine

    @field_validator("c2pa_key")
    @classmethod
    def _signs_or_not(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if (key is None) != (info.data.get("c2pa_certificate") is None):
            raise ValueError("GAN_C2PA_CERTIFICATE and GAN_C2PA_KEY go together")
        if key is not None and importlib.util.find_spec("c2pa") is None:
            raise ValueError("c2pa-python is not installed: pip install c2pa-python -c constraints.txt")
        return key

    @field_validator("job_worker")
    @classmethod
    def _jobs_are_run(cls, works: bool, info: ValidationInfo) -> bool:
        if not works and info.data.get("jobs") is None:
            raise ValueError("nobody would run the jobs: GAN_JOBS says where those wait that other processes run")
        return works

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raises ValueError, with a sentence for each wrong variable."""
        values = {
            name.removeprefix(_PREFIX).lower(): value
            for name, value in environment.items()
            if name.startswith(_PREFIX) and name not in _OTHERS and value != ""
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [f"{_PREFIX}{str(e['loc'][0]).upper()}: {e['msg']}." for e in error.errors()]
            raise ValueError("The settings in the environment are wrong. " + " ".join(lines)) from None


# The first setting of each part of the table.
_PARTS = {
    "models": "Models",
    "device": "Engine",
    "max_requests": "Limits",
    "api_keys": "Callers",
    "connections": "Connections",
    "c2pa_certificate": "Signatures",
    "store": "Files, logs and drift",
}


def table() -> str:
    """Every setting in Markdown: variable, description, default and bounds."""
    lines = []
    for name, field in Settings.model_fields.items():
        if name in _PARTS:
            lines += ["", f"### {_PARTS[name]}", "", "| | | default | bounds |", "| --- | --- | --- | --- |"]
        description = " ".join((field.description or "").split())
        cells = (f"`{_PREFIX}{name.upper()}`", description, _default(field), _bounds(field))
        lines.append("".join(f"| {cell} " if cell else "| " for cell in cells) + "|")
    return "\n".join(lines[1:]) + "\n"


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return field.default_factory.__name__.strip("_").replace("_", " ")
    match field.default:
        case None | () | {}:
            return ""
        case bool(value):
            return f"`{str(value).lower()}`"
        case int(value) | float(value):
            return _number(value)
        case tuple(values):
            return f"`{os.pathsep.join(map(str, values))}`"
        case value:
            return f"`{value}`"


def _bounds(field: FieldInfo) -> str:
    words = {"ge": "from", "gt": "above", "le": "to", "multiple_of": "in steps of"}
    found = ((word, getattr(one, kind, None)) for kind, word in words.items() for one in field.metadata)
    return " ".join(f"{word} {_number(bound)}" for word, bound in found if bound is not None)


def _number(value: float) -> str:
    return f"{value:,}".removesuffix(".0")


if __name__ == "__main__":
    print(table(), end="")
