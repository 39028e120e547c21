"""Where images come from and where results go: a folder (or an archive to read), or a bucket, by obstore.

Every result is put whole or not at all, so what is there is finished, and a run that was killed goes on with the rest.
A place is opened anew in every process, from the text that the user typed.
"""

import datetime
import re
from collections.abc import Set
from functools import cache
from pathlib import Path
from typing import Protocol

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from models import InputError, NotFoundError, addresses, atomic_path, filesets, legible

_URL = re.compile(r"(s3|gs|az)://[^/]+(/.*)?")
RETRIES = 5


class Place(Protocol):
    """Where results are kept, by name; `/` in a name stands between folders.

    Raises:
        OSError: it cannot be read or written; the message names it.
    """

    def names(self) -> Set[str]:
        """All names that are there."""

    def read(self, name: str) -> bytes | None:
        """What was written under a name; None where nothing was."""

    def write(self, name: str, data: bytes) -> None:
        """Whole or not at all, over what was there."""

    def remove(self, name: str) -> None:
        """Also where there is nothing of that name."""


def source(where: str) -> filesets.FileSet:
    """The files of a folder, an archive or a bucket.

    Raises:
        NotFoundError, InputError: there is none, or it cannot be read.
    """
    return _bucket_files(where) if is_bucket(where) else filesets.open_files(Path(where))


@cache
def place(where: str) -> Place:
    """A folder, which is made where there is none, or a bucket; raises InputError where it is neither."""
    if is_bucket(where):
        return Bucket(where)
    try:
        Path(where).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{where} is no folder to write to: {error.strerror}.", where=where) from error
    return Folder(Path(where))


def is_bucket(where: str) -> bool:
    """Whether this is the URL of a bucket, not a path; raises InputError for a URL of another kind."""
    if _URL.fullmatch(where):
        return True
    if addresses.scheme(where):
        shown = addresses.without_secrets(where)
        raise InputError(f"{shown} is no place for images: name a folder, or a bucket by s3://, gs:// or az://.")
    return False


def check_apart(read: str, written: str) -> None:
    """Raises InputError where results would lie among the inputs, and be the inputs of the next run."""
    inner, outer = (
        (where.rstrip("/") if is_bucket(where) else str(Path(where).resolve())) for where in (written, read)
    )
    if inner == outer or inner.startswith(f"{outer}/"):
        inner, outer = addresses.without_secrets(written), addresses.without_secrets(read)
        raise InputError(f"{inner} lies inside {outer}: its results would be inputs. Choose a place outside of it.")


class Folder:
    """A folder of this machine, or one that all machines of a cluster see under the same path."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> Set[str]:
        """All files below it but hidden ones, such as those half written."""
        return set(filesets.open_files(self.root).names)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)


class Bucket:
    """What lies in a bucket under a prefix; credentials come from the environment."""

    def __init__(self, url: str) -> None:
        self.shown, self.store = addresses.without_secrets(url), _opened(url)

    def names(self) -> Set[str]:
        try:
            return {item["path"] for items in obstore.list(self.store) for item in items}
        except BaseError as error:
            raise _unreachable(self.shown, error) from error

    def read(self, name: str) -> bytes | None:
        try:
            return bytes(obstore.get(self.store, name).bytes())
        except FileNotFoundError:
            return None
        except BaseError as error:
            raise _unreachable(self.shown, error) from error

    def write(self, name: str, data: bytes) -> None:
        try:
            obstore.put(self.store, name, data)
        except BaseError as error:
            raise _unreachable(self.shown, error) from error

    def remove(self, name: str) -> None:
        try:
            obstore.delete(self.store, name)
        except FileNotFoundError:
            pass
        except BaseError as error:
            raise _unreachable(self.shown, error) from error


@cache
def _opened(url: str) -> ObjectStore:
    try:
        return from_url(
            url,
            retry_config={"max_retries": RETRIES, "retry_timeout": datetime.timedelta(minutes=2)},
            client_options={"connect_timeout": "5s", "timeout": "120s", "allow_http": True},
        )
    except (BaseError, ValueError) as error:
        shown = addresses.without_secrets(url)
        raise InputError(f"{shown} cannot be opened: {_first_line(error).replace(url, shown)}") from None


def _bucket_files(url: str) -> filesets.FileSet:
    bucket = Bucket(url)
    names = sorted(name for name in bucket.names() if not filesets.is_hidden(name))
    if not names:
        raise NotFoundError(f"There is nothing under {bucket.shown}.", where=bucket.shown)

    def read(name: str, most: int = -1) -> bytes:
        data = bucket.read(name)
        if data is None:
            raise InputError(f"{legible(name)} has vanished from {bucket.shown}.", where=legible(name))
        return data if most < 0 else data[:most]

    return filesets.FileSet(bucket.shown, tuple(names), (), read)


def _unreachable(shown: str, error: BaseError) -> OSError:
    return OSError(f"{shown} cannot be read or written: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
