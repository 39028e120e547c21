"""Checkpoint files and what they are called: where they are looked for, their names and versions.

dcgan.safetensors          model "dcgan", its version is its digest's first 12 digits
dcgan@2.safetensors        model "dcgan", version "2"
a BentoML tag dcgan:v3     model "dcgan", version "v3"
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeGuard, TypeVar

import models
from models.errors import CheckpointError
from service.engine.sampler import Sampler
from service.engine.translator import Translator
from service.settings import Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

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
    parts = re.findall(r"\d+|\D+", one.source.version)
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


def scan(
    settings: Settings,
) -> tuple[dict[Path, tuple[Source, Stamp]], dict[Path, str], dict[str, str]]:
    """What is there now: sources by path, problems by path, aliases."""
    sources: dict[Path, tuple[Source, Stamp]] = {}
    problems: dict[Path, str] = {}
    aliases: dict[str, str] = {}
    for folder in settings.models:
        if not folder.is_dir():
            problems[folder] = "There is no such folder."
            continue
        try:
            aliases |= _read_aliases(folder / "aliases.json")
        except (ValueError, OSError) as error:
            problems[folder / "aliases.json"] = str(error)
        for source in _files(folder):
            _add(source, sources, problems)
    for tag in settings.bento_models:
        try:
            _add(_bento_source(tag), sources, problems)
        except Exception as error:  # BentoML's store raises its own kinds
            problems[Path(tag)] = f"BentoML's store: {error}"
    return sources, problems, aliases | settings.aliases


def _add(source: Source, sources: dict[Path, tuple[Source, Stamp]], problems: dict[Path, str]) -> None:
    if not _NAME.fullmatch(source.name):
        problems[source.path] = "A model's name is letters, digits, dots, dashes and underscores."
        return
    twin = next((one for one, _ in sources.values() if (one.name, one.version) == (source.name, source.version)), None)
    if twin is not None:
        problems[source.path] = f"{twin.path} has the same name and version and came first."
        return
    try:
        stat = source.path.stat()
    except OSError as error:
        problems[source.path] = str(error)
        return
    sources[source.path] = (source, (stat.st_mtime_ns, stat.st_size, stat.st_ino))


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
    aliases = json.loads(path.read_text())
    if not isinstance(aliases, dict) or not all(isinstance(v, str) for v in aliases.values()):
        raise ValueError('aliases.json is one object of names, such as {"default": "dcgan"}.')
    return aliases
