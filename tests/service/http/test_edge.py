"""Bad input of every kind: a 4xx that says what to do, never a 5xx, and the service goes on."""

import contextlib
import io
import json
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

Picture = Callable[..., bytes]
ENDPOINTS = (("/v1/translate", "images"), ("/v1/inspect", "image"))


def upload(url: str, data: bytes, name: str = "photo.png", media: str = "image/png") -> dict[str, requests.Response]:
    return {
        path: requests.post(f"{url}{path}", files={field: (name, data, media)}, timeout=300)
        for path, field in ENDPOINTS
    }


def refused(answer: requests.Response, *statuses: int) -> dict[str, Any]:
    assert answer.status_code in statuses, answer.text[:300]
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "where"}
    assert len(error["message"]) > 10
    return error


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int) -> bytes:
    """A small, well-formed PNG whose header promises many pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG with a text chunk of 64 MB, compressed to 64 kB."""
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    data = buffer.getvalue()
    bomb = chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(64 << 20), 9))
    return data[:33] + bomb + data[33:]


NOT_IMAGES = {
    "empty": b"",
    "text": b"just some words\n" * 50,
    "pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n%%EOF\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://example.com/x.png"/></svg>',
    "html": b"<!doctype html><img src=x>",
    "zip": b"PK\x05\x06" + bytes(18),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("name", NOT_IMAGES)
def test_what_is_no_image_under_an_images_name(local: Any, name: str) -> None:
    for answer in upload(local.url, NOT_IMAGES[name]).values():
        error = refused(answer, 415)
        assert error["where"] == "photo.png"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_truncated_images(local: Any, picture: Picture, kind: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    data = buffer.getvalue()
    for answer in upload(local.url, data[: int(len(data) * part)]).values():
        refused(answer, 415, 422)


def test_a_wrong_checksum(local: Any, picture: Picture) -> None:
    data = bytearray(picture(40, 40))
    data[len(data) // 2] ^= 0xFF
    for answer in upload(local.url, bytes(data)).values():
        refused(answer, 422)


@pytest.mark.parametrize("size", [(30_000, 30_000), (100_000, 2_000), (2**31 - 1, 1)])
def test_bombs_are_refused_on_their_header(local: Any, size: tuple[int, int]) -> None:
    for answer in upload(local.url, png_claiming(*size)).values():
        error = refused(answer, 413, 422)
        assert error["where"] == "photo.png"


def test_a_bomb_in_a_text_chunk(local: Any) -> None:
    for answer in upload(local.url, text_bomb()).values():
        refused(answer, 422)


def test_a_30000_pixel_line_a_single_pixel_and_an_odd_name(local: Any, picture: Picture) -> None:
    for data in (picture(30_000, 1), picture(1, 1)):
        for name in ("../../etc/passwd.png", "a\\b.png", "ü ☃.png", "x" * 300 + ".png", "photo"):
            assert all(answer.ok for answer in upload(local.url, data, name, "application/pdf").values())


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8))
FRAMES = {"save_all": True, "append_images": [NOISE.rotate(180)]}
ODD = {
    "16 bits": saved(Image.fromarray(np.arange(960, dtype=np.uint16).reshape(24, 40) * 68), "PNG"),
    "CMYK": saved(NOISE.convert("CMYK"), "JPEG"),
    "palette": saved(NOISE.convert("P"), "PNG", transparency=0),
    "animated GIF": saved(NOISE, "GIF", **FRAMES),
    "animated WebP": saved(NOISE, "WEBP", **FRAMES),
    "APNG": saved(NOISE, "PNG", **FRAMES),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_images_are_images(local: Any, name: str) -> None:
    translated, inspected = upload(local.url, ODD[name], "odd").values()
    assert Image.open(io.BytesIO(translated.content)).size == (40, 24)
    assert (inspected.json()["width"], inspected.json()["height"]) == (40, 24)
    assert inspected.json()["frames"] == (2 if name.startswith("an") or name == "APNG" else 1)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        one.settimeout(0.2)
        yield one


def test_an_address_is_never_fetched(local: Any, listener: socket.socket) -> None:
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/x.png"
    for path, field in ENDPOINTS:
        error = refused(requests.post(f"{local.url}{path}", files={field: (None, address)}, timeout=300), 400)
        assert "not text" in error["message"]
        refused(requests.post(f"{local.url}{path}", json={field: address}, timeout=300), 415)
        refused(requests.post(f"{local.url}{path}", data=address, timeout=300), 415)
    with pytest.raises(TimeoutError):
        listener.accept()


JSON_BODIES = {
    "empty": b"",
    "not json": b"{",
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "broken utf-8": b'{"model": "\xff\xfe"}',
    "a lone surrogate": b'{"model": "\\ud800"}',
    "zero byte": b'{"model": "\\u0000"}',
    "deep": b"[" * 100_000,
    "deep latents": b'{"latents": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a long number": b'{"seed": ' + b"9" * 10_000 + b"}",
    "twice": b'{"n": 1, "n": 500}',
    "10000 fields": json.dumps({f"field{i}": i for i in range(10_000)}).encode(),
}


@pytest.mark.parametrize("name", JSON_BODIES)
@pytest.mark.parametrize("path", ["/v1/sample", "/v1/interpolate", "/v1/images/generations"])
def test_json_that_is_none_or_not_ours(local: Any, name: str, path: str) -> None:
    answer = requests.post(
        f"{local.url}{path}", data=JSON_BODIES[name], headers={"content-type": "application/json"}, timeout=300
    )
    if path == "/v1/images/generations" and name == "empty":
        assert answer.ok  # a prompt is optional
    elif path == "/v1/sample" and name == "empty":
        assert answer.ok  # everything has a default
    else:
        refused(answer, 400, 404)


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", "", "x"]
)
def test_bodies_of_another_type(local: Any, media: str) -> None:
    for path in ("/v1/sample", "/v1/translate"):
        answer = requests.post(f"{local.url}{path}", data=b"{}", headers={"content-type": media}, timeout=300)
        refused(answer, 400, 404, 415)


def form(*parts: bytes, boundary: bytes = b"edge") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"


FILE = b'Content-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'
MULTIPART = {
    "no boundary": ("multipart/form-data", b"--x\r\n"),
    "wrong boundary": ("multipart/form-data; boundary=other", form(FILE + b"x")),
    "empty boundary": ('multipart/form-data; boundary=""', form(FILE + b"x")),
    "cut short": ("multipart/form-data; boundary=edge", form(FILE + b"x")[:60]),
    "no name": ("multipart/form-data; boundary=edge", form(b"Content-Disposition: form-data\r\n\r\nx")),
    "no disposition": ("multipart/form-data; boundary=edge", form(b"A: b\r\n\r\nx")),
    "broken header": ("multipart/form-data; boundary=edge", form(b"\x00\x01: \xff\r\n\r\nx")),
    "nothing": ("multipart/form-data; boundary=edge", b""),
    "only an end": ("multipart/form-data; boundary=edge", form()),
    "charset": ("multipart/form-data; boundary=edge; charset=none", form(FILE + b"x")),
    "long boundary": ("multipart/form-data; boundary=" + "b" * 5000, form(FILE + b"x")),
    "text not utf-8": (
        "multipart/form-data; boundary=edge",
        form(b'Content-Disposition: form-data; name="model"\r\n\r\n\xff\xfe', FILE + b"x"),
    ),
}


@pytest.mark.parametrize("name", MULTIPART)
def test_multipart_that_is_broken(local: Any, name: str) -> None:
    media, body = MULTIPART[name]
    answer = requests.post(f"{local.url}/v1/translate", data=body, headers={"content-type": media}, timeout=300)
    refused(answer, 400, 404, 415)


def test_ten_thousand_fields_and_files(local: Any) -> None:
    fields = [(f"field{index}", (None, "x")) for index in range(10_000)]
    files = [("images", (f"{index}.png", b"x")) for index in range(10_000)]
    for many in (fields, files):
        error = refused(requests.post(f"{local.url}/v1/translate", files=many, timeout=300), 413)
        assert "Too many" in error["message"]


def test_fields_that_are_unknown_twice_or_too_long(local: Any, picture: Picture) -> None:
    image = ("images", ("a.png", picture(4, 4)))
    for extra in (
        [("colour", (None, "red"))],
        [("quality", (None, "5")), ("quality", (None, "6"))],
        [("model", (None, "x" * 300))],
        [("other", ("b.png", b"x"))],
        [("quality", (None, "many"))],
        [("cycle", (None, "perhaps"))],
    ):
        refused(requests.post(f"{local.url}/v1/translate", files=[image, *extra], timeout=300), 400)
    long = [image, ("model", (None, "x" * (2 << 20)))]
    refused(requests.post(f"{local.url}/v1/translate", files=long, timeout=300), 413)


def test_bodies_past_the_limit_are_stopped(serve: Callable[..., Any]) -> None:
    url = serve(body_mb=1, json_mb=1).url
    large = b" " * (2 << 20)
    announced = requests.post(f"{url}/v1/sample", data=large, headers={"content-type": "application/json"}, timeout=300)
    assert refused(announced, 413)["where"] == "body"

    def pieces() -> Iterator[bytes]:
        yield from (large[: 1 << 16] for _ in range(32))

    streamed = requests.post(
        f"{url}/v1/sample", data=pieces(), headers={"content-type": "application/json"}, timeout=300
    )
    refused(streamed, 413)
    refused(requests.post(f"{url}/v1/inspect", files={"image": large}, timeout=300), 413)


def raw(url: str, *parts: bytes) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=300)
    for part in parts:
        connection.sendall(part)
    return connection


def head(path: str, length: int, media: str = "application/json") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media}\r\nContent-Length: {length}\r\n\r\n".encode()


def test_an_upload_that_is_too_slow(serve: Callable[..., Any]) -> None:
    url = serve(deadline_s=0.3).url
    with contextlib.closing(raw(url, head("/v1/sample", 1000), b'{"n":')) as connection:
        answer = b"".join(iter(lambda: connection.recv(4096), b""))  # the service closes it
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"request_timeout" in answer


def test_clients_that_leave_halfway(serve: Callable[..., Any], picture: Picture) -> None:
    one = serve()
    body = form(FILE + picture(64, 64))
    for path, data, media in (
        ("/v1/sample", b'{"model": "tiny", "n": 256}', "application/json"),
        ("/v1/translate", body, "multipart/form-data; boundary=edge"),
    ):
        for sent in (data[: len(data) // 2], data):
            raw(one.url, head(path, len(data), media), sent).close()
    for answer in (requests.get(f"{one.url}/v1/models", timeout=300) for _ in range(3)):
        assert answer.ok
    image = requests.post(f"{one.url}/v1/sample", json={"model": "tiny"}, timeout=300)
    assert image.ok
    registry = one.runtime.telemetry.registry
    errors = [s for m in registry.collect() for s in m.samples if s.labels.get("status", "").startswith("5")]
    assert not errors


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/sample", 405),
        ("PUT", "/v1/sample", 405),
        ("POST", "/v1/models", 405),
        ("DELETE", "/v1/translate", 405),
        ("PATCH", "/v1/sample", 405),
        ("GET", "/v1/absent", 404),
        ("GET", "/v1/models/../../etc/passwd", 404),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
        ("GET", "/v1/references/..%2f..%2fsecret", 404),
        ("GET", "/static/..%2f..%2fapp.py", 404),
    ],
)
def test_paths_and_methods_that_are_not_there(server: str, local: Any, method: str, path: str, status: int) -> None:
    for url in (server, local.url):
        answer = requests.request(method, f"{url}{path}", timeout=300)
        refused(answer, status)
        assert ("Allow" in answer.headers) == (status == 405)


def test_a_model_name_is_no_path(local: Any, tmp_path: Path) -> None:
    for name in ("../tiny", "/etc/passwd", "tiny.safetensors", "tiny@", "@", "tiny\x00", "a" * 200):
        refused(requests.post(f"{local.url}/v1/sample", json={"model": name}, timeout=300), 404)


def test_the_real_service_refuses_in_the_same_shape(server: str, picture: Picture) -> None:
    """Through BentoML's own layers."""
    json_type = {"content-type": "application/json"}
    for name, status in (("not json", 400), ("deep", 400), ("broken utf-8", 400)):
        refused(requests.post(f"{server}/v1/sample", data=JSON_BODIES[name], headers=json_type, timeout=300), status)
    for media, body in MULTIPART.values():
        answer = requests.post(f"{server}/v1/translate", data=body, headers={"content-type": media}, timeout=300)
        refused(answer, 400, 404, 415)
    pickle = {"content-type": "application/vnd.bentoml+pickle"}
    refused(requests.post(f"{server}/v1/sample", data=b"\x80\x04N.", headers=pickle, timeout=300), 415)
    for answer in upload(server, picture(40, 40)[:300]).values():
        refused(answer, 422)
    refused(requests.post(f"{server}/v1/sample", json={"seed": 2**64}, timeout=300), 400)
    assert requests.post(f"{server}/v1/sample", json={"model": "tiny"}, timeout=300).ok
