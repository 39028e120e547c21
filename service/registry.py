"""Which models are served, under which names, in which versions.

    dcgan.safetensors          model "dcgan", its version is its digest's first 12 digits
    dcgan@2.safetensors        model "dcgan", version "2"
    a BentoML tag dcgan:v3     model "dcgan", version "v3"

"dcgan" is the version in service (the highest, in natural order, that the gate let through), "dcgan@2" that one. An
alias stands for either. The folders are looked at again every few seconds: a new or replaced file is loaded, checked
and warmed beside the old one, then takes its place between two batches; a broken one is refused with its reason,
which GET /v1/models shows, and the old one goes on serving.
"""

import asyncio
import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import models
from models.errors import CheckpointError, GanError, InputError, NotFoundError, OverloadError
from service.engine import Engine, Sampler
from service.settings import Settings
from service.telemetry import Telemetry
from service.translator import Translator

_log = logging.getLogger("gan")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Stamp = tuple[int, int, int]  # modification time, size, inode


@dataclass(frozen=True)
class Source:
    """A checkpoint file and the name it is to be served under; version "" stands for the digest's."""

    name: str
    version: str
    path: Path
    origin: str  # "folder" or "bentoml"


@dataclass(frozen=True, eq=False)
class Served:
    """One version of one model, loaded and warm."""

    source: Source
    version: str
    unit: Sampler | Translator

    @property
    def id(self) -> str:
        return f"{self.source.name}@{self.version}"

    @property
    def digest(self) -> str:
        return self.unit.network.digest

    @property
    def metadata(self) -> models.Metadata:
        return self.unit.network.metadata


@dataclass(frozen=True)
class Refusal:
    """A file that is not served, or not under its bare name, and why."""

    path: Path
    reason: str


class Registry:
    """Names to served models. Reads and swaps happen on the event loop, so that a reader never sees half a change."""

    def __init__(self, settings: Settings, engine: Engine, telemetry: Telemetry) -> None:
        self._settings = settings
        self._engine = engine
        self._telemetry = telemetry
        self._shown: set[tuple[str, str]] = set()
        self._served: dict[Path, Served] = {}
        self._stamps: dict[Path, Stamp] = {}
        self._current: dict[str, Served] = {}
        self._aliases: dict[str, str] = {}
        self._refused: dict[Path, str] = {}
        self._held: dict[Path, str] = {}
        self._required: set[Path] | None = None

    @property
    def ready(self) -> bool:
        """Every model that was configured at the start, and still is there, is loaded and warm."""
        return self._required is not None and all(
            path in self._served or path not in self._refused for path in self._required
        )

    @property
    def refusals(self) -> list[Refusal]:
        return [Refusal(path, reason) for path, reason in sorted({**self._held, **self._refused}.items())]

    def served(self) -> list[Served]:
        """All versions of all models, by name and natural order of version."""
        return sorted(self._served.values(), key=lambda one: (one.source.name, _natural(one)))

    def names_of(self, one: Served) -> list[str]:
        """The names that lead to this version now: its id, its bare name when in service, aliases."""
        bare = [one.source.name] if self._current.get(one.source.name) is one else []
        aliases = [alias for alias in self._aliases if self._find(alias) is one]
        return [one.id, *bare, *sorted(aliases)]

    def get(self, name: str | None, kind: type[Sampler] | type[Translator]) -> Served:
        """The model of that name; without a name, the first of the kind that is in service.

        Raises:
            NotFoundError: no such model; the text lists those there are.
            InputError: it is of the other kind.
        """
        fitting = sorted(key for key, one in self._current.items() if isinstance(one.unit, kind))
        one = self._find(name) if name else self._current.get(fitting[0]) if fitting else None
        if one is None and self._required is None:
            raise OverloadError("The models are still being loaded; /readyz says when they are.", retry_after_s=2)
        if one is None:
            there = ", ".join(fitting) or "none"
            raise NotFoundError(f"There is no model {name or 'of this kind'}; there are: {there}.", where="model")
        if not isinstance(one.unit, kind):
            raise InputError(
                f"{name} is of kind {one.metadata.kind} and cannot do this; these can: {', '.join(fitting) or 'none'}.",
                where="model",
            )
        return one

    def _find(self, name: str) -> Served | None:
        name = self._aliases.get(name, name)
        if name in self._current:
            return self._current[name]
        return next((one for one in self._served.values() if one.id == name), None)

    async def refresh(self) -> None:
        """Looks at the sources once, and loads, swaps and drops what changed."""
        sources, problems, aliases = await asyncio.to_thread(_scan, self._settings)
        if self._required is None:
            await self._load_all(sources)
            self._required = {*sources, *problems}
        else:
            await self._load_all(sources)
        for path in [path for path in self._served if path not in sources]:
            del self._served[path]
        self._stamps = {path: stamp for path, stamp in self._stamps.items() if path in sources}
        self._refused = {p: why for p, why in self._refused.items() if p in sources} | problems
        self._aliases = aliases
        self._choose()
        self._show()

    async def watch(self) -> None:
        """Refreshes until cancelled."""
        while self._settings.reload_s:
            await asyncio.sleep(self._settings.reload_s)
            try:
                await self.refresh()
            except Exception:
                _log.exception("looking for new models failed; trying again in %s s", self._settings.reload_s)

    async def _load_all(self, sources: dict[Path, tuple[Source, Stamp]]) -> None:
        for path, (source, stamp) in sources.items():
            if self._stamps.get(path) == stamp:
                continue
            self._stamps[path] = stamp
            try:
                network = await asyncio.to_thread(models.load, path, device=self._settings.device)
                self._gate(source, network)
                unit = await self._engine.serve(source.name, network)
            except Exception as error:  # whatever is wrong with one file, the others are served
                self._refused[path] = str(error) or type(error).__name__
                _log.warning("refused %s: %s", path, error, exc_info=not isinstance(error, GanError))
                continue
            self._refused.pop(path, None)
            self._served[path] = Served(source, source.version or network.digest[:12], unit)
            _log.info("serving %s from %s", self._served[path].id, path)

    def _gate(self, source: Source, network: models.Generator | models.Translator) -> None:
        """A file replaced in place has no other version to fall back to, so the gate is asked before the swap."""
        old = self._served.get(source.path)
        if old is not None and (reason := self._worse(network.metadata, old.metadata)):
            raise CheckpointError(reason)

    def _worse(self, new: models.Metadata, old: models.Metadata) -> str | None:
        margin = self._settings.gate_fid_margin
        return None if margin is None else fid_verdict(new, old, margin)

    def _show(self) -> None:
        """gan_model_info: 1 for each version that is served, 0 for those that were."""
        now = {(one.id, one.digest) for one in self._served.values()}
        for model, digest in self._shown | now:
            self._telemetry.model_info.labels(model, digest).set((model, digest) in now)
        self._shown = now

    def _choose(self) -> None:
        """Puts the highest version of each name into service, if the gate lets it."""
        self._held = {}
        current: dict[str, Served] = {}
        for one in self.served():  # ascending versions
            name = one.source.name
            before = current.get(name)
            if before is not None and (reason := self._worse(one.metadata, before.metadata)):
                self._held[one.source.path] = f"{one.id} is served under that name only: {reason}"
            else:
                current[name] = one
        self._current = current


def fid_verdict(new: models.Metadata, old: models.Metadata, margin: float) -> str | None:
    """None where the new checkpoint's recorded FID is at most the old one's plus the margin, else the reason."""
    new_fid, old_fid = new.metrics.get("fid"), old.metrics.get("fid")
    if not isinstance(old_fid, dict):
        return None
    if not isinstance(new_fid, dict):
        return "its file records no FID, and the version in service has one."
    for key in ("protocol", "reference"):
        if new_fid.get(key) != old_fid.get(key):
            return f"its FID was measured with another {key} ({new_fid.get(key)}, not {old_fid.get(key)})."
    if not float(new_fid["value"]) <= float(old_fid["value"]) + margin:
        return (
            f"its FID is {new_fid['value']:.2f}, against {old_fid['value']:.2f} in service and a margin of {margin:g}."
        )
    return None


def _natural(one: Served) -> tuple[tuple[int, int, str], ...]:
    """Version 10 comes after 9; a file without a version in its name comes before all that have one."""
    parts = re.findall(r"\d+|\D+", one.source.version)
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


def _scan(
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
        for source in (*_files(folder),):
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
