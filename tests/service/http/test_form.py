"""multipart/form-data, as RFC 7578 and RFC 2046 allow it and as clients write it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import requests
from starlette.datastructures import UploadFile

from models.errors import GanError, InputError, LimitError
from service.errors import MediaTypeError
from service.http.form import read_form

PLAIN = "multipart/form-data; boundary=edge"
PNG = b"\x89PNG\r\n\x1a\n"


def part(disposition: str, data: bytes, *headers: str) -> bytes:
    lines = [f"Content-Disposition: form-data; {disposition}", *headers, "", ""]
    return "\r\n".join(lines).encode() + data + b"\r\n"


def form(*parts: bytes, boundary: bytes = b"edge") -> bytes:
    return b"".join(b"--" + boundary + b"\r\n" + one for one in parts) + b"--" + boundary + b"--\r\n"


def read(body: bytes, content_type: str = PLAIN, step: int = 1 << 16, most: int = 4) -> list[tuple[str, Any]]:
    """Names and values, files as (file name, bytes)."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]

    async def run() -> list[tuple[str, Any]]:
        form = await read_form(content_type, pieces(), {"images": most})
        items = [
            (name, (value.filename, await value.read()) if isinstance(value, UploadFile) else value)
            for name, value in form.multi_items()
        ]
        await form.close()
        return items

    return asyncio.run(run())


BODY = form(part('name="seed"', b"7"), part('name="images"; filename="a.png"', PNG))
READ = [("seed", "7"), ("images", ("a.png", PNG))]


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (PLAIN, BODY),
        ('Multipart/Form-Data; charset=UTF-8 ; Boundary="edge"', BODY),
        ('multipart/form-data; boundary="an edge: (1)"', BODY.replace(b"--edge", b"--an edge: (1)")),
        (PLAIN, b"This is a message of several parts.\r\n--edg\r\n" + BODY),
        (PLAIN, b"\r\n" + BODY),
        (PLAIN, BODY + b"\r\nAn epilogue, with --edge in it\r\n--edge\r\n"),
        (PLAIN, BODY.removesuffix(b"\r\n")),
        (PLAIN, BODY.replace(b"--edge\r\n", b"--edge \t\r\n").replace(b"--edge--", b"--edge--  ")),
    ],
    ids=["plain", "quoted", "odd boundary", "preamble", "empty preamble", "epilogue", "no last line", "padding"],
)
def test_what_may_stand_around_the_parts(content_type: str, body: bytes, step: int) -> None:
    assert read(body, content_type, step) == READ


FILES = {
    "a type": part('name="images"', PNG, "Content-Type: image/png"),
    "nothing but its bytes": part('name="images"', PNG),
    "text that is said to be none": part('name="images"', b"P3 1 1 255 0 0 0", "Content-Type: image/x-portable-pixmap"),
    "the extended name alone": part("name=images; filename*=UTF-8''%E2%98%83.png", PNG),
    "an empty name": part('name="images"; filename=""', PNG),
    "an empty name, in a type of text": part('name="images"; filename=""', PNG, "Content-Type: text/plain"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_needs_no_file_name(name: str) -> None:
    ((field, (filename, data)),) = read(form(FILES[name]))
    assert (field, filename) == ("images", "images")
    assert data.startswith((PNG, b"P3"))


def test_text_in_a_files_place_stays_text() -> None:
    """So that an address there can be refused with a sentence."""
    assert read(form(part('name="images"', b"http://example.com/x.png"))) == [("images", "http://example.com/x.png")]


def test_a_file_that_was_not_chosen_is_empty_text() -> None:
    for said in ((), ("Content-Type: application/octet-stream",)):
        assert read(form(part('name="images"; filename=""', b"", *said))) == [("images", "")]
    assert read(form(part('name="images"', b""))) == [("images", "")]
    assert read(form(part('name="images"; filename="a.png"', b""))) == [("images", ("a.png", b""))]


def test_text_in_the_charset_that_is_named() -> None:
    cafe = "café"
    for charset in ("utf-8", "UTF8", "iso-8859-1", "latin1", "windows-1252", "cp1252", "utf-16"):
        text = cafe.encode(charset)
        assert read(form(part('name="a"', text, f"Content-Type: text/plain; charset={charset}"))) == [("a", cafe)]
        assert read(form(part('name="_charset_"', charset.encode()), part('name="a"', text))) == [("a", cafe)]
        assert read(form(part('name="a"', text)), f"{PLAIN}; charset={charset}") == [("a", cafe)]


@pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "unicode_escape", "zlib", "none", "x" * 1000])
def test_no_other_codec_is_tried(charset: str) -> None:
    text = part('name="a"', b"x-aaaaaaa")
    for body, content_type in (
        (form(text), f"{PLAIN}; charset={charset}"),
        (form(part('name="_charset_"', charset.encode()), text), PLAIN),
        (form(part('name="a"', b"x", f"Content-Type: text/plain; charset={charset}")), PLAIN),
    ):
        with pytest.raises(MediaTypeError, match="UTF-8"):
            read(body, content_type)


BROKEN: dict[str, tuple[bytes, type[GanError]]] = {
    "cut in a part": (BODY[:-20], InputError),
    "without its last delimiter": (BODY.removesuffix(b"--edge--\r\n"), InputError),
    "another boundary": (BODY.replace(b"edge", b"other"), InputError),
    "no end of a preamble": (b"x" * 200_000, InputError),
    "no name": (form(part("filename=x", PNG)), InputError),
    "text in another charset": (form(part('name="a"', b"\xff\xfe")), InputError),
    "base64": (form(part('name="a"', b"Nw==", "Content-Transfer-Encoding: base64")), MediaTypeError),
    "too many files": (form(*[part('name="images"', PNG)] * 5), LimitError),
    "too many fields": (form(*[part(f'name="{index}"', b"") for index in range(101)]), LimitError),
    "a long name of a file": (form(part(f'name="images"; filename="{"n" * 5000}"', PNG)), InputError),
    "a long text": (form(part('name="a"', bytes((1 << 20) + 1))), LimitError),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_form(name: str) -> None:
    body, error = BROKEN[name]
    with pytest.raises(error):
        read(body)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([part('name="other"; filename="a"', b"x")], "not a field for files"),
        ([part('name="images"', PNG)] * 5, "most 4"),
    ],
    ids=["no field for files", "one file too many"],
)
def test_a_file_that_nothing_takes_ends_the_reading(parts: list[bytes], says: str) -> None:
    asked = 0

    async def run() -> None:
        async def body() -> AsyncIterator[bytes]:
            nonlocal asked
            for piece in (form(*parts)[: -len("--edge--\r\n")], *[form(parts[-1])[:-8]] * 1000):
                asked += 1
                yield piece

        await read_form(PLAIN, body(), {"images": 4})

    with pytest.raises(GanError, match=says):
        asyncio.run(run())
    assert asked == 1


def test_chunks_of_many_parts_are_read_alike() -> None:
    files = [part(f'name="images"; filename="{index}.png"', PNG * index) for index in range(500)]
    expected = [("images", (f"{index}.png", PNG * index)) for index in range(500)]
    for step in (1000, 1 << 16):
        assert read(form(*files), step=step, most=500) == expected


def test_files_of_a_broken_form_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[UploadFile] = []
    close = UploadFile.close

    async def noted(self: UploadFile) -> None:
        closed.append(self)
        await close(self)

    monkeypatch.setattr(UploadFile, "close", noted)
    with pytest.raises(InputError):
        read(form(part('name="images"', PNG), part('name="images"', PNG))[:-5])
    assert len(closed) == 2


def test_the_service_takes_a_file_without_a_name(server: str, picture: Any) -> None:
    body = b"A preamble\r\n" + form(part('name="image"', picture(8, 8), "Content-Type: application/octet-stream"))
    answer = requests.post(f"{server}/v1/inspect", data=body, headers={"Content-Type": PLAIN}, timeout=300)
    assert answer.json()["width"] == 8
