"""A closed-loop HTTP load: so many clients, each sending its next request when it has its answer.

It speaks just enough HTTP/1.1 to cost little next to the servers it measures: on two cores, a client as heavy as the
server would measure itself.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import uvloop


@dataclass(frozen=True)
class Figures:
    """`rate` in answers a second, latencies in milliseconds; `errors` counts answers that were not 200."""

    rate: float
    p50_ms: float
    p95_ms: float
    errors: int
    count: int


@dataclass(frozen=True)
class Target:
    """Where requests go; `body(i)` makes the i-th."""

    port: int
    path: str
    media: str
    body: Callable[[int], bytes]

    def request(self, index: int) -> bytes:
        body = self.body(index)
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n"
            f"Content-Type: {self.media}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def upload(port: int, path: str, photo: bytes, field: str = "images", **texts: str) -> Target:
    """A form with one photo in it, and fields of text beside it, the same for every request."""
    part = '--b\r\nContent-Disposition: form-data; name="{}"'
    head = "".join(f"{part.format(name)}\r\n\r\n{text}\r\n" for name, text in texts.items())
    head += f'{part.format(field)}; filename="a.jpg"\r\n\r\n'
    form = head.encode() + photo + b"\r\n--b--\r\n"
    return Target(port, path, "multipart/form-data; boundary=b", lambda _: form)


def measure(target: Target, clients: int, seconds: float, most: int | None = None) -> Figures:
    """Loads the target for `seconds` (or until `most` answers have come)."""
    return uvloop.run(_measure(target, clients, seconds, most))


async def _measure(target: Target, clients: int, seconds: float, most: int | None) -> Figures:
    latencies: list[float] = []
    errors = 0
    numbers = itertools.count() if most is None else iter(range(most))
    start = time.perf_counter()
    end = start + seconds

    async def client() -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port, limit=1 << 26)
        for index in _until(numbers, end):
            began = time.perf_counter()
            writer.write(target.request(index))
            status = await _answer(reader)
            latencies.append(time.perf_counter() - began)
            errors += status != 200
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    elapsed = time.perf_counter() - start
    ms = np.array(latencies) * 1000
    return Figures(
        rate=len(ms) / elapsed,
        p50_ms=float(np.percentile(ms, 50)),
        p95_ms=float(np.percentile(ms, 95)),
        errors=errors,
        count=len(ms),
    )


def _until(numbers: Iterator[int], end: float) -> Iterator[int]:
    while time.perf_counter() < end:
        index = next(numbers, None)
        if index is None:
            return
        yield index


async def _answer(reader: asyncio.StreamReader) -> int:
    """Reads one whole answer and gives its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status = int(head.split(" ", 2)[1])
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    if "content-length" in headers:
        await reader.readexactly(int(headers["content-length"]))
    else:
        while (size := int(await reader.readline(), 16)) > 0:
            await reader.readexactly(size + 2)
        await reader.readline()
    return status
