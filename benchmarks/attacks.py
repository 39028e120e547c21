"""What one client can do to another: the second client's latency beside each attack, and what it was alone.

    python -m benchmarks.attacks --seconds 10

Ends with 1 where the p99 beside an attack is more than ten times the p50 alone, or where the worker's memory is not
back, soon after the last attack, to within a tenth and 64 MB of what it was before the first.
"""

import argparse
import contextlib
import io
import itertools
import json
import multiprocessing
import os
import socket
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import requests
from PIL import Image

from benchmarks.load import Target, upload
from benchmarks.serve_speed import OURS, Server, make_checkpoints, running

FORK = multiprocessing.get_context("fork")
Attack = Callable[[int, Event], None]
MOST = 10
JSON = "Content-Type: application/json\r\n"


def connections(port: int, done: Event, count: int, first: bytes, read_less: bool = False) -> None:
    """Opens so many connections, says `first` on each, and nothing more; those that are closed are opened anew."""
    with contextlib.ExitStack() as stack:
        for _ in itertools.takewhile(lambda _: not done.is_set(), itertools.count()):
            for _ in range(count):
                one = stack.enter_context(socket.socket())
                if read_less:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                with contextlib.suppress(OSError):
                    one.connect(("127.0.0.1", port))
                    one.sendall(first)
            done.wait(5)
            stack.close()


def requests_in_turn(port: int, done: Event, request: bytes, source: str = "127.0.0.1") -> None:
    """The same request again and again, on a connection for each."""
    while not done.is_set():
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(source, 0)) as one,
        ):
            one.sendall(request)
            while one.recv(1 << 16):
                pass


def post(path: str, body: bytes, media: str = "application/json") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {media}\r\nContent-Length: {len(body)}"
    )
    return head.encode() + b"\r\n\r\n" + body


def headers_without_end(port: int, done: Event) -> None:
    while not done.is_set():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
            while not done.is_set():
                one.sendall(b"a:b\r\n" * 10_000)


def slow_readers(port: int, done: Event) -> None:
    url = f"http://127.0.0.1:{port}/v1/jobs"
    job = requests.post(f"{url}/sample", json={"model": "dcgan", "n": 200, "output": "zip"}, timeout=60).json()["id"]
    while requests.get(f"{url}/{job}", timeout=60).json()["state"] in ("queued", "running"):
        done.wait(0.1)
    connections(port, done, 200, f"GET /v1/jobs/{job}/result HTTP/1.1\r\nHost: x\r\n\r\n".encode(), read_less=True)


def announced(method: str, path: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n{JSON}Content-Length: 10\r\n\r\n".encode()


def attacks() -> dict[str, Attack]:
    names = b"{" + b",".join(b'"a%d":0' % index for index in range(1_000_000)) + b"}"
    numbers = b'{"latents":[' + b"0," * 3_000_000 + b"0]}"
    latents = b'{"latents":[' + b",".join([b"[" + b"0.5," * 1022 + b"0.5]"] * 256) + b"]}"
    prompt = b'{"prompt":"' + b"a " * 3_500_000 + b'"}'
    field = b'--b\r\nContent-Disposition: form-data; name="direction"\r\n\r\n' + b"x-" + b"a" * 10**6 + b"\r\n--b--\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nx\r\n'
    form = "multipart/form-data; boundary=b"
    wrong = b"GET /v1/jobs/%032x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    return {
        "idle connections": lambda port, done: connections(port, done, 600, b""),
        "half a head": lambda port, done: connections(port, done, 600, b"GET / HT"),
        "headers without end": headers_without_end,
        "announced bodies": lambda port, done: connections(port, done, 520, announced("POST", "/v1/sample")),
        "announced bodies of GETs": lambda port, done: connections(port, done, 520, announced("GET", "/v1/models")),
        "answers not read": slow_readers,
        "JSON of many names": lambda port, done: requests_in_turn(port, done, post("/v1/sample", names)),
        "JSON of many numbers": lambda port, done: requests_in_turn(port, done, post("/v1/sample", numbers)),
        "JSON of latents of no model": lambda port, done: requests_in_turn(port, done, post("/v1/sample", latents)),
        "JSON of a long text": lambda port, done: requests_in_turn(port, done, post("/v1/images/generations", prompt)),
        "deep JSON": lambda port, done: requests_in_turn(port, done, post("/v1/sample", b"[" * 10**6)),
        "punycode": lambda port, done: requests_in_turn(
            port, done, post("/v1/translate", field, f"{form}; charset=punycode")
        ),
        "too many parts": lambda port, done: requests_in_turn(
            port, done, post("/v1/score", part * 10_000 + b"--b--\r\n", form)
        ),
        "as many parts as may be": lambda port, done: requests_in_turn(
            port, done, post("/v1/score", part * 1000 + b"--b--\r\n", form)
        ),
        "wrong addresses": lambda port, done: requests_in_turn(port, done, wrong % 7),
    }


def pictures() -> dict[str, Attack]:
    """What holds the threads that decode and encode, by another caller than the one that is measured."""
    buffer = io.BytesIO()
    Image.new("RGB", (4096, 4096)).save(buffer, "PNG")
    flat = buffer.getvalue()
    pieces = flat[:33] + (struct.pack(">I", 0) + b"teSt" + struct.pack(">I", zlib.crc32(b"teSt"))) * 2_000_000

    def several(port: int, done: Event, picture: bytes) -> None:
        request = post("/v1/inspect", upload(port, "", picture, "image").body(0), "multipart/form-data; boundary=b")
        with ThreadPoolExecutor(8) as pool:
            for _ in range(8):
                pool.submit(requests_in_turn, port, done, request, "127.0.0.2")

    return {
        "pictures in pieces": lambda port, done: several(port, done, pieces),
        "large pictures": lambda port, done: several(port, done, flat),
    }


def memory_mb(port: int) -> float:
    """Of the worker."""
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return float(values["process_resident_memory_bytes"]) / 2**20


def latencies(target: Target, seconds: float) -> np.ndarray:
    """Of one client in a closed loop, in milliseconds; a request that is not answered 200 counts as a minute."""
    session, found = requests.Session(), []
    url, end = f"http://127.0.0.1:{target.port}{target.path}", time.perf_counter() + seconds
    for index in itertools.takewhile(lambda _: time.perf_counter() < end, itertools.count()):
        began = time.perf_counter()
        try:
            right = session.post(url, target.body(index), headers={"Content-Type": target.media}, timeout=60).ok
        except requests.RequestException:
            right = False
        found.append((time.perf_counter() - began) * 1000 if right else 60_000)
    return np.array(found)


@contextlib.contextmanager
def under(attack: Attack, port: int) -> Iterator[None]:
    """The attack goes on in a process of its own, or it would take the interpreter from the client that is measured.

    It yields the processors to the service, since an attacker has a machine of its own.
    """

    def aside() -> None:
        os.nice(19)
        attack(port, done)

    done = FORK.Event()
    attacker = FORK.Process(target=aside, daemon=True)
    attacker.start()
    done.wait(1)
    try:
        yield
    finally:
        done.set()
        attacker.join(10)
        attacker.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="for each attack")
    arguments = parser.parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory() as name:
        make_checkpoints(Path(name))
        with running(Server("ours", OURS, {"GAN_DEADLINE_S": "30"}), Path(name)) as port:
            body = lambda index: json.dumps({"model": "dcgan", "seed": index}).encode()  # noqa: E731
            sample = Target(port, "/v1/sample", "application/json", body)
            buffer = io.BytesIO()
            Image.effect_noise((256, 256), 50).save(buffer, "PNG")
            inspect = upload(port, "/v1/inspect", buffer.getvalue(), "image")
            latencies(sample, 3)
            latencies(inspect, 3)
            before = memory_mb(port)
            print(f"{'':26s}  p50 ms    p99 ms   times the p50 alone")
            for target, against in ((sample, attacks()), (inspect, pictures())):
                alone = latencies(target, arguments.seconds)
                p50 = float(np.percentile(alone, 50))
                print(f"{f'{target.path}, alone':26s} {p50:7.1f} {np.percentile(alone, 99):9.1f}")
                for title, attack in against.items():
                    with under(attack, port):
                        beside = latencies(target, arguments.seconds)
                    p99 = float(np.percentile(beside, 99))
                    worst = max(worst, p99 / p50)
                    print(f"{title:26s} {np.percentile(beside, 50):7.1f} {p99:9.1f} {p99 / p50:8.1f}", flush=True)
            time.sleep(30)
            after = memory_mb(port)
            print(f"memory MB: {before:.0f} before, {after:.0f} half a minute after")
    return worst > MOST or after > 1.1 * before + 64


if __name__ == "__main__":
    sys.exit(main())
