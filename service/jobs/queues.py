"""Where jobs wait: a queue of SAQ's for each kind, in this process or on the server that GAN_JOBS names.

A queue says who works next, and how far a running job is; what is true of a job is in the store (kept.py). So a
queue may lose everything, or be gone for a while: `ask` answers within two seconds either way, and workers try again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from saq.errors import MissingDependencyError
from saq.job import Job, Status
from saq.queue import Queue

from models import addresses
from models.errors import OverloadError
from service.jobs.local_queue import LocalQueue
from service.setting_values import ESCAPED

_MARK = "gan-store"
_ANSWER_S = 1.5  # a client is told within two seconds that the queue is gone
_RETRY_S = 5.0
_CONNECT_S = 10.0
_LISTEN_S = 2.0  # a worker asks again at least so often, in case a notice was lost
_log = logging.getLogger("gan")
logging.getLogger("saq").setLevel(logging.CRITICAL)  # a traceback a second for each kind while the server is gone
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # a line for each try to connect

Result = TypeVar("Result")


class Queues:
    """The queues of all kinds of jobs, over one pool of connections.

    Args:
        url: redis://, rediss:// or postgres://; None for this process.
    Raises:
        ValueError: another scheme, or the driver is not installed.
    """

    def __init__(self, url: str | None) -> None:
        self._queues: dict[str, Queue] = {}
        self._shown = addresses.without_secrets(url) if url else "of this process"
        self.shared = url is not None
        """Whether other processes take jobs from it, and put jobs into it."""
        self._pool: Any = None
        self._new: Callable[[str], Queue] = LocalQueue
        self.listen_s = _LISTEN_S if url else 0.0
        if url is not None:
            self._open(url)

    def _open(self, url: str) -> None:
        kind = addresses.scheme(url)
        if kind not in ("redis", "rediss", "postgres", "postgresql"):
            raise ValueError("GAN_JOBS begins with redis://, rediss:// or postgres://.")
        try:
            if kind.startswith("redis"):
                self._over_redis(url)
            else:
                self._over_postgres(url)
        except ValueError:  # whose text may hold a piece of a password
            raise ValueError(f"GAN_JOBS: {self._shown} {ESCAPED}") from None
        except (MissingDependencyError, ModuleNotFoundError):
            raise ValueError(
                f"GAN_JOBS begins with {kind}://, and its driver is not installed: "
                "pip install -c constraints.txt -r requirements-scale.txt"
            ) from None

    def _over_redis(self, url: str) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from saq.queue.redis import RedisQueue

        # Longer than a worker listens; and no tries of its own, which take longer than a client waits.
        redis: Any = Redis.from_url(
            url, socket_connect_timeout=_ANSWER_S, socket_timeout=2.5 * _LISTEN_S, retry=Retry(NoBackoff(), 0)
        )
        self._new = lambda name: RedisQueue(redis, name=name)
        self._pool = _RedisPool(redis)

    def _over_postgres(self, url: str) -> None:
        from psycopg_pool import AsyncConnectionPool
        from saq.queue.postgres import PostgresQueue

        pool = AsyncConnectionPool(
            url,
            open=False,
            min_size=2,
            max_size=16,
            timeout=_ANSWER_S,
            check=AsyncConnectionPool.check_connection,
            kwargs={"autocommit": True, "connect_timeout": 2, "tcp_user_timeout": 5000},
        )
        self._new = lambda name: PostgresQueue(pool=pool, name=name)
        self._pool = pool

    def of(self, kind: str) -> Queue:
        """The queue of a kind, `gan-KIND`; made when it is first asked for."""
        if kind not in self._queues:
            queue = self._queues[kind] = self._new(f"gan-{kind}")
            queue.dequeue = _patient(queue.dequeue)  # type: ignore[method-assign, assignment]
        return self._queues[kind]

    async def connect(self) -> None:
        """Raises ValueError where the server cannot be reached, or does not let us in."""
        try:
            async with asyncio.timeout(_CONNECT_S):
                if self._pool is not None:
                    await self._pool.open()
                for queue in self._queues.values():
                    await queue.connect()
                    await queue.count("incomplete")
        except Exception as error:  # each driver has its own
            await self.close()
            raise ValueError(f"GAN_JOBS: {self._shown} cannot be used ({type(error).__name__}).") from None

    async def join(self, store: str, watch_s: float) -> None:
        """Makes sure that all who share the server keep their jobs in one store, which `store` tells from others.

        The first to come leaves a mark, in a queue that nobody works on, and each renews it (`stay`). One that is not
        renewed is of a service that is gone.

        Args:
            watch_s: how long to look whether another's mark is renewed.
        Raises:
            ValueError: it is.
        """
        self._mark = self._new(_MARK)
        await self._mark.connect()
        self._store = store
        mark = await self._marked()
        end = time.monotonic() + watch_s
        while mark.meta.get("store") != store and time.monotonic() < end:
            await asyncio.sleep(watch_s / 20)
            before, mark = mark, await self._marked()
            if mark.touched != before.touched:
                await self.close()
                raise ValueError(
                    f"GAN_JOBS: {self._shown} is shared with others whose GAN_STORE is another. Who works on a job has "
                    "to find it in the store: give all of them one bucket, or one folder that they all mount."
                )
        if mark.meta.get("store") != store:
            await mark.update(meta={"store": store})

    async def stay(self) -> None:
        """Renews the mark that `join` left, which a server that lost its data has forgotten. Raises OverloadError."""
        mark = await self.ask(self._marked())
        if mark.meta.get("store") == self._store:
            await self.ask(mark.update())
        else:
            _log.error("others that use the queue %s keep their jobs in another GAN_STORE", self._shown)

    async def _marked(self) -> Job:
        mine = Job(function=_MARK, key=_MARK, timeout=0, ttl=-1, meta={"store": self._store})
        await self._mark.enqueue(mine)  # unless there is one
        return await self._mark.job(_MARK) or mine

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()

    async def enqueue(self, kind: str, job_id: str) -> None:
        """Queues a job unless it is queued already. Raises OverloadError.

        SAQ's own limits of time and attempts are off: who is alive, and how often a job is begun, is told by jobs.py.
        """
        job = Job(function="run", key=job_id, timeout=0, heartbeat=0, retries=2**31, ttl=-1)
        await self.ask(self.of(kind).enqueue(job))

    async def job(self, kind: str, job_id: str) -> Job | None:
        """Raises OverloadError."""
        return await self.ask(self.of(kind).job(job_id))

    async def count(self) -> int:
        """Jobs that wait or run, of every kind. Raises OverloadError."""
        return sum(await self.ask(asyncio.gather(*(queue.count("incomplete") for queue in self._queues.values()))))

    async def running(self, kind: str) -> list[Job]:
        """Jobs of a kind that somebody has taken from the queue. Raises OverloadError."""

        async def found() -> list[Job]:
            return [job async for job in self.of(kind).iter_jobs([Status.ACTIVE, Status.ABORTING])]

        return await self.ask(found())

    async def counts(self, kind: str) -> dict[str, int]:
        """Jobs of a kind that wait and run. Raises OverloadError."""
        queue = self.of(kind)
        waiting, running = await self.ask(asyncio.gather(queue.count("queued"), queue.count("active")))
        return {"queued": waiting, "running": running}

    async def ask(self, answer: Awaitable[Result]) -> Result:
        """Raises OverloadError where the server gives no answer soon; a driver may take longer to give up by itself."""
        asked = asyncio.ensure_future(answer)
        asked.add_done_callback(lambda one: one.cancelled() or one.exception())  # it may fail after we have left
        try:
            await asyncio.wait({asked}, timeout=_ANSWER_S)
            if asked.done():
                return asked.result()
            error: Exception = TimeoutError()
        except Exception as one:  # each driver has its own
            error = one
        finally:
            asked.cancel()
        _log.warning("the queue of jobs %s does not answer: %s", self._shown, type(error).__name__)
        raise OverloadError("The queue of jobs does not answer; try again later.", retry_after_s=_RETRY_S) from error


class _RedisPool:
    """Redis's connections, opened and closed as those of Postgres are."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    async def open(self) -> None:
        await self._redis.ping()

    async def close(self) -> None:
        await self._redis.aclose()


def _patient(dequeue: Callable[..., Awaitable[Job | None]]) -> Callable[..., Awaitable[Job | None]]:
    """SAQ's worker asks again at once where asking fails; a server that is gone would cost a core."""

    async def wait(timeout: float = 0.0, poll_interval: float = 0.0) -> Job | None:
        try:
            return await dequeue(timeout, poll_interval)
        except Exception:  # each driver has its own
            await asyncio.sleep(1.0)
            return None

    return wait
