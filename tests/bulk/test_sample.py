"""Shards hold what a plain loop draws, byte for byte, whatever happens to the machines that draw them."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import models
from bulk import sample
from models import Generator, InputError, Origin, origin
from tests.bulk.conftest import PRETRAINED, ROOT, actors_of, begun, surroundings, wait_until
from tests.service.servers import family, free_port

MODEL = PRETRAINED / "cifar10-dcgan.safetensors"
OBJECTS = 100 << 20  # bytes of shared memory for a machine: a model and reports of some bytes
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}


def pictures_of(shard: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(shard)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def plain(model: Generator, seeds: list[int]) -> dict[str, bytes]:
    """One sample after the other, in the batches of `metrics`."""
    pictures = {}
    for start in range(0, len(seeds), 32):
        some = seeds[start : start + 32]
        for seed, pixels in zip(some, models.to_uint8(model(models.draw(some, model.latent_size))), strict=True):
            about = Origin("trainedAlgorithmicMedia", {"digest": model.digest, "seed": str(seed)})
            pictures[f"{seed:012}.png"] = models.encode(pixels, text=about.text, xmp=about.packet())
    return pictures


@contextlib.contextmanager
def node(*arguments: str, processors: int) -> Iterator[subprocess.Popen[bytes]]:
    """A machine of a cluster, as `ray start` has it; killed whole at the end."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, "--block"]
    command += [f"--num-cpus={processors}", "--include-log-monitor=false", f"--object-store-memory={OBJECTS}"]
    env = surroundings(TOKEN | {"PYTHONUNBUFFERED": "1"})
    with subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            while line := process.stdout.readline():
                if b"Ray runtime started" in line:
                    break
            assert line, "the node did not start"
            yield process
        finally:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """As if the machine had lost its power."""
    for one in family(process.pid) if process.poll() is None else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def test_a_machine_of_a_cluster_is_lost_and_nothing_shows_of_it(tmp_path: Path) -> None:
    """There is room for one actor on the first machine, so the second has one as well."""
    port, client = free_port(), free_port()
    head = ["--head", f"--port={port}", f"--ray-client-server-port={client}", "--include-dashboard=false"]
    arguments = ("sample", 1600, tmp_path / "out", "--model", "cifar10-dcgan", "--seed", 5)
    with node(*head, processors=1), node(f"--address=127.0.0.1:{port}", processors=2) as second:
        with begun(*arguments, "--address", f"ray://127.0.0.1:{client}", env=TOKEN) as process:
            wait_until(lambda: list(tmp_path.glob("out/*.tar")) and actors_of(second.pid), process)
            kill(second)
            assert len(list(tmp_path.glob("out/*.tar"))) < 4, "it was lost while there was work"
            said = process.communicate()[1]
        assert process.returncode == 0, said
    shards = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.tar")}
    assert sorted(shards) == [f"{first:012}.tar" for first in range(5, 1605, 512)]
    model = models.load(MODEL, Generator)
    found = {name: picture for shard in shards.values() for name, picture in pictures_of(shard).items()}
    assert found == plain(model, list(range(5, 1605)))
    assert shards["000000000517.tar"] == sample.shard(model, sample.Piece(512, 1024), 5)


def test_classes_go_round_over_the_whole_run(tmp_path: Path) -> None:
    """Sample i has class i modulo the classes, wherever a shard begins."""
    model = models.load(PRETRAINED / "cifar10-dcgan-classes.safetensors", Generator)
    made = pictures_of(sample.shard(model, sample.Piece(512, 515), 7))
    drawn = model(models.draw([519, 520, 521], model.latent_size), torch.tensor([2, 3, 4]))
    for (name, picture), pixels, label in zip(made.items(), models.to_uint8(drawn), "234", strict=True):
        text = models.read_text(picture)
        assert (name, text["gan.class"]) == (f"{int(text['gan.seed']):012}.png", label)
        with Image.open(io.BytesIO(picture)) as image:
            np.testing.assert_array_equal(image, pixels)
            found = origin.read(image.info["xmp"])
        assert found.source == "trainedAlgorithmicMedia"
        assert found.text.items() <= text.items()


def test_what_is_there_is_not_drawn_again(tmp_path: Path) -> None:
    (tmp_path / "000000000512.tar").write_bytes(b"drawn before")
    plan = sample.sample(1200, str(tmp_path), MODEL, 0)
    assert (plan.total, plan.done) == (1200, 512)


@pytest.mark.parametrize(
    ("count", "seed", "said"),
    [(0, 0, "1 sample or more"), (1, -1, "seed is a whole number"), (2, 2**63 - 1, "seed is a whole number")],
)
def test_numbers_that_cannot_be(tmp_path: Path, count: int, seed: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        sample.sample(count, str(tmp_path), MODEL, seed)
