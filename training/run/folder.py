"""The folder of a run: one writer at a time, and every file in it whole.

config.json               the configuration
log.jsonl                 one line a tick
samples/000020032.png     sheets of samples, by images seen
state.pt, best.pt         snapshots, last and best: to go on from
NAME.safetensors          the inference checkpoint of the last snapshot; NAME-best.safetensors of the best
curves.png, samples.webp  at the end of the run
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metrics import World
from models import ConflictError, InputError, atomic_path, encode
from models.images import Pixels

LONGEST = 200  # bytes of a name: file systems take 255, and a file that is being written has more around it


@dataclass(frozen=True)
class RunFolder:
    """Paths and small writers; raises OSError where the disk is full or read-only."""

    root: Path
    name: str

    @property
    def config(self) -> Path:
        return self.root / "config.json"

    @property
    def log(self) -> Path:
        return self.root / "log.jsonl"

    @property
    def state(self) -> Path:
        return self.root / "state.pt"

    @property
    def best(self) -> Path:
        return self.root / "best.pt"

    @property
    def samples(self) -> Path:
        return self.root / "samples"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    def checkpoint(self, kind: str = "") -> Path:
        return self.root / f"{self.name}{'-' + kind if kind else ''}.safetensors"

    def last_good(self) -> str:
        """A sentence on the snapshot to go back to."""
        return f"The last good snapshot is {self.state}." if self.state.exists() else "There is no snapshot yet."

    def begin(self, config: Mapping[str, Any], images: int) -> None:
        """Writes the configuration, and takes back what was written after the snapshot at `images`."""
        for leftover in self.root.rglob(".*.tmp"):  # of a process that was killed while it wrote
            leftover.unlink()
        with atomic_path(self.config) as temporary:
            temporary.write_text(json.dumps(config, indent=2) + "\n")
        self._rewind(images)

    def write_sheet(self, sheet: Pixels, images: int) -> None:
        with atomic_path(self.samples / f"{images:09d}.png") as temporary:
            temporary.write_bytes(encode(sheet))

    def append_log(self, line: dict[str, Any]) -> None:
        with self.log.open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """The log so far; a last line that was cut off by a kill is left out."""
        if not self.log.exists():
            return []
        whole = [line for line in self.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [json.loads(line) for line in whole]

    def _rewind(self, images: int) -> None:
        kept = [line for line in self.lines() if line["images"] <= images]
        with atomic_path(self.log) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept))
        for sheet in self.samples.glob("*.png"):
            if sheet.stem.isascii() and sheet.stem.isdigit() and int(sheet.stem) > images:
                sheet.unlink()


def at(out: str, name: str) -> RunFolder:
    """The folder of a run, which need not exist; raises InputError where no file could have the checkpoint's name."""
    root = Path(out)
    folder = RunFolder(root, name or root.resolve().name)
    if len(os.fsencode(folder.name)) > LONGEST:
        raise InputError(f"--name may have at most {LONGEST} bytes; got {folder.name!r}.", where="name")
    return folder


def check_fit(folder: RunFolder, *, resume: bool | None) -> None:
    """Raises InputError where there is nothing to resume, ConflictError where a new run would overwrite another.

    Args:
        resume: as `training.train` has it; None, to begin or to go on, fits any folder of the same run (`state.py`).
    """
    out = folder.root
    if resume is None:
        return
    if resume and not folder.state.exists():
        raise InputError(f"--resume {out}: there is no snapshot ({folder.state.name}) to go on from.", where="resume")
    if not resume and folder.state.exists():
        raise ConflictError(
            f"torchrun has started this run again after a failure, and {out} holds a run already: say --continue "
            "beside --out, and the same command goes on with it."
            if _restarted()
            else f"{out} holds a run already: go on with it by --resume {out}, or choose another --out.",
            where="out",
        )
    if not resume and folder.lines():
        raise ConflictError(
            f"{out} holds what a run left that came to no snapshot: remove it, choose another --out, or begin that run "
            "again with --continue.",
            where="out",
        )


def _restarted() -> bool:
    """Whether `torchrun --max-restarts` has started this process after others failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") not in ("", "0")


def check_apart(folder: RunFolder, data: str) -> None:
    """Raises InputError where the run would write its own pictures among the images that it learns from."""
    source = Path(data).resolve()
    if source.is_dir() and any(path.resolve().is_relative_to(source) for path in (folder.root, folder.samples)):
        raise InputError(
            f"--out {folder.root} lies inside --data {data}: the run's own pictures would be training images. "
            "Choose a folder outside of it.",
            where="out",
        )


@contextlib.contextmanager
def opened(out: str, name: str, *, resume: bool | None, world: World) -> Iterator[RunFolder]:
    """Makes and locks a run's folder. The lock is the kernel's: it falls with the process, however that ends.

    Raises:
        InputError: nothing to resume there, or the folder cannot be made or written.
        ConflictError: another process is writing to it, or a new run would overwrite an older one.
    """
    folder = at(out, name)
    root = folder.root
    if not world.first:  # the first process holds the folder for all
        world.wait()
        yield folder
        return
    if resume:  # before a folder is made
        check_fit(folder, resume=True)
    try:
        folder.samples.mkdir(parents=True, exist_ok=True)
        lock = open(root / ".lock", "a+")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"--out {out} cannot be written: {error.strerror}.", where="out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise ConflictError(
                f"Another run (process {lock.read().strip() or 'unknown'}) is writing to {out}: "
                "choose another --out, or wait for it.",
                where="out",
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        check_fit(folder, resume=resume)
        world.wait()
        yield folder
