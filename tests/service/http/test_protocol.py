"""What a connection may do, over sockets: where one request ends and the next begins, how long each part may take."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

Serve = Callable[..., Any]
SAMPLE = b'{"model": "tiny", "seed": 7}'
JSON = b"Content-Type: application/json\r\n"
HIDDEN = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Request-ID: hidden\r\n\r\n"
END_OF_ZIP = b"PK\x05\x06"  # of its last record, of 22 bytes
LAST = b"GET /v1/references HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def post(body: bytes, *headers: bytes, length: bool = True) -> bytes:
    announced = b"Content-Length: %d\r\n" % len(body) if length else b""
    return b"POST /v1/sample HTTP/1.1\r\nHost: x\r\n" + JSON + announced + b"".join(headers) + b"\r\n" + body


@contextlib.contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """All that comes until the service closes; a reset ends it too."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            data += piece
    return data


def answers(url: str, *parts: bytes) -> list[bytes]:
    """Sends the parts one by one; the status line of each answer, and its headers in lower case."""
    with connected(url) as connection:
        for part in parts:
            connection.sendall(part)
        data = rest(connection)
    return [head.split(b"\r\n\r\n")[0].lower() for head in data.split(b"HTTP/1.1 ")[1:]]


def statuses(url: str, *parts: bytes) -> list[int]:
    return [int(head[:3]) for head in answers(url, *parts)]


UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n",
    "several": b"connection: keep-alive\r\nConnection: upgrade\r\nUPGRADE: TLS/1.2, h2c\r\nUpgrade: x\r\n",
}


@pytest.mark.parametrize("real", [False, True], ids=["uvicorn", "bentoml"])
@pytest.mark.parametrize("name", UPGRADES)
def test_a_request_that_offers_another_protocol_keeps_its_body(local: Any, server: str, name: str, real: bool) -> None:
    url = server if real else local.url
    first, last = answers(url, post(SAMPLE, UPGRADES[name]) + LAST)
    assert first.startswith(b"200")
    assert b"x-seeds: 7" in first
    assert last.startswith(b"200")
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SAMPLE), SAMPLE)
    head = post(b"", UPGRADES[name], b"Transfer-Encoding: chunked\r\n", length=False)
    first, _ = answers(url, head, chunked[:9], chunked[9:] + LAST)
    assert b"x-seeds: 7" in first


@pytest.mark.parametrize("name", UPGRADES)
def test_a_body_is_never_the_next_request(local: Any, server: str, name: str) -> None:
    for url in (local.url, server):
        for parts in (
            [post(HIDDEN, UPGRADES[name]) + LAST],
            [*post(HIDDEN, UPGRADES[name]).partition(HIDDEN)[:2], LAST],
        ):
            first, last = answers(url, *parts)
            assert first.startswith(b"400")
            assert last.startswith(b"200")
            assert b"hidden" not in first + last


SMUGGLED = {
    "both lengths": post(b"0\r\n\r\n" + HIDDEN, b"Transfer-Encoding: chunked\r\n"),
    "both lengths, the other way round": post(
        b"0\r\n\r\n" + HIDDEN, b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", length=False
    ),
    "two lengths": post(SAMPLE, b"Content-Length: 3\r\n"),
    "a list of lengths": post(SAMPLE, b"Content-Length: 28, 28\r\n", length=False),
    "a signed length": post(SAMPLE, b"Content-Length: +28\r\n", length=False),
    "a coding that is not chunked": post(HIDDEN, b"Transfer-Encoding: chunked, identity\r\n", length=False),
    "a coding that is almost chunked": post(HIDDEN, b"Transfer-Encoding: xchunked\r\n", length=False),
    "space before the colon": post(HIDDEN, b"Content-Length : 5\r\n", length=False),
    "a folded header": post(HIDDEN, b"X-Folded: a\r\n Content-Length: 3\r\n"),
    "a bare line feed": b"GET /v1/models HTTP/1.1\nHost: x\n\n" + HIDDEN,
    "a bare carriage return": b"GET /v1/models HTTP/1.1\r\nHost: x\rX-A: b\r\n\r\n" + HIDDEN,
    "a negative chunk": post(b"-1\r\n\r\n" + HIDDEN, b"Transfer-Encoding: chunked\r\n", length=False),
    "a chunk that ends without CRLF": post(
        b"2\r\n{}0\r\n\r\n" + HIDDEN, b"Transfer-Encoding: chunked\r\n", length=False
    ),
    "a huge chunk": post(b"fffffffffffffffff\r\n" + HIDDEN, b"Transfer-Encoding: chunked\r\n", length=False),
    "no name": b"GET /v1/models HTTP/1.1\r\n: x\r\n\r\n" + HIDDEN,
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n" + HIDDEN,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN,
    "an odd version": b"GET /v1/models HTTP/3.7\r\nHost: x\r\n\r\n" + HIDDEN,
    "HTTP/2 in the clothes of HTTP/1": b"GET /v1/models HTTP/2.0\r\nHost: x\r\n\r\n" + HIDDEN,
    "a coding before chunked": post(HIDDEN, b"Transfer-Encoding: gzip, chunked\r\n", length=False),
    "a coding on a line of its own": post(
        HIDDEN, b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", length=False
    ),
    "chunks in HTTP/1.0": post(b"0\r\n\r\n" + HIDDEN, b"Transfer-Encoding: chunked\r\n", length=False).replace(
        b"HTTP/1.1", b"HTTP/1.0", 1
    ),
    "two hosts": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + HIDDEN,
    "one host twice": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n" + HIDDEN,
    "two hosts in one": b"GET /v1/models HTTP/1.1\r\nHost: x, y\r\n\r\n" + HIDDEN,
    "a host with a path": b"GET /v1/models HTTP/1.1\r\nHost: x/v1\r\n\r\n" + HIDDEN,
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_a_request_that_two_servers_could_read_differently_is_the_last(local: Any, name: str) -> None:
    """One answer, which is no success, and what follows on the connection is not carried out."""
    (only,) = answers(local.url, SMUGGLED[name])
    assert only[:3] in (b"400", b"501")
    assert b"connection: close" in only
    assert b"hidden" not in only


@pytest.mark.parametrize("host", [b"Host: x", b"HOST:x:3000", b"Host: [::1]:3000 ", b"Host:", b"Host: a_b.c-d.example"])
def test_every_host_may_be_named(local: Any, host: bytes) -> None:
    assert statuses(local.url, b"GET /v1/references HTTP/1.1\r\n" + host + b"\r\nConnection: close\r\n\r\n") == [200]


def test_http_1_0_needs_no_host_and_is_told_no_continue(local: Any) -> None:
    """Its clients know no 100, and would take it for the answer."""
    head = b"POST /v1/sample HTTP/1.0\r\n" + JSON + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(SAMPLE)
    assert statuses(local.url, head + SAMPLE) == [200]


def test_a_trailer_can_end_the_connection(local: Any) -> None:
    chunked = b"%x\r\n%b\r\n0\r\nConnection: close\r\n\r\n" % (len(SAMPLE), SAMPLE)
    assert statuses(local.url, post(b"", b"Transfer-Encoding: chunked\r\n", length=False) + chunked) == [200]


@pytest.mark.parametrize("method", [b"OPTIONS", b"POST"])
def test_no_path_at_all_is_an_error_of_the_one_shape(local: Any, server: str, method: bytes) -> None:
    for url in (local.url, server):
        with connected(url) as connection:
            connection.sendall(method + b" * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head, _, body = rest(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404")
        assert json.loads(body)["error"]["code"] == "not_found"


def test_errors_of_the_connection_have_the_one_shape(local: Any, server: str) -> None:
    for url in (local.url, server):
        with connected(url) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            head, _, body = rest(connection).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        assert json.loads(body)["error"]["code"] == "invalid_input"


def test_chunk_extensions_and_trailers_are_read_over(local: Any) -> None:
    """A trailer joins no header: a Content-Type that comes after the body does not change how it is read."""
    body = b"%x;a=b;c\r\n%b\r\n0\r\nContent-Type: text/plain\r\nX-Request-ID: late\r\n\r\n" % (len(SAMPLE), SAMPLE)
    head = post(b"", b"Transfer-Encoding: chunked\r\n", length=False)
    first, last = answers(local.url, head + body + LAST)
    assert b"x-seeds: 7" in first
    assert b"late" not in first
    assert last.startswith(b"200")


def test_answers_keep_the_order_of_requests_and_of_errors(local: Any) -> None:
    """What comes before a broken request is answered before it, and nothing after it."""
    good = post(SAMPLE)
    assert statuses(local.url, good + post(b"{") + good + b"broken\r\n\r\n" + HIDDEN) == [200, 400, 200, 400]
    assert statuses(local.url, good + good[:40], b"\x00\r\n\r\n") == [200, 400]
    broken = post(b"x\r\n", b"Transfer-Encoding: chunked\r\n", length=False)
    assert statuses(local.url, good + broken) == [200, 400]
    assert statuses(local.url, broken) == [400]


@pytest.mark.parametrize(
    ("what", "path"),
    [(b"X-Long: " + b"x" * 5000, b""), (b"a:b\r\n" * 2000 + b"c: d", b""), (b"X-A: b", b"x" * 5000)],
    ids=["one header", "many headers", "the address"],
)
def test_a_head_has_an_end(serve: Serve, what: bytes, path: bytes) -> None:
    url = serve(header_kb=4).url
    head = b"GET /v1/models?%b HTTP/1.1\r\nHost: x\r\n%b" % (path, what)
    for parts in ([head + b"\r\n\r\n"], [head[:3000], head[3000:]], [head[:3000], head[3000:], b"\r\n\r\n"]):
        (only,) = answers(url, *parts)
        assert only.startswith(b"431")
    assert statuses(url, LAST) == [200]


def test_trailers_and_chunk_extensions_have_an_end(serve: Serve) -> None:
    url = serve(header_kb=4).url
    head = post(b"", b"Transfer-Encoding: chunked\r\n", length=False)
    for start in (b"2;", b"2\r\n{}\r\n0\r\nX-Trailer: "):
        (only,) = answers(url, head + start, b"x" * 300_000)
        assert only.startswith(b"431")


def test_a_head_must_come_in_time(serve: Serve) -> None:
    url = serve(header_s=0.2, keep_alive_s=0.2).url
    for parts in ([b"GET / HTTP/1.1\r\nHost:"], [post(SAMPLE), b"GET / HTTP"], [b"\r\n\r\n", b"GET"]):
        assert statuses(url, *parts)[-1] == 408
    for parts in ([], [b"\r\n"]):
        assert statuses(url, *parts) == []
    assert statuses(url, post(SAMPLE), b"\r\n") == [200]  # and closed, though it went on saying nothing


def test_a_half_closed_connection_has_its_answers(local: Any, server: str) -> None:
    for url in (local.url, server):
        with connected(url) as connection:
            connection.sendall(post(SAMPLE) + post(SAMPLE))
            connection.shutdown(socket.SHUT_WR)
            assert rest(connection).count(b"HTTP/1.1 200") == 2
        with connected(url) as connection:
            connection.sendall(post(SAMPLE)[:-5])
            connection.shutdown(socket.SHUT_WR)
            assert rest(connection) == b""


def test_the_last_connection_gets_in_and_the_idlest_goes(serve: Serve) -> None:
    url = serve(connections_per_address=3, header_s=300).url
    with contextlib.ExitStack() as stack:
        first, *others = [stack.enter_context(connected(url)) for _ in range(3)]
        for one in others:  # they have said something since
            one.sendall(b"GET / HT")
        last = stack.enter_context(connected(url))
        assert first.recv(1) == b""
        for one in others:
            one.sendall(b"TP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert rest(one).startswith(b"HTTP/1.1 200")
        last.sendall(LAST)
        assert rest(last).startswith(b"HTTP/1.1 200")


def test_a_place_is_taken_by_a_body_and_not_by_its_announcement(serve: Serve) -> None:
    one = serve(max_requests=1)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(connected(one.url)).sendall(post(SAMPLE)[:-5])
        for _ in range(5):
            without_body = stack.enter_context(connected(one.url))
            without_body.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
            assert without_body.recv(1) == b"H"  # it has its answer, so that its place is free
        assert statuses(one.url, post(SAMPLE) + LAST) == [200, 200]


def result_of_a_job(url: str, wait_until: Callable[..., None]) -> bytes:
    """A request for an answer of some megabytes."""
    job = requests.post(f"{url}/v1/jobs/sample", json={"model": "tiny", "n": 3000, "output": "zip"}, timeout=300).json()
    path = f"/v1/jobs/{job['id']}"
    wait_until(lambda: requests.get(url + path, timeout=300).json()["state"] == "done", "the job's end")
    return f"GET {path}/result HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


def slow_reader(url: str, request: bytes) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(300)
    reader.connect((host, int(port)))
    reader.sendall(request)
    return reader


def test_an_answer_that_is_not_read_is_cut_off(serve: Serve, wait_until: Callable[..., None]) -> None:
    one = serve(send_s=0.5)
    request = result_of_a_job(one.url, wait_until)
    with contextlib.closing(slow_reader(one.url, request)) as reader, connected(one.url) as quick:
        quick.sendall(request)
        whole = rest(quick)
        assert whole[-22:-18] == END_OF_ZIP
        seen = one.runtime.telemetry.requests.labels("job_result", "200")
        wait_until(lambda: seen._value.get() == 2, "the end of both answers")
        assert len(rest(reader)) < len(whole)


def test_answers_that_wait_for_their_readers_have_a_limit_together(
    serve: Serve, wait_until: Callable[..., None]
) -> None:
    """The one that has stood still longest is cut off for the next."""
    one = serve(unsent_mb=1)
    request = result_of_a_job(one.url, wait_until)
    with contextlib.closing(slow_reader(one.url, request)) as first, connected(one.url) as second:
        assert first.recv(1) == b"H"
        second.sendall(request)
        whole = rest(second)
        assert whole[-22:-18] == END_OF_ZIP
        assert len(rest(first)) < len(whole) - 1
