"""Where references and jobs are kept: one small interface; a folder or a bucket behind it (GAN_STORE).

A store maps (section, name) to bytes. What is above it (scoring/references.py, jobs/, registry/gate.py) speaks only
`Store`, and all that replicas have to agree on rests on its `create`: of several that write one name at one instant,
one succeeds and the others are told so.

    data/store                     FolderStore
    s3://bucket/prefix, gs://, az://   ObjectStore, by obstore; credentials are read from the environment

obstore could write folders too, but does not sync what it wrote to the disk (a job that was accepted would be gone
after a power cut), and cannot list a folder that has one name in it that is not UTF-8.

Names come from clients. They are matched against a pattern that has no separator, no leading dot and no control
character in it, before a path is made of them: a client cannot name a file outside the store.
"""

import asyncio
import contextlib
import datetime
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import MemoryStore, from_url

from models import addresses
from models.errors import ConflictError, InputError, NotFoundError, OverloadError
from models.files import atomic_path

if TYPE_CHECKING:
    from obstore import Attributes, GetResult
    from obstore.store import ClientConfig, RetryConfig

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_KEY = re.compile(rf"(?:{_NAME.pattern})(?:\.[a-z]{{1,16}})?")  # a name, and the suffix that the code above adds
_SECTION = re.compile(r"[a-z]{1,32}")
_SCHEMES = ("s3", "gs", "az")
_RETRY_S = 60.0
_LINK_S = 300.0  # a download that began in time may go on after it
_LEFTOVER_S = 3600.0
_LARGE = 1_000_000  # bytes; copying more would hold the event loop up

_BINARY = "application/octet-stream"
_PIECE = 1 << 20  # bytes
_UPLOADS = 4  # parts of one upload that are under way at once, of 5 MiB each

Place = Path | str | AsyncIterator[bytes]
"""A file, an address that is good for some minutes, or, where neither is to be had, the bytes piece by piece."""

Result = TypeVar("Result")


class Store(Protocol):
    """Bytes under (section, name), for any number of processes at once.

    Every method raises OverloadError where the store cannot be read or written: it is full, gone, or refuses us.
    """

    async def put(self, section: str, name: str, data: bytes | BinaryIO, media_type: str = _BINARY) -> None:
        """Writes whole or not at all, over what was there; of an open file all of it, a piece at a time."""

    async def create(self, section: str, name: str, data: bytes) -> None:
        """The same for a name that is free, else raises ConflictError: of many at once, one succeeds."""

    async def get(self, section: str, name: str) -> bytes:
        """Raises NotFoundError."""

    async def delete(self, section: str, name: str) -> None:
        """Raises NotFoundError, where the store can tell."""

    async def names(self, section: str) -> dict[str, float]:
        """All names in a section, sorted, and when each was written (seconds since 1970); none if it is unused."""

    async def place(self, section: str, name: str) -> "Place":
        """How others can read what is too large for memory. May raise NotFoundError."""


def check_name(name: str, where: str = "name") -> str:
    """Returns `name` if it may be a name in a store, else raises InputError.

    Letters, digits, and `.`, `_`, `-` between them; 1 to 64 characters.
    """
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"{name[:80]!r} is not a name: use 1 to 64 letters, digits, dots, dashes and underscores, "
            "beginning and ending with a letter or a digit.",
            where=where,
        )
    return name


def open_store(where: str, links: bool = True) -> Store:
    """The store that GAN_STORE names: a folder, or the URL of a bucket.

    Args:
        links: whether those who ask for something large may be sent to the bucket.
    Raises:
        ValueError: no such kind of store, or its options in the environment (AWS_..., GOOGLE_..., AZURE_...) are wrong.
    """
    if not addresses.scheme(where):
        return FolderStore(Path(where))
    bucket, shown = open_bucket(where, "GAN_STORE")
    return ObjectStore(bucket, shown, links)


def open_bucket(where: str, setting: str) -> "tuple[obstore.store.ObjectStore, str]":
    """The bucket of a URL, and how messages call it: without user, password and query. Raises ValueError."""
    if not where.startswith(tuple(f"{one}://" for one in _SCHEMES)):
        raise ValueError(f"{setting} is a folder or begins with {'://, '.join(_SCHEMES)}://.")
    shown = addresses.without_secrets(where)
    try:
        # The defaults would try for three minutes, ten times.
        retries: RetryConfig = {"max_retries": 2, "retry_timeout": datetime.timedelta(seconds=10)}
        client: ClientConfig = {
            "connect_timeout": "3s",
            "timeout": "60s",
            "allow_http": True,
        }  # for an endpoint that says http://
        return from_url(where, retry_config=retries, client_options=client), shown
    except (BaseError, ValueError) as error:
        why = _first_line(error).replace(where, shown)
        raise ValueError(f"{setting}: {shown} cannot be opened: {why}") from None


async def check_store(store: Store, where: str) -> None:
    """Raises ValueError for a store that cannot be used, or that lets two create one name."""
    name, shown = f"probe-{secrets.token_hex(8)}", addresses.without_secrets(where)
    try:
        await store.create("probe", name, b"")
        try:
            await store.create("probe", name, b"")
        except ConflictError:
            return
        finally:
            await store.delete("probe", name)
    except OverloadError as error:
        raise ValueError(f"GAN_STORE: {error.message}") from None
    except NotFoundError:
        raise ValueError(f"GAN_STORE: there is no {shown}; a bucket has to be made first.") from None
    raise ValueError(
        f"GAN_STORE: {shown} lets a name be created twice, so that two replicas could run one job with two results. "
        "A store with conditional writes (If-None-Match) is needed."
    )


class FolderStore:
    """A `Store` in a local folder, made on the first write. Files are read and written on threads of its own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(4, "store")

    async def put(self, section: str, name: str, data: bytes | BinaryIO, media_type: str = _BINARY) -> None:
        await self._beside(_write, self._path(section, name), data, False)

    async def create(self, section: str, name: str, data: bytes) -> None:
        try:
            await self._beside(_write, self._path(section, name), data, True)
        except FileExistsError:
            raise _taken(section, name) from None

    async def get(self, section: str, name: str) -> bytes:
        try:
            return await self._beside(self._path(section, name).read_bytes)
        except (FileNotFoundError, IsADirectoryError):
            raise _missing(section, name) from None

    async def delete(self, section: str, name: str) -> None:
        try:
            await self._beside(self._path(section, name).unlink)
        except FileNotFoundError:
            raise _missing(section, name) from None

    async def names(self, section: str) -> dict[str, float]:
        return await self._beside(_listed, self._path(section, "x").parent)

    async def place(self, section: str, name: str) -> Path:
        path = self._path(section, name)
        if not await self._beside(path.is_file):
            raise _missing(section, name)
        return path

    async def _beside(self, function: Callable[..., Result], *arguments: object) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        except (FileNotFoundError, FileExistsError, IsADirectoryError):
            raise
        except OSError as error:
            raise _unusable(error.strerror or str(error)) from error

    def _path(self, section: str, name: str) -> Path:
        return self._root / _key(section, name)


def _write(path: Path, data: bytes | BinaryIO, new: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # also "exists" and "not found", which are about the folder here
        raise _unusable(error.strerror or str(error)) from error
    with atomic_path(path, new=new) as temporary:
        if isinstance(data, bytes):
            temporary.write_bytes(data)
        else:
            data.seek(0)
            with temporary.open("wb") as file:
                shutil.copyfileobj(data, file, _PIECE)


def _listed(folder: Path) -> dict[str, float]:
    """Names and times. What a writer that was killed left half written goes, once it is certain that it was."""
    found = {}
    for entry in _entries(folder):
        with contextlib.suppress(FileNotFoundError):  # another process removed it meanwhile
            written = entry.stat(follow_symlinks=False).st_mtime
            if _KEY.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                found[entry.name] = written
            elif entry.name.endswith(".tmp") and written < time.time() - _LEFTOVER_S:
                os.unlink(entry)
    return dict(sorted(found.items()))


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if entry.is_file(follow_symlinks=False))
    except FileNotFoundError:
        return


class ObjectStore:
    """A `Store` in a bucket, or in memory: whatever obstore speaks to.

    Args:
        store: obstore's.
        shown: what messages call it.
        links: whether `place` may give addresses, where the store can sign them.
    """

    def __init__(self, store: obstore.store.ObjectStore, shown: str = "memory", links: bool = True) -> None:
        self._store = store
        self._shown = shown
        self._links = links

    async def put(self, section: str, name: str, data: bytes | BinaryIO, media_type: str = _BINARY) -> None:
        if not isinstance(data, bytes):
            data.seek(0)
        with self._errors(section, name):
            about: Attributes = {"Content-Type": media_type}
            await obstore.put_async(self._store, _key(section, name), data, attributes=about, max_concurrency=_UPLOADS)

    async def create(self, section: str, name: str, data: bytes) -> None:
        with self._errors(section, name):
            await obstore.put_async(self._store, _key(section, name), data, mode="create")

    async def get(self, section: str, name: str) -> bytes:
        with self._errors(section, name):
            answer = await obstore.get_async(self._store, _key(section, name))
            data = await answer.bytes_async()
        return bytes(data) if len(data) < _LARGE else await asyncio.to_thread(bytes, data)

    async def delete(self, section: str, name: str) -> None:
        with self._errors(section, name):
            await obstore.delete_async(self._store, _key(section, name))

    async def names(self, section: str) -> dict[str, float]:
        found = {}
        with self._errors(section, "x"):
            async for objects in obstore.list(self._store, section):
                for one in objects:
                    name = one["path"].rpartition("/")[2]
                    if one["path"] == f"{section}/{name}" and _KEY.fullmatch(name):
                        found[name] = one["last_modified"].timestamp()
        return dict(sorted(found.items()))

    async def place(self, section: str, name: str) -> str | AsyncIterator[bytes]:
        key = _key(section, name)
        with contextlib.suppress(BaseError, ValueError, NotImplementedError):  # no key to sign with, or nobody to ask
            if self._links and not isinstance(self._store, MemoryStore):
                expires = datetime.timedelta(seconds=_LINK_S)
                return await obstore.sign_async(self._store, "GET", key, expires)  # type: ignore[call-overload]
        with self._errors(section, name):
            return self._pieces(section, name, await obstore.get_async(self._store, key))

    async def _pieces(self, section: str, name: str, answer: "GetResult") -> AsyncIterator[bytes]:
        with self._errors(section, name):
            async for piece in answer.stream(_PIECE):
                yield bytes(piece)

    @contextlib.contextmanager
    def _errors(self, section: str, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise _missing(section, name) from None
        except AlreadyExistsError:
            raise _taken(section, name) from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise _unusable(f"{self._shown} refuses these credentials") from error
        except (BaseError, OSError) as error:
            reason = _first_line(error).rpartition(" - ")[2]  # before it: addresses
            raise _unusable(f"{self._shown} does not answer as it should ({reason})") from error


def _key(section: str, name: str) -> str:
    if _SECTION.fullmatch(section) is None or _KEY.fullmatch(name) is None:
        raise InputError(f"{name[:80]!r} is not a name in the store.", where="name")
    return f"{section}/{name}"


def _missing(section: str, name: str) -> NotFoundError:
    return NotFoundError(f"There is no {name} in {section}.", where="name")


def _taken(section: str, name: str) -> ConflictError:
    return ConflictError(f"There is {name} in {section} already.", where="name")


def _unusable(reason: str) -> OverloadError:
    return OverloadError(
        f"The service's store cannot be used: {reason}. Its operator has to see to it.", retry_after_s=_RETRY_S
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
