"""Requests a minute: in one process, and of two servers behind a proxy, who share a Redis."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter

from service.errors import RateLimitError
from service.rates import Rates
from tests.service.servers import Server, free_port, nginx, redis_server

ROOT = Path(__file__).parents[2]
SERVER = """
import sys
import uvicorn
from service import rates
from service.routes import standalone
from service.runtime import Runtime
from service.settings import Settings

rates._ANSWER_S = 30.0  # on a machine with much to do, Redis is waited for all the same
uvicorn.run(standalone(Runtime(Settings.from_environment())), port=int(sys.argv[1]), log_level="warning")
"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


async def let_in(rates: Rates, caller: str, asked: int) -> int:
    """How many of so many at once."""
    results = await asyncio.gather(*(rates.take(caller) for _ in range(asked)), return_exceptions=True)
    assert all(one is None or isinstance(one, RateLimitError) for one in results)
    return results.count(None)


@pytest.mark.parametrize("shared", [False, True], ids=["this process", "redis"])
def test_each_caller_has_so_many_at_once_and_is_told_when_there_will_be_more(
    redis: Server, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.rates._ANSWER_S", 30.0)  # on a machine with much to do
    redis.forget()

    async def main() -> None:
        rates = Rates(60, redis.url if shared else None)
        await rates.connect()
        assert await let_in(rates, "ann", 200) == 60
        with pytest.raises(RateLimitError, match="60 requests a minute are used up") as refused:
            await rates.take("ann")
        assert 1 <= refused.value.retry_after_s <= 60
        assert await let_in(rates, "bob", 1) == 1
        await rates.close()

    asyncio.run(main())


def test_callers_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.rates._MOST_CALLERS", 10)

    async def main() -> None:
        rates = Rates(1)
        for index in range(100):
            await rates.take(f"caller-{index}")
            assert len(rates._memory.storage) <= 12

    asyncio.run(main())


def test_while_redis_does_not_answer_each_counts_for_itself(redis: Server) -> None:
    redis.forget()

    async def main() -> None:
        rates = Rates(5, redis.url)
        await rates.connect()
        with redis.frozen():
            assert await let_in(rates, "ann", 9) == 5
        await rates.close()

    asyncio.run(main())


def test_a_wrong_address_is_said_where_there_is_no_limit() -> None:
    with pytest.raises(ValueError, match="GAN_RATES begins with"):
        Rates(0, "http://127.0.0.1/")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgres://u:secret@host/x", "GAN_RATES begins with redis:// or rediss://"),
        ("redis://:secret@127.0.0.1:1/0", "GAN_RATES: redis://127.0.0.1:1/0 cannot be used"),
        ("redis://:secret/x@127.0.0.1:1/0", "GAN_RATES: redis://127.0.0.1:1/0 cannot be read as an address"),
    ],
)
def test_a_redis_that_cannot_be_used_is_a_sentence_without_its_password(url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        asyncio.run(Rates(5, url).connect())
    assert "secret" not in str(refused.value)


class From(HTTPAdapter):
    """Sends from an address of one's own."""

    def __init__(self, address: str) -> None:
        self._address = address
        super().__init__()

    def init_poolmanager(self, *args: object, **options: object) -> None:
        super().init_poolmanager(*args, **options, source_address=(self._address, 0))  # type: ignore[arg-type]


def test_behind_a_proxy_two_servers_count_together_and_tell_callers_apart(
    redis: Server, checkpoints: Path, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    redis.forget()
    ports = [free_port(), free_port()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GAN_")} | {
        "OMP_NUM_THREADS": "1",
        "GAN_MODELS": str(checkpoints),
        "GAN_RATE_PER_MINUTE": "20",
        "GAN_RATES": redis.url,
        "GAN_TRUSTED_PROXIES": "127.0.0.1",
    }
    started = []
    try:
        for index, port in enumerate(ports):
            own = {**environment, "GAN_STORE": str(tmp_path / str(index))}
            started.append(subprocess.Popen([sys.executable, "-c", SERVER, str(port)], cwd=ROOT, env=own))
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for url in urls:
            wait_until(lambda url=url: requests.get(f"{url}/metrics", timeout=5).ok, "a server")
        with nginx(tmp_path, urls) as url, ThreadPoolExecutor(8) as pool:
            for address in ("127.0.0.2", "127.0.0.3"):
                with requests.Session() as session:
                    session.mount("http://", From(address))

                    def ask(index: int, session: requests.Session = session) -> int:
                        headers = {"X-Forwarded-For": f"9.9.9.{index}"}  # whom it says it is does not matter
                        return session.get(f"{url}/v1/jobs/x", headers=headers, timeout=60).status_code

                    statuses = list(pool.map(ask, range(35)))
                assert statuses.count(404) == 20
                assert statuses.count(429) == 15
    finally:
        for process in started:
            process.kill()
            process.wait(60)
