"""Tells a client's server when a job is over (https://www.standardwebhooks.com): signed, tried again, at least once.

A job that is to be told of has a file, ID.callback, from its submission until it has been told, or given up. Who makes
the next attempt creates ID-N.try, so that of all replicas one makes it; should that one die, the next attempt is due
after its pause all the same. The message has one id in all attempts.
"""

import asyncio
import dataclasses
import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import aiohttp
from yarl import URL

from models.errors import ConflictError, OverloadError
from service.jobs.callbacks import Callbacks, Resolver
from service.jobs.kept import Kept
from service.jobs.records import Delivery, Record
from service.jobs.view import view

_TIMEOUT_S = 10.0  # of one attempt
_AT_ONCE = 8
_GONE = 410  # "do not call again", says the standard
_log = logging.getLogger("gan")


class Webhooks:
    """Makes attempts, in the background."""

    def __init__(self, kept: Kept, callbacks: Callbacks) -> None:
        self._kept = kept
        self._callbacks = callbacks
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    def check(self, url: str) -> None:
        """Raises InputError for an address that is not called."""
        self._callbacks.check(url)

    def first(self, job_id: str) -> None:
        """A job has ended: tells of it."""
        self._start(job_id, 1)

    def next(self, job_id: str, tries: Mapping[int, float]) -> None:
        """Makes the next attempt, if it is due. `tries` were made, each begun at so many seconds since 1970."""
        last = max(tries, default=0)
        if last and time.time() - tries[last] < self._pause_s(last):
            return
        self._start(job_id, last + 1)

    def _pause_s(self, last: int) -> float:
        """After so many attempts; after the last one, until it is certain that nobody makes it."""
        pauses_s = self._callbacks.pauses_s
        return pauses_s[last - 1] if last <= len(pauses_s) else pauses_s[0]

    async def close(self) -> None:
        """What is cut short here is tried again later."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _start(self, job_id: str, number: int) -> None:
        if job_id not in self._under_way:
            task = self._under_way[job_id] = asyncio.create_task(self._tell(job_id, number))
            task.add_done_callback(lambda _: self._under_way.pop(job_id))

    async def _tell(self, job_id: str, number: int) -> None:
        try:
            async with self._turns:
                await self._attempt(job_id, number)
        except (ConflictError, OverloadError):
            pass  # another makes this attempt; or the store is away, and it comes again
        except Exception:
            _log.exception("job %s: its callback could not be called", job_id)

    async def _attempt(self, job_id: str, number: int) -> None:
        record = await self._kept.ending(job_id)
        if record is None:
            return
        delivery = await self._kept.delivery(job_id)
        # an equal idempotency key came with a callback, and was refused; or who told of it died before saying so
        if record.callback is None or delivery.state != "pending":
            await self._kept.told(job_id, number)
            return
        most = len(self._callbacks.pauses_s) + 1
        if number > most:  # who made the last one died
            delivery = dataclasses.replace(delivery, state="failed")
        else:
            await self._kept.try_to_tell(job_id, number)
            status, error = await self._call(record)
            delivery = Delivery(_state(status, last=number == most), number, time.time(), status, error)
        await self._kept.keep_delivery(job_id, delivery)
        if delivery.state != "pending":
            await self._kept.told(job_id, number)

    async def _call(self, record: Record) -> tuple[int | None, str | None]:
        """The status of the answer, or why there was none."""
        body = json.dumps(message(record), separators=(",", ":"))
        headers = self._headers(f"job_{record.id}", body)
        try:
            post = self._open().post(URL(str(record.callback)), data=body, headers=headers, allow_redirects=False)
            async with post as answer:
                return answer.status, None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return None, (str(error) or type(error).__name__)[:200]

    def _headers(self, ident: str, body: str) -> dict[str, str]:
        now = datetime.now(UTC)
        return {
            "Content-Type": "application/json",
            "User-Agent": "gan-service",
            "webhook-id": ident,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signer.sign(ident, now, body) for signer in self._callbacks.signers),
        }

    def _open(self) -> aiohttp.ClientSession:
        """Of its own connection for each call, and nobody else's: no proxy of the environment, no cookies."""
        if self._session is None:
            connector = aiohttp.TCPConnector(resolver=Resolver(self._callbacks), use_dns_cache=False, force_close=True)
            timeout, jar = aiohttp.ClientTimeout(total=_TIMEOUT_S), aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=jar)
        return self._session


def _state(status: int | None, last: bool) -> Literal["pending", "delivered", "failed"]:
    if status is not None and 200 <= status < 300:
        return "delivered"
    return "failed" if last or status == _GONE else "pending"


def message(record: Record) -> dict[str, object]:
    """What is told of a job that is over: the same in every attempt."""
    job = view(dataclasses.replace(record, callback=None)).model_dump(mode="json")
    return {"type": f"job.{record.state}", "timestamp": job["finished_at"], "data": job}
