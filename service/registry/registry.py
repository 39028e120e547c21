"""Which models are served, under which names.

"dcgan" is the version in service (the highest, in natural order, that the gate let through), "dcgan@2" that one. An
alias stands for either. The folders are looked at again every few seconds: a new or replaced file is loaded, checked
and warmed beside the old one, then takes its place between two batches; a broken one is refused with its reason,
which GET /v1/models shows, and the old one goes on serving. So it does while the gate measures a new one (gate.py).
"""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

import models
from models.errors import GanError, InputError, NotFoundError, OverloadError
from service.engine.engine import Engine
from service.engine.sampler import Sampler
from service.engine.translator import Translator
from service.registry.checkpoints import AnyServed, Served, Source, Stamp, Unit, is_of, natural, scan
from service.registry.gate import Gate
from service.registry.verdicts import Pair, Verdict, pair_of
from service.settings import Settings
from service.telemetry import Telemetry

_log = logging.getLogger("gan")


@dataclass(frozen=True)
class Refusal:
    """A file that is not served, or not under its bare name, and why; `verdict` where it was the gate."""

    path: Path
    reason: str
    verdict: Verdict | None = None


class Registry:
    """Names to served models. Reads and swaps happen on the event loop, so that a reader never sees half a change.

    Args:
        gate: asked before a new version goes into service; None lets every one.
    """

    def __init__(self, settings: Settings, engine: Engine, telemetry: Telemetry, gate: Gate | None = None) -> None:
        self._settings = settings
        self._engine = engine
        self._telemetry = telemetry
        self._gate = gate
        self._shown: set[tuple[str, str]] = set()
        self._served: dict[Path, AnyServed] = {}
        self._waiting: dict[Path, AnyServed] = {}  # replaced files that the gate has yet to rule on
        self._stamps: dict[Path, Stamp] = {}
        self._current: dict[str, AnyServed] = {}
        self._aliases: dict[str, str] = {}
        self._refused: dict[Path, str] = {}
        self._verdicts: dict[Path, Verdict] = {}
        self._missing: set[Path] = set()
        self._looked = False

    @property
    def ready(self) -> bool:
        """Every model that can be loaded is, and whatever was configured by its own name is there.

        A file that cannot be loaded is refused, and keeps nobody else's model from being served; where nothing but such
        files was found, there is nothing to be ready for.
        """
        return self._looked and not self._missing and bool(self._served or not self._refused)

    @property
    def refusals(self) -> list[Refusal]:
        """By path."""
        held = {p: Refusal(p, one.reason, one) for p, one in self._verdicts.items() if one.state != "passed"}
        return [one for _, one in sorted({**held, **{p: Refusal(p, why) for p, why in self._refused.items()}}.items())]

    def verdict(self, one: AnyServed) -> Verdict | None:
        """What the gate said of this version; None where it was not asked."""
        verdict = self._verdicts.get(one.source.path)
        return verdict if verdict is not None and verdict.digest == one.digest else None

    def served(self) -> list[AnyServed]:
        """All versions of all models, by name and natural order of version."""
        return sorted(self._served.values(), key=lambda one: (one.source.name, natural(one)))

    def names_of(self, one: AnyServed) -> list[str]:
        """The names that lead to this version now: its id, its bare name when in service, aliases."""
        bare = [one.source.name] if self._current.get(one.source.name) is one else []
        aliases = [alias for alias in self._aliases if self._find(alias) is one]
        return [one.id, *bare, *sorted(aliases)]

    def sampler(self, name: str | None) -> Served[Sampler]:
        """The generator of that name; without a name, the first one in service.

        Raises:
            NotFoundError: no such model; the text lists those there are.
            InputError: it is of the other kind.
            OverloadError: the models are still being loaded.
        """
        return self._get(name, Sampler)

    def encoder(self, name: str | None) -> Served[Sampler]:
        """The same; without a name, the first one that has an encoder, if there is one."""
        if name is None:
            fitting = (key for key, one in self._current.items() if is_of(one, Sampler) and one.unit.encodes)
            name = min(fitting, default=None)
        return self.sampler(name)

    def translator(self, name: str | None) -> Served[Translator]:
        """The translator of that name; the same rules and errors."""
        return self._get(name, Translator)

    def any(self, name: str) -> AnyServed:
        """The model of that name, of either kind. Raises NotFoundError, OverloadError."""
        return self._there(self._find(name), name, sorted(self._current))

    def _get(self, name: str | None, kind: type[Unit]) -> Served[Unit]:
        fitting = sorted(key for key, one in self._current.items() if is_of(one, kind))
        one = self._find(name) if name else self._current.get(fitting[0]) if fitting else None
        one = self._there(one, name or "of this kind", fitting)
        if not is_of(one, kind):
            raise InputError(
                f"{name} is of kind {one.metadata.kind} and cannot do this; these can: {', '.join(fitting) or 'none'}.",
                where="model",
            )
        return one

    def _there(self, one: AnyServed | None, name: str, fitting: list[str]) -> AnyServed:
        if one is None and not self._looked:
            raise OverloadError("The models are still being loaded; /readyz says when they are.", retry_after_s=2)
        if one is None:
            there = ", ".join(fitting) or "none"
            raise NotFoundError(f"There is no model {name}; there are: {there}.", where="model")
        return one

    def _find(self, name: str) -> AnyServed | None:
        name = self._aliases.get(name, name)
        if name in self._current:
            return self._current[name]
        return next((one for one in self._served.values() if one.id == name), None)

    async def refresh(self) -> None:
        """Looks at the sources once, and loads, swaps and drops what changed."""
        found = await asyncio.to_thread(scan, self._settings)
        sources, skipped = found.sources, found.problems | found.strays
        for path, reason in skipped.items():
            if self._refused.get(path) != reason:
                _log.warning("skipped %s: %s", path, reason)
        await self._load_all(sources)
        for known in (self._served, self._waiting, self._verdicts, self._stamps):
            for path in [path for path in known if path not in sources]:
                del known[path]
        self._refused = {p: why for p, why in self._refused.items() if p in sources} | skipped
        self._aliases = found.aliases
        await self._settle()
        if not self._looked:
            self._missing = set(found.problems)
        self._missing &= set(found.problems)
        self._looked = True  # last, because it makes the service ready

    async def watch(self) -> None:
        """Refreshes again and again, and puts into service what the gate lets through; until cancelled."""
        while self._settings.reload_s or self._gate:
            ruled = await self._pause(self._settings.reload_s or None)
            try:
                await (self._settle() if ruled else self.refresh())
            except Exception:
                _log.exception("looking for new models failed; trying again in %s s", self._settings.reload_s)

    async def _pause(self, seconds: float | None) -> bool:
        """Waits; True when the gate has come to a verdict before the time was over."""
        ruled = self._gate.ruled if self._gate else asyncio.Event()
        try:
            await asyncio.wait_for(ruled.wait(), seconds)
        except TimeoutError:
            return False
        ruled.clear()
        return True

    async def _load_all(self, sources: dict[Path, tuple[Source, Stamp]]) -> None:
        for path, (source, stamp) in sources.items():
            if self._stamps.get(path) == stamp:
                continue
            self._stamps[path] = stamp
            self._waiting.pop(path, None)
            self._verdicts.pop(path, None)
            try:
                network = await asyncio.to_thread(models.load, path, device=self._settings.device)
                unit = await self._engine.serve(source.name, network)
            except Exception as error:  # whatever is wrong with one file, the others are served
                self._refused[path] = str(error) or type(error).__name__
                _log.warning("refused %s: %s", path, error, exc_info=not isinstance(error, GanError))
                continue
            self._refused.pop(path, None)
            new = Served(source, source.version or network.digest[:12], unit)
            if self._gate is not None and path in self._served and self._served[path].digest != new.digest:
                self._waiting[path] = new
            else:
                self._serve(new)

    def _serve(self, new: AnyServed) -> None:
        self._served[new.source.path] = new
        _log.info("serving %s from %s", new.id, new.source.path)

    async def _settle(self) -> None:
        """Swaps in the replaced files that may be, and puts the highest version of each name that may be into service.

        A file replaced in place has no other version to fall back to, so the gate is asked before the swap.
        """
        asked: set[Pair] = set()
        for path, new in list(self._waiting.items()):
            if await self._passes(new, self._served[path], asked):
                del self._waiting[path]
                self._serve(new)
        current: dict[str, AnyServed] = {}
        for one in self.served():  # ascending versions
            before = current.get(one.source.name)
            if before is None:
                self._forget_hold(one)
            if before is None or await self._passes(one, before, asked):
                current[one.source.name] = one
        self._current = current
        if self._gate is not None:
            self._gate.drop_all_but(asked)
        self._show()

    async def _passes(self, new: AnyServed, old: AnyServed, asked: set[Pair]) -> bool:
        if self._gate is None:
            return True
        asked.add(pair_of(new, old))
        verdict = self._verdicts[new.source.path] = await self._gate.ask(new, old)
        return verdict.state == "passed"

    def _forget_hold(self, one: AnyServed) -> None:
        """It is now the lowest version, with nothing to compare it with: drops an earlier "held"."""
        verdict = self.verdict(one)
        if verdict is not None and verdict.state != "passed":
            del self._verdicts[one.source.path]

    def _show(self) -> None:
        """gan_model_info: 1 for each version that is served, 0 for those that were."""
        now = {(one.id, one.digest) for one in self._served.values()}
        for model, digest in self._shown | now:
            self._telemetry.model_info.labels(model, digest).set((model, digest) in now)
        self._shown = now
