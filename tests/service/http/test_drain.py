"""An answer that comes before the body is through reaches the client: over sockets, and message by message."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from starlette.datastructures import Headers
from starlette.types import Message

from service.http import drain
from service.http.drain import Drain

MB = 1 << 20
AFTER = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def small(serve: Callable[..., Any]) -> str:
    return serve(json_mb=1, body_mb=1).url


@pytest.mark.parametrize(("connection", "after"), [("close", b""), ("keep-alive", AFTER)])
def test_a_large_announced_body_is_answered_and_not_reset(small: str, connection: str, after: bytes) -> None:
    """A client that sends all of its body before it reads anything, as most do."""
    host, port = small.removeprefix("http://").split(":")
    head = (
        "POST /v1/sample HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {32 * MB}\r\nConnection: {connection}\r\n\r\n"
    )
    with contextlib.closing(socket.create_connection((host, int(port)), timeout=300)) as client:
        client.sendall(head.encode())
        for _ in range(32):
            client.sendall(bytes(MB))
        client.sendall(after)
        answer = b"".join(iter(lambda: client.recv(MB), b""))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"The body is larger than 1 MiB." in answer
    assert (b"HTTP/1.1 200" in answer) == bool(after)  # the connection goes on serving


def pieces() -> Iterator[bytes]:
    yield from (bytes(MB) for _ in range(32))


@pytest.mark.parametrize("path", ["sample", "translate"])
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_requests_sees_the_refusal(small: str, path: str, connection: str) -> None:
    headers = {"Connection": connection, "Content-Type": "application/json"}
    if path == "translate":
        form = {"images": ("a.png", bytes(32 * MB))}
        answers = [requests.post(f"{small}/v1/translate", files=form, headers={"Connection": connection}, timeout=300)]
    else:
        answers = [
            requests.post(f"{small}/v1/sample", data=body, headers=headers, timeout=300)
            for body in (bytes(32 * MB), pieces())
        ]
    assert [answer.status_code for answer in answers] == [413] * len(answers)
    assert all(answer.json()["error"]["where"] == "body" for answer in answers)


class Wire:
    """A server's two callables: a body in `parts` (then silence), and what was sent, in the order of events."""

    def __init__(self, parts: int, ends: bool = True) -> None:
        self.parts, self.ends = parts, ends
        self.events: list[str] = []
        self.headers = Headers({})

    async def receive(self) -> Message:
        if self.parts == 0:
            await asyncio.Event().wait()
        self.parts -= 1
        self.events.append("read")
        return {"type": "http.request", "body": b"x", "more_body": self.parts > 0 or not self.ends}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.headers = Headers(raw=message["headers"])
        else:
            self.events.append("more" if message.get("more_body") else "end")


def answered(wire: Wire, seconds: float = 60, **headers: str) -> list[str]:
    async def main() -> None:
        given = Headers({name.replace("_", "-"): value for name, value in headers.items()})
        one = Drain(given, wire.receive, wire.send, time.monotonic() + seconds)
        await one.send({"type": "http.response.start", "status": 413, "headers": []})
        await one.send({"type": "http.response.body", "body": b"no"})

    asyncio.run(main())
    return wire.events


def test_the_answer_is_sent_first_and_ends_after_the_body() -> None:
    wire = Wire(3)
    assert answered(wire, content_length="3") == ["more", "read", "read", "read", "end"]
    assert "connection" not in wire.headers


def test_a_request_without_a_body_is_answered_at_once() -> None:
    assert answered(Wire(0)) == ["end"]
    assert answered(Wire(0), content_length="0") == ["end"]


def test_a_client_that_waits_to_be_told_is_not_waited_for() -> None:
    wire = Wire(0)
    assert answered(wire, content_length="3", expect="100-continue") == ["end"]
    assert wire.headers["connection"] == "close"


def test_the_rest_is_read_within_bounds_of_bytes_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "MOST_BYTES", 2)
    endless = Wire(1000, ends=False)
    assert answered(endless, transfer_encoding="chunked") == ["more", "read", "read", "end"]
    assert endless.headers["connection"] == "close"
    silent = Wire(1)
    silent.ends = False
    assert answered(silent, seconds=0.05, content_length="2") == ["more", "read", "end"]
    late = Wire(0)
    assert answered(late, seconds=-1.0, content_length="2") == ["more", "end"]
    assert late.headers["connection"] == "close"
