"""Checkpoint files and what they are called: where they are looked for, their names and versions.

dcgan.safetensors          model "dcgan", its version is its digest's first 12 digits
dcgan@2.safetensors        model "dcgan", version "2"
a BentoML tag dcgan:v3     model "dcgan", version "v3"

What lies in a folder and cannot be a model (another kind of name, no regular file, a second one of the same name) is a
stray: named, and skipped.
"""

import json
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeGuard, TypeVar

import models
from models import legible
from models.errors import CheckpointError
from service.engine.sampler import Sampler
from service.engine.translator import Translator
from service.settings import Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_VERSION = re.compile(r"[A-Za-z0-9._+-]{0,100}")

Stamp = tuple[int, int, int]  # modification time, size, inode


@dataclass(frozen=True)
class Source:
    """A checkpoint file and the name it is to be served under; version "" stands for the digest's."""

    name: str
    version: str
    path: Path
    origin: str  # "folder" or "bentoml"


Unit = TypeVar("Unit", bound=Sampler | Translator, covariant=True)


@dataclass(frozen=True, eq=False)
class Served(Generic[Unit]):
    """One version of one model, loaded and warm."""

    source: Source
    version: str
    unit: Unit

    @property
    def id(self) -> str:
        return f"{self.source.name}@{self.version}"

    @property
    def digest(self) -> str:
        return self.unit.network.digest

    @property
    def metadata(self) -> models.Metadata:
        return self.unit.network.metadata


AnyServed = Served[Sampler | Translator]


def is_of(one: AnyServed, kind: type[Unit]) -> TypeGuard[Served[Unit]]:
    """Whether the model is of this kind."""
    return isinstance(one.unit, kind)


def natural(one: AnyServed) -> tuple[tuple[int, int, str], ...]:
    """Version 10 comes after 9; a file without a version in its name comes before all that have one."""
    parts = re.findall(r"[0-9]+|[^0-9]+", one.source.version)
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


@dataclass(frozen=True)
class Found:
    """What is there now, by path.

    Attributes:
        sources: files to load.
        problems: folders and tags that were configured and are not there: until they are, the service is not ready.
        strays: what cannot be a model, and why: skipped.
        aliases: other names of models.
    """

    sources: dict[Path, tuple[Source, Stamp]] = field(default_factory=dict)
    problems: dict[Path, str] = field(default_factory=dict)
    strays: dict[Path, str] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


def scan(settings: Settings) -> Found:
    """Looks at every folder and BentoML tag of the settings."""
    found = Found()
    copies = (settings.model_cache,) if settings.model_bucket is not None else ()
    for folder in (*copies, *settings.models):
        if not folder.is_dir():
            found.problems[folder] = "There is no such folder."
            continue
        try:
            found.aliases.update(_read_aliases(folder / "aliases.json"))
        except (ValueError, OSError, RecursionError) as error:
            found.strays[folder / "aliases.json"] = str(error)
        for source in _files(folder):
            _add(source, found)
    for tag in settings.bento_models:
        try:
            _add(_bento_source(tag), found)
        except Exception as error:  # BentoML's store raises its own kinds
            found.problems[Path(tag)] = f"BentoML's store: {error}"
    found.aliases.update(settings.aliases)
    return found


def _add(source: Source, found: Found) -> None:
    if not _NAME.fullmatch(source.name):
        found.strays[source.path] = "A model's name is letters, digits, dots, dashes and underscores."
        return
    if not _VERSION.fullmatch(source.version):
        found.strays[source.path] = "A version is up to 100 letters, digits, dots, dashes, underscores and plus signs."
        return
    same = (one for one, _ in found.sources.values() if (one.name, one.version) == (source.name, source.version))
    if (twin := next(same, None)) is not None:
        found.strays[source.path] = f"{twin.path} has the same name and version and came first."
        return
    try:
        status = source.path.stat()
    except OSError as error:
        found.strays[source.path] = str(error)
        return
    if not stat.S_ISREG(status.st_mode):
        found.strays[source.path] = "It is not a regular file."
        return
    found.sources[source.path] = (source, (status.st_mtime_ns, status.st_size, status.st_ino))


def _files(folder: Path) -> Iterable[Source]:
    for path in sorted(folder.glob("*.safetensors")):
        if not path.name.startswith("."):  # files being written
            name, _, version = path.stem.partition("@")
            yield Source(name, version, path, "folder")


def _bento_source(tag: str) -> Source:
    import bentoml

    model = bentoml.models.get(tag)
    files = sorted(Path(model.path).glob("*.safetensors"))
    if len(files) != 1:
        raise CheckpointError(f"{tag} has {len(files)} .safetensors files; it must have one.")
    return Source(model.tag.name, model.tag.version or "", files[0], "bentoml")


def _read_aliases(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    if not path.is_file():  # reading a fifo would wait for a writer
        raise ValueError("It is not a regular file.")
    aliases = json.loads(path.read_text())
    if not isinstance(aliases, dict) or not all(isinstance(v, str) for v in aliases.values()):
        raise ValueError('aliases.json is one object of names, such as {"default": "dcgan"}.')
    return {legible(alias): legible(name) for alias, name in aliases.items()}
