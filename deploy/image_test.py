"""Build the container image for real, run it, and ask it for a sample, a translation and a score: `make image-test`.

Needs root on Debian or Ubuntu; no container daemon. The base image is made by debootstrap from the mirror
that apt uses here, the image is built and run by buildah in a chroot, and everything lives in a folder that
is removed after. pip's configuration on this machine (index, certificates, folders of wheels) goes into the
build as a secret and read-only mounts, so that the image can be built wherever `make serve` works, and keeps
no trace of them.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import requests
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
BASE_ARCHIVE = ROOT / "build" / "image-base.tar"
BASE_PACKAGES = "python3,python3-venv,ca-certificates"
HORSE = ROOT / "tests" / "fixtures" / "horse2zebra" / "testA" / "n02381460_1000.jpg"
CONTENTS = ["constraints.txt", "metrics", "models", "requirements.txt", "service"]  # of /app
STARTUP_S = 120


def say(text: str) -> None:
    print(f"image-test: {text}", flush=True)


def call(*command: str | Path) -> str:
    """Run a command with its messages passed through; its standard output, stripped."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def require_tools() -> None:
    """buildah and debootstrap, installed by apt where missing."""
    if os.geteuid() != 0:
        sys.exit("image-test needs root: debootstrap and a chroot build do")
    missing = [tool for tool in ("buildah", "debootstrap") if not shutil.which(tool)]
    if missing:
        say(f"installing {' '.join(missing)}")
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-qq", "-y", *missing], check=True, stdout=sys.stderr)


def base_archive() -> Path:
    """A bare system of this machine's release with Python, as a tar file kept in build/ for the next time."""
    if BASE_ARCHIVE.exists():
        return BASE_ARCHIVE
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    if release is None:
        sys.exit("image-test: /etc/os-release names no release for debootstrap")
    targets = call("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages")
    mirrors = [line.split()[0] for line in targets.splitlines() if line.split()[1] == release[1]]
    if not mirrors:
        sys.exit(f"image-test: apt has no source for {release[1]}")
    say(f"making a bare {release[1]} with debootstrap")
    BASE_ARCHIVE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                "debootstrap",
                "--variant=minbase",
                f"--include={BASE_PACKAGES}",
                release[1],
                folder,
                mirrors[0],
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        shutil.rmtree(Path(folder, "var/cache/apt/archives"))
        partial = BASE_ARCHIVE.with_suffix(".partial")
        call("tar", "--one-file-system", "-C", folder, "-cf", partial, ".")
        partial.rename(BASE_ARCHIVE)
    return BASE_ARCHIVE


def pip_settings() -> tuple[str, list[Path]]:
    """This machine's pip configuration as one pip.conf, and the local files and folders that it names."""
    listing = call(sys.executable, "-m", "pip", "config", "list")
    values: dict[str, str] = {}
    for line in sorted(listing.splitlines(), reverse=True):  # "global.KEY" before ":env:.KEY", which wins
        key, value = line.split("=", 1)
        values[key.rsplit(".", 1)[1]] = ast.literal_eval(value)
    lines = (key + " = " + "\n    ".join(value.split()) + "\n" for key, value in values.items())
    paths = {Path(word.removeprefix("file://")) for value in values.values() for word in value.split()}
    # An index folder is mounted with its parent: its pages link to files beside it.
    mounts = {path.parent if path.name == "simple" else path for path in paths if path.is_absolute()}
    return "[global]\n" + "".join(lines), sorted(path for path in mounts if path.exists())


class Buildah:
    """buildah with a storage of its own in one folder."""

    def __init__(self, folder: Path) -> None:
        self.command: list[str | Path] = [
            "buildah",
            "--root",
            folder / "storage",
            "--runroot",
            folder / "run",
        ]
        self.command += ["--storage-driver", "vfs"]

    def __call__(self, *arguments: str | Path) -> str:
        return call(*self.command, *arguments)

    def process(self, log: Path, *arguments: str | Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            command = [*self.command, *arguments]
            return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


def build(buildah: Buildah, folder: Path, device: str, engine: str) -> None:
    """The base image from its archive, then the Dockerfile on it, tagged `gan-service`."""
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, base_archive(), "/")
    buildah("commit", "--quiet", "--rm", container, "gan-base")
    configuration, mounts = pip_settings()
    secret = folder / "pip.conf"
    secret.write_text(configuration)
    say("building the image (some minutes)")
    options = ["--isolation", "chroot", "--format", "docker", "--layers=false", "--tag", "gan-service"]
    for argument in ("BASE=localhost/gan-base", f"DEVICE={device}", f"ENGINE={engine}"):
        options += ["--build-arg", argument]
    options += ["--secret", f"id=pip,src={secret}"]
    options += [word for path in mounts for word in ("--volume", f"{path}:{path}:ro")]
    buildah("bud", *options, ROOT)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(buildah: Buildah, container: str, command: list[str], health: list[str]) -> Iterator[str]:
    """The image's own command in the container, ready to answer, at the address given; ended by SIGTERM."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    inside = ["run", "--isolation", "chroot", "--env", f"BENTOML_PORT={port}", container, "--"]
    log = ROOT / "build" / "image-server.log"
    started = time.monotonic()
    process = buildah.process(log, *inside, *command)
    try:
        while not is_ready(url):
            time.sleep(0.2)
            if process.poll() is not None or time.monotonic() - started > STARTUP_S:
                sys.exit(f"image-test: the container is not ready\n{log.read_text()[-5000:]}")
        say(f"ready after {time.monotonic() - started:.1f} s")
        buildah(*inside, *health)  # as an orchestrator would run it
        yield url
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the container's own first process, as `docker stop` does; buildah itself would only kill it."""
    inside = psutil.Process(process.pid).children(recursive=True)
    for server in (one for one in inside if "buildah" not in one.name()):
        server.terminate()
        break
    _, alive = psutil.wait_procs(inside, timeout=60)
    for one in alive:
        one.kill()
    say(f"stopped with exit status {process.wait(timeout=60)}")


def is_ready(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(f"{url}/readyz", timeout=2).ok
    return False


def check_contents(buildah: Buildah, container: str) -> None:
    """Not root; the service and what it needs, and nothing of training, tests or pip's configuration."""
    inside = ("run", "--isolation", "chroot", container, "--")
    user = buildah(*inside, "id", "-u")
    files = buildah(*inside, "sh", "-c", "ls -A /app; ls -A /etc/pip.conf 2>/dev/null; true").split()
    if user == "0" or sorted(files) != CONTENTS:
        sys.exit(f"image-test: the image runs as user {user} and holds {files}")
    say(f"runs as user {user}; /app holds {' '.join(files)}")


def ask(url: str) -> None:
    """A sample, a translation and a score; that the pictures are pictures of the right size."""
    models = requests.get(f"{url}/v1/models", timeout=60).json()["models"]
    say(f"serves {', '.join(model['id'] for model in models)}")
    png = {"Accept": "image/png"}
    sample = requests.post(f"{url}/v1/sample", json={"seed": 7}, headers=png, timeout=60)
    photo = {"images": HORSE.read_bytes()}
    translation = requests.post(f"{url}/v1/translate", files=photo, headers=png, timeout=120)
    for name, answer in (("sample", sample), ("translation", translation)):
        require_success(name, answer)
        path = ROOT / "build" / f"image-{name}.png"
        path.write_bytes(answer.content)
        with Image.open(path) as picture, Image.open(HORSE) as horse:
            if name == "translation" and picture.size != horse.size:
                sys.exit(f"image-test: the translation came back as {picture.size}")
            say(f"{name}: {picture.width} x {picture.height} px, {len(answer.content)} bytes, build/{path.name}")
    sets = [(side, path.read_bytes()) for side in "ab" for path in sorted(HORSE.parent.glob("*.jpg"))[:4]]
    score = requests.post(f"{url}/v1/score", files=sets, timeout=120)
    if score.status_code == 503:
        say(f"no score, as the image was built without the FID weights: {score.text}")
    else:
        require_success("score", score)
        say(f"score: FID of four horses against themselves is {score.json()['fid']['value']:.3g}")


def require_success(name: str, answer: requests.Response) -> None:
    if answer.status_code != 200:
        sys.exit(f"image-test: {name} answered {answer.status_code}: {answer.text[:500]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="the image's DEVICE build argument")
    parser.add_argument("--engine", default="torch", choices=("torch", "openvino"), help="the same for ENGINE")
    arguments = parser.parse_args()
    require_tools()
    with tempfile.TemporaryDirectory(prefix="image-test-") as name:
        folder = Path(name)
        buildah = Buildah(folder)
        started = time.monotonic()
        build(buildah, folder, arguments.device, arguments.engine)
        say(f"built in {time.monotonic() - started:.0f} s")
        config = json.loads(buildah("inspect", "--type", "image", "gan-service"))["Docker"]["config"]
        container = buildah("from", "--pull-never", "gan-service")
        check_contents(buildah, container)
        health = config["Healthcheck"]["Test"][1:]  # "CMD", then the command
        with running(buildah, container, config["Cmd"], health) as url:
            ask(url)
        size = buildah("images", "--format", "{{.Size}}", "gan-service")
        say(f"image size: {size}, passed")


if __name__ == "__main__":
    main()
