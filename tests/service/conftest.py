"""Tiny real checkpoints, and the service around them in two forms.

server        the real thing, once a session: `bentoml serve` in a process of its own, over HTTP
serve(...)    the same endpoints without BentoML, in a thread of this process, with settings of the test's choice
"""

import contextlib
import dataclasses
import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
import uvicorn
from PIL import Image

import models
from metrics import Extractor, Features, cached_weights
from service.http.protocol import http_protocol
from service.routes import standalone
from service.runtime import Runtime
from service.settings import Settings
from tests.service.autoencoders import known_mirror, save_mirror  # noqa: F401  a fixture
from tests.service.browser import driver, page  # noqa: F401  fixtures

ROOT = Path(__file__).parents[2]
# One look at the models, and time enough on a machine with much to do; tests of deadlines set their own.
PATIENT: dict[str, Any] = {"reload_s": 0, "deadline_s": 300}


def save_sampler(
    path: Path, seed: int = 0, classes: tuple[str, ...] = (), metrics: dict[str, Any] | None = None
) -> Path:
    """A DCGAN of 16 px with random weights."""
    torch.manual_seed(seed)
    config = models.DCGANConfig(image_size=16, latent_size=8, width=8, classes=len(classes), class_embedding=4)
    parts = config.parts()
    for parameter in parts["generator"].parameters():
        parameter.data *= 4  # pictures with some contrast
    models.save(path, parts, models.metadata_of(config, classes=classes or None, metrics=metrics or {}))
    return path


def save_translator(path: Path, seed: int = 0, metrics: dict[str, Any] | None = None, attention: int = 0) -> Path:
    """A CycleGAN of width 4 with random weights; with attention, its masks have all values from 0 to 1."""
    torch.manual_seed(seed)
    config = models.ResNetConfig(width=4, blocks=2, attention=attention)
    parts = config.parts()
    for network in parts.values():
        if attention:
            torch.nn.init.normal_(network.mask.layers[-1].weight)
        for parameter in network.parameters():
            parameter.data *= 4
    models.save(path, parts, models.metadata_of(config, domains=("horse", "zebra"), metrics=metrics or {}))
    return path


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: `tiny` (16 px, 8 latents), `classy` (with classes cat and dog), `horse` (a translator)."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_sampler(folder / "tiny.safetensors")
    save_sampler(folder / "classy.safetensors", classes=("cat", "dog"))
    save_translator(folder / "horse.safetensors")
    return folder


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 300) -> None:
    """Polls; fails the test when the condition does not come true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            if condition():
                return
        time.sleep(0.02)
    pytest.fail(f"{what} did not happen within {seconds} s")


def serving_environment(folder: Path, checkpoints: Path) -> dict[str, str]:
    """The environment of a BentoML server that leaves nothing outside `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GAN_", "PROMETHEUS_"))}
    return kept | {
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "OMP_NUM_THREADS": "1",
        "GAN_CACHE": str(cached_weights().parent),
        "GAN_MODELS": str(checkpoints),
        "GAN_STORE": str(folder / "store"),
        "GAN_DEADLINE_S": str(PATIENT["deadline_s"]),
    }


@contextlib.contextmanager
def bentoml_server(environment: dict[str, str], log: Path) -> Iterator[str]:
    """`bentoml serve` until the block ends; gives its address. It must end by itself on SIGTERM."""
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "service.app:GanService", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(
            lambda: process.poll() is not None or requests.get(f"{url}/readyz", timeout=2).status_code == 200,
            "the server's readiness",
            400,
        )
        if process.poll() is not None:
            pytest.fail(f"the server stopped: {log.read_text()[-3000:]}")
        yield url
    finally:
        process.terminate()
        process.wait(300)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, checkpoints: Path) -> Iterator[str]:
    """The address of the real service."""
    folder = tmp_path_factory.mktemp("server")
    with bentoml_server(serving_environment(folder, checkpoints), folder / "log") as url:
        yield url


@dataclasses.dataclass(frozen=True)
class Local:
    """A service in this process."""

    url: str
    runtime: Runtime


@dataclasses.dataclass(frozen=True)
class MeanColours:
    """An extractor of 12 features that takes no time: the mean colours of an image's quarters."""

    name: str = "mean-colours"
    side: int = 299
    dimensions: int = 12
    precision: str = "float32"
    batch_size: int = 4

    def features(self, images: torch.Tensor) -> Features:
        """[n, 3, 299, 299] -> [n, 12]."""
        return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1).numpy()

    def logits(self, features: Features) -> Features:
        """It has no classifier, like the weights from the registry."""
        raise models.WeightsUnavailable("Inception Score needs the classifier.")


class Turnstile:
    """Mean colours that let one batch through at a time, or all: a score that takes as long as a test wants.

    Attributes:
        reached: set when the first batch is there.  batches: how many came.
        guards: only threads whose name begins so have to wait.
    """

    def __init__(self, inner: Extractor) -> None:
        self.inner = inner
        self.name, self.side, self.dimensions = "turnstile", inner.side, inner.dimensions
        self.precision, self.batch_size = "float32", 4
        self.reached = threading.Event()
        self.batches = 0
        self.guards = ""
        self._turns = threading.Semaphore(0)
        self._open = threading.Event()

    def features(self, images: torch.Tensor) -> Features:
        self.batches += 1
        self.reached.set()
        if threading.current_thread().name.startswith(self.guards) and not self._open.is_set():
            assert self._turns.acquire(timeout=300)
        return self.inner.features(images)

    def let_one(self) -> None:
        self._turns.release()

    def let_all(self) -> None:
        self._open.set()
        self._turns.release(100)

    def logits(self, features: Features) -> Features:
        raise models.WeightsUnavailable("Inception Score needs the classifier.")


@pytest.fixture
def turnstile(mean_colours: MeanColours) -> Iterator[Turnstile]:
    one = Turnstile(mean_colours)
    yield one
    one.let_all()


@contextlib.contextmanager
def local_server(settings: Settings, extractor: Extractor | None = None) -> Iterator[Local]:
    """The endpoints without BentoML, in a thread with an event loop of its own."""
    runtime = Runtime(settings, extractor)
    app = standalone(runtime)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)  # from here on the port is ours
    config = uvicorn.Config(app, http=http_protocol(settings), log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started and runtime.ready, "the local server's readiness")
        yield Local(f"http://127.0.0.1:{listener.getsockname()[1]}", runtime)
    finally:
        server.should_exit = True
        thread.join(300)


@pytest.fixture
def serve(checkpoints: Path, tmp_path: Path) -> Iterator[Callable[..., Local]]:
    """`serve(max_batch=1)` starts a service with those settings; it stops when the test ends."""
    with contextlib.ExitStack() as stack:

        def start(extractor: Extractor | None = None, **settings: Any) -> Local:
            defaults = PATIENT | {"models": (checkpoints,), "store": tmp_path / "store"}
            return stack.enter_context(local_server(Settings(**(defaults | settings)), extractor))

        yield start


@pytest.fixture(scope="session")
def local(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """One service with the default settings, shared by the session."""
    store = tmp_path_factory.mktemp("store")
    with local_server(Settings(models=(checkpoints,), store=store, **PATIENT)) as one:
        yield one


@pytest.fixture(scope="module")
def encoding(known_mirror: None, checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:  # noqa: F811
    """One service that has an autoencoder too, `mirror`, shared by a module."""
    folder = tmp_path_factory.mktemp("encoding")
    save_mirror(folder / "mirror.safetensors")
    with local_server(Settings(models=(checkpoints, folder), store=folder / "store", **PATIENT)) as one:
        yield one


@pytest.fixture(scope="session")
def mean_colours() -> MeanColours:
    return MeanColours()


@pytest.fixture(scope="session")
def scoring(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """One service that scores by mean colours, or by the extractors `mine` and `lost`, whose file is not there;
    shared by the session."""
    store = tmp_path_factory.mktemp("scoring")
    config = models.AirbenchConfig(image_size=16, classes=2, width=8)
    mine = tmp_path_factory.mktemp("extractors") / "mine.safetensors"
    models.save(mine, config.parts(), models.metadata_of(config, classes=("cat", "dog")))
    settings = Settings(
        models=(checkpoints,),
        store=store,
        extractors={"mine": mine, "lost": mine.with_name("lost.onnx")},
        set_files=40,
        archive_mb=4,
        job_images=200,
        **PATIENT,
    )
    with local_server(settings, MeanColours()) as one:
        yield one


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """`picture(height, width, mode="RGB", kind="PNG")`: a smooth picture as a file."""

    def make(height: int, width: int, mode: str = "RGB", kind: str = "PNG", **options: Any) -> bytes:
        rows, columns = np.mgrid[0:height, 0:width]
        wave = [127 + 120 * np.sin(rows / 17 + phase) * np.cos(columns / 23 - phase) for phase in range(3)]
        image = Image.fromarray(np.stack(wave, axis=2).astype(np.uint8)).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return make


@pytest.fixture(name="save_sampler", scope="session")
def save_sampler_() -> Callable[..., Path]:
    return save_sampler


@pytest.fixture(name="save_translator", scope="session")
def save_translator_() -> Callable[..., Path]:
    return save_translator


@pytest.fixture(name="wait_until", scope="session")
def wait_until_() -> Callable[..., None]:
    return wait_until


@pytest.fixture(name="free_port")
def free_port_() -> int:
    return free_port()


@pytest.fixture(name="serving", scope="session")
def serving_() -> Callable[[Path, Path], dict[str, str]]:
    return serving_environment
