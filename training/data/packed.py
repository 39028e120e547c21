"""Decoded images in a file that is mapped into memory: for data larger than memory, and for a quick second start.

A pack lies in a folder that the user names. Its key stands for the source as it is (names, sizes and times of its
files) and for the images' size and channels; a source that has changed is decoded anew.

    KEY.pixels          uint8 [n, size, size, channels], row after row, and nothing else
    KEY.json            its shape, what did not decode, and the digests; written last: where it is, both are whole
    KEY.pixels.part     while the pack is being made
    KEY.progress.json   how far that has come; whoever is killed is gone on with from there

Processes that want the same pack wait for the one that makes it, and then all map one file, of which the kernel keeps
in memory what it has room for.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import InputError, atomic_path, filesets
from training.data.decoded import Decoded, Decoding, digests_of, fill

SAVED_EVERY = 20.0  # seconds between two notes of how far a pack has come: as much work is lost at most


@dataclass(frozen=True)
class Pack:
    """One source's images at one size, in a folder of packs."""

    folder: Path
    key: str

    @property
    def pixels(self) -> Path:
        return self.folder / f"{self.key}.pixels"

    @property
    def header(self) -> Path:
        return self.folder / f"{self.key}.json"

    @property
    def part(self) -> Path:
        return self.folder / f"{self.key}.pixels.part"

    @property
    def progress(self) -> Path:
        return self.folder / f"{self.key}.progress.json"


def packed(folder: str, path: str, what: str, decoding: Decoding) -> Decoded:
    """The images, mapped from the pack in `folder`, which is made first where it is not there.

    Args:
        path: of the source.  what: which of its images, such as a domain's name.
    Raises:
        InputError: the folder cannot be written, lies inside the source or is too full, or the pack is damaged.
    """
    if Path(path).is_dir() and Path(folder).resolve().is_relative_to(Path(path).resolve()):
        raise InputError(f"--packed {folder} lies inside --data {path}: choose a folder outside of it.", where="packed")
    pack = Pack(Path(folder), _key(Path(path), what, decoding))
    try:
        pack.folder.mkdir(parents=True, exist_ok=True)
        if not pack.header.exists():
            with _alone(pack):
                if not pack.header.exists():  # made by whom we waited for
                    _make(pack, decoding)
        return _mapped(pack)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = f"it needs room for {decoding.nbytes / 1e9:,.1f} GB" if full else error.strerror
        raise InputError(f"--packed {folder} cannot be written: {reason}.", where="packed") from error


def _key(path: Path, what: str, decoding: Decoding) -> str:
    names = [""] if path.is_file() else filesets.open_files(path).names
    stamps = [(name, found.st_size, found.st_mtime_ns) for name in names for found in [(path / name).stat()]]
    sha = hashlib.sha256(json.dumps([what, *decoding.shape, stamps]).encode())
    return f"{path.resolve().stem}-{decoding.size}-{sha.hexdigest()[:16]}"


@contextlib.contextmanager
def _alone(pack: Pack) -> Iterator[None]:
    """The lock is the kernel's: it falls with the process, however that ends."""
    with open(pack.folder / f"{pack.key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(pack: Pack, decoding: Decoding) -> None:
    begin, faults = 0, dict[int, str]()
    if pack.progress.exists() and pack.part.exists():
        begun = json.loads(pack.progress.read_text())
        begin, faults = begun["done"], {int(number): reason for number, reason in begun["faults"].items()}
    with open(pack.part, "r+b" if begin else "w+b") as file:
        os.posix_fallocate(file.fileno(), 0, decoding.nbytes)  # a full disk is said now, and not by a signal later
        rows = np.memmap(file, np.uint8, "r+", shape=decoding.shape)
        saved = time.monotonic()
        for done in fill(rows, decoding, faults, begin):
            if time.monotonic() >= saved + SAVED_EVERY:
                rows.flush()
                _write(pack.progress, {"done": done, "faults": faults})
                saved = time.monotonic()
        rows.flush()
        count = decoding.count - len(faults)
        shape = (count, *decoding.shape[1:])
        kept = [number for number in range(decoding.count) if number not in faults]
        labels = torch.tensor(decoding.labels)[kept] if decoding.labels else None
        digests = digests_of(torch.from_numpy(rows[:count]), labels)
        del rows
        file.truncate(int(np.prod(shape, dtype=np.int64)))
    os.replace(pack.part, pack.pixels)
    _write(pack.header, {"shape": shape, "faults": faults, "digest": digests[0], "labelled_digest": digests[1]})
    pack.progress.unlink(missing_ok=True)


def _write(path: Path, content: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content))


def _mapped(pack: Pack) -> Decoded:
    header = json.loads(pack.header.read_text())
    count = int(np.prod(header["shape"], dtype=np.int64))
    size = pack.pixels.stat().st_size if pack.pixels.exists() else 0
    if size != count:  # what lies past the end of a mapped file ends the process when it is looked at
        raise InputError(
            f"{pack.pixels} has {size:,} of {count:,} bytes: remove {pack.header.name}, and it is made again.",
            where="packed",
        )
    pixels = torch.from_file(str(pack.pixels), shared=False, size=count, dtype=torch.uint8).view(header["shape"])
    faults = {int(number): reason for number, reason in header["faults"].items()}
    return Decoded(pixels, faults, header["digest"], header["labelled_digest"])
