"""The gate: a new version goes into service only if its FID is no worse than the old one's by GAN_GATE_FID_MARGIN.

Both draw the same number of images from the same seeds, and each set's FID against the model's reference
(baselines.py) decides. That takes minutes, on a thread of the lowest priority, one model at a time, while the
old version serves and scores are answered. What was measured is kept in the store under the digests, so that neither a
restart nor another replica measures it again: of several, one does, and the others wait for it (lease.py). Where a
model has no reference, and for translators, which need photos to work on, the FIDs that the two files record are
compared: a translator's in each direction.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import metrics
from metrics import FeatureSet
from models.errors import GanError, NotFoundError, OverloadError
from service.call import Progress
from service.engine.sampler import Sampler
from service.registry.checkpoints import AnyServed, Served, is_of
from service.registry.lease import Lease
from service.registry.verdicts import Pair, State, Verdict, fids_of, pair_of, recorded
from service.scoring import sets
from service.scoring.baselines import ModelReferences
from service.scoring.references import digest_of
from service.scoring.worker import Work, Worker, keep_to_the_background
from service.settings import Settings
from service.storage import Store

_log = logging.getLogger("gan")
_SECTION = "gate"
_SEED = 0
_LOOK_S = 2.0  # between looks for what another replica measures
_RETRY_S = 30.0  # after which what could not be measured is tried again


class Gate:
    """Rules on versions. Everything but the measuring happens on the event loop.

    Attributes:
        ruled: set when a measurement has come to its end; ask again then.

    Args:
        margin: by how much a new FID may be higher.
        extractor: called once, on the gate's thread.
    """

    def __init__(
        self,
        settings: Settings,
        margin: float,
        references: ModelReferences,
        store: Store,
        extractor: Callable[[], metrics.Extractor],
    ) -> None:
        self.ruled = asyncio.Event()
        self._settings = settings
        self._margin = margin
        self._references = references
        self._store = store
        self._extractor = extractor
        self._verdicts: dict[Pair, Verdict] = {}
        self._again_at: dict[Pair, float] = {}
        self._work: dict[Pair, asyncio.Task[None]] = {}
        self._worker = Worker("gate", keep_to_the_background)

    async def ask(self, new: AnyServed, old: AnyServed) -> Verdict:
        """The verdict, at once where it is known; else one whose state is "measuring", and the measuring begins."""
        pair = pair_of(new, old)
        known = self._verdicts.get(pair)
        if known is not None and time.monotonic() < self._again_at.get(pair, float("inf")):
            return known
        verdict = await self._first_look(new, old)
        self._verdicts[pair] = verdict
        return verdict

    async def _first_look(self, new: AnyServed, old: AnyServed) -> Verdict:
        pair, model = pair_of(new, old), new.source.name
        self._again_at.pop(pair, None)
        try:
            if not (is_of(new, Sampler) and is_of(old, Sampler) and await self._references.known(model)):
                return self._by_files(new, old)
            reference = await self._references.load(model)
        except Exception as error:  # whatever is wrong with one reference, the other models are served
            return self._unmeasured(new, old, error)
        fid, before = await self._kept(new, reference), await self._kept(old, reference)
        if fid is not None and before is not None:
            return self._compared(new, old, fid, before)
        self._work[pair] = asyncio.create_task(self._measure(new, old, reference))
        return self._verdict("measuring", new, old, "is being measured, and the one in service goes on meanwhile.")

    def drop_all_but(self, pairs: set[Pair]) -> None:
        """Forgets what is not asked for any more, and stops measuring it."""
        for pair in [pair for pair in self._verdicts if pair not in pairs]:
            del self._verdicts[pair]
            self._again_at.pop(pair, None)
            if pair in self._work:
                self._work.pop(pair).cancel()

    async def close(self) -> None:
        """Stops what is being measured."""
        for task in self._work.values():
            task.cancel()
        await asyncio.to_thread(self._worker.close)

    async def _measure(self, new: Served[Sampler], old: Served[Sampler], reference: FeatureSet) -> None:
        pair, loop = pair_of(new, old), asyncio.get_running_loop()
        try:
            fids = []
            for one, before in ((old, 0), (new, self._settings.gate_images)):
                work = partial(self._fid, one, reference, loop)
                fids.append(await self._measured(one, reference, work, partial(self._progress, pair, before)))
            verdict = self._compared(new, old, fids[1], fids[0])
        except Exception as error:
            verdict = self._unmeasured(new, old, error)
        self._verdicts[pair] = verdict
        self._work.pop(pair, None)
        self.ruled.set()

    async def _measured(
        self, one: Served[Sampler], reference: FeatureSet, work: Work[float], progress: Progress
    ) -> float:
        """This version's FID: what `work` gives, or another replica that is at it already."""
        lease = Lease(self._store, _SECTION, self._key(one, reference).replace(".json", ".lease"))
        while (fid := await self._kept(one, reference)) is None:
            if await lease.take():
                async with lease.held():
                    fid = await self._kept(one, reference)  # kept between the look and the lease
                    if fid is None:
                        fid = await self._worker.run(work, progress)
                        await self._keep(one, reference, fid)
                    return fid
            await asyncio.sleep(_LOOK_S)
        return fid

    def _fid(
        self, one: Served[Sampler], reference: FeatureSet, loop: asyncio.AbstractEventLoop, report: Progress
    ) -> float:
        """FID of what this version draws. On the gate's thread."""
        drawn = metrics.statistics(
            sets.stream(one.unit, one.id, self._settings.gate_images, _SEED, None, loop),
            protocol=reference.statistics.protocol or "pytorch-fid",
            extractor=self._extractor(),
            workers=1,
            progress=report,
        )
        return metrics.frechet_distance(drawn, reference.statistics)

    def _progress(self, pair: Pair, before: int, done: int, _: int) -> None:
        if pair in self._verdicts and pair in self._work:
            self._verdicts[pair] = replace(self._verdicts[pair], done=before + done)

    def _key(self, one: AnyServed, reference: FeatureSet) -> str:
        parts = [one.digest, digest_of(reference.statistics), self._settings.gate_images, self._settings.precision]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40] + ".json"

    async def _kept(self, one: AnyServed, reference: FeatureSet) -> float | None:
        """This version's FID, where it was measured before."""
        try:
            data = await self._store.get(_SECTION, self._key(one, reference))
            return float(json.loads(data)["fid"])
        except (NotFoundError, ValueError, KeyError, TypeError):  # none, or one that cannot be read
            return None

    async def _keep(self, one: AnyServed, reference: FeatureSet, fid: float) -> None:
        data = json.dumps({"fid": fid, "model": one.id}).encode()
        with contextlib.suppress(OverloadError):  # a full disk costs another measurement, not the verdict
            await self._store.put(_SECTION, self._key(one, reference), data)

    def _compared(self, new: AnyServed, old: AnyServed, fid: float, before: float) -> Verdict:
        passed = fid <= before + self._margin
        return replace(
            self._verdict(
                "passed" if passed else "held",
                new,
                old,
                f"has a FID of {fid:.2f}, {old.id} one of {before:.2f}, with a margin of {self._margin:g}.",
            ),
            fid=fid,
            fid_in_service=before,
            done=2 * self._settings.gate_images,
        )

    def _unmeasured(self, new: AnyServed, old: AnyServed, error: Exception) -> Verdict:
        if not isinstance(error, GanError):
            _log.error("measuring %s failed", new.id, exc_info=error)
        self._again_at[pair_of(new, old)] = time.monotonic() + _RETRY_S
        return self._verdict("held", new, old, f"could not be measured: {str(error) or type(error).__name__}")

    def _by_files(self, new: AnyServed, old: AnyServed) -> Verdict:
        worse = recorded(new.metadata, old.metadata, self._margin)
        fine = "is no worse, by what the two files record."
        if not fids_of(old.metadata):
            fine = f"passes unmeasured: {old.id} records no FID, and there is nothing to measure the two against."
        return replace(
            self._verdict("held" if worse else "passed", new, old, worse or fine), images=None, reference=None
        )

    def _verdict(self, state: State, new: AnyServed, old: AnyServed, what: str) -> Verdict:
        """With the sentence "{new} {what}", which is also logged."""
        verdict = Verdict(
            state,
            new.id,
            new.digest,
            old.id,
            self._margin,
            f"{new.id} {what}",
            images=self._settings.gate_images,
            reference=self._references.name(new.source.name),
        )
        _log.log(logging.WARNING if state == "held" else logging.INFO, "gate: %s: %s", state, verdict.reason)
        return verdict
