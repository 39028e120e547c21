"""multipart/form-data as RFC 7578 and RFC 2046 allow it: what a client may leave out, and what it may add.

A part is a file where it has a file name, or where its field takes files: the name is only a SHOULD. Without a name and
without bytes it is what a page sends of an input in which no file was chosen, and becomes empty text. There may be text
before the first delimiter and after the last, and white space after each. Text is UTF-8, or in one of a few charsets
that the form, its field `_charset_` or the part names; every other codec of Python's is left alone, since some take
quadratic time, and on the event loop.

A chunk of many parts is parsed on a thread: the parser is written in Python, so that the event loop gets its turns.
What no field takes (another name, one file too many) ends the reading there.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile

from models.errors import InputError, LimitError
from service.errors import MediaTypeError

MAX_FIELDS = 100
FIELD_BYTES = 1 << 20  # one field of text
_PREAMBLE = 1 << 16
_FEW = 16  # parts in one chunk, up to which parsing takes less than handing it over
_IN_MEMORY = 1 << 20  # of one file; the rest of a larger one goes to a temporary file
_TEXT = 1 << 13  # a nameless file that is as short as this, and all text, was meant as text
_CHARSETS = (
    *("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "iso-8859-15", "windows-1252", "cp1252", "utf-16"),
    *("shift_jis", "gb18030", "gbk", "big5"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


@dataclass
class _Part:
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    name: str = ""
    data: bytearray = field(default_factory=bytearray)
    file: UploadFile | None = None
    charset: str = ""
    nameless: bool = False  # a file without a file name, or with an empty one


class _Reader:
    """Takes the parser's callbacks; files are written by `read`, because writing may have to wait for a disk."""

    def __init__(self, file_fields: Mapping[str, int]) -> None:
        self.parts: list[_Part] = []
        self.pending: list[tuple[_Part, bytes]] = []
        self.ended = False
        self._file_fields = file_fields
        self._files = Counter[str]()  # by field
        self._header = (b"", b"")

    def on_part_begin(self) -> None:
        self.parts.append(_Part())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0] + data[start:end], b"")

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header = (self._header[0], self._header[1] + data[start:end])

    def on_header_end(self) -> None:
        self.parts[-1].headers.append((self._header[0].lower(), self._header[1]))
        self._header = (b"", b"")

    def on_headers_finished(self) -> None:
        part = self.parts[-1]
        headers = Headers(raw=part.headers)
        _, options = parse_options_header(headers.get("content-disposition", ""))
        if b"name" not in options:
            raise InputError("A part of the form has no name: Content-Disposition: form-data; name=...", where="body")
        part.name = _readable(options[b"name"])
        coding = headers.get("content-transfer-encoding", "binary").strip().lower()
        if coding not in ("binary", "8bit", "7bit"):
            raise MediaTypeError(f"Send {part.name} as it is, not in {coding}.", where=part.name)
        _, media_options = parse_options_header(headers.get("content-type", ""))
        part.charset = media_options.get(b"charset", b"").decode("latin-1")
        if b"filename" in options or part.name in self._file_fields:
            self._count(part.name)
            name = _readable(options.get(b"filename", b""))
            part.nameless = not name
            file: Any = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  the form closes it
            part.file = UploadFile(file, size=0, filename=name or part.name, headers=headers)
        if len(self.parts) - self._files.total() > MAX_FIELDS:
            raise LimitError(f"Too many fields: at most {MAX_FIELDS} are taken.", where="body")

    def _count(self, name: str) -> None:
        """One more file in this field."""
        most = self._file_fields.get(name)
        if most is None:
            fields = ", ".join(sorted(self._file_fields))
            raise InputError(f"{name[:100]} is not a field for files; those are: {fields}.", where=name[:100])
        self._files[name] += 1
        if self._files[name] > most:
            raise LimitError(f"Too many files: {name} takes at most {most:,}.", where=name)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        if part.file is not None:
            self.pending.append((part, data[start:end]))
            return
        part.data += data[start:end]
        if len(part.data) > FIELD_BYTES:
            raise LimitError(f"{part.name} is text of more than {FIELD_BYTES >> 20} MiB.", where=part.name)

    def on_end(self) -> None:
        self.ended = True


async def read_form(content_type: str, body: AsyncIterable[bytes], file_fields: Mapping[str, int]) -> FormData:
    """Reads a form to its end. Its files are open, and closed where an error is raised.

    Args:
        file_fields: the fields that take files, and how many each takes.
    Raises:
        InputError: no form, cut short, a file where none is taken.
        LimitError: too many parts, too long a text.
        MediaTypeError: a charset or coding that is not read.
    """
    _, options = parse_options_header(content_type)
    reader = _Reader(file_fields)
    try:
        await _parse(options.get(b"boundary", b""), body, reader)
        return FormData(await _items(reader.parts, options.get(b"charset", b"").decode("latin-1")))
    except BaseException as error:
        for part in reader.parts:
            if part.file is not None:
                await part.file.close()
        if isinstance(error, FormParserError):
            raise InputError(f"The multipart body is broken: {error}.", where="body") from error
        raise


async def _parse(boundary: bytes, body: AsyncIterable[bytes], reader: _Reader) -> None:
    if not boundary:
        raise InputError("The Content-Type names no boundary; let your HTTP library set it.", where="content-type")
    names = ("part_begin", "header_field", "header_value", "header_end", "headers_finished", "part_data", "end")
    parser = MultipartParser(boundary, {f"on_{name}": getattr(reader, f"on_{name}") for name in names})  # type: ignore[arg-type]
    delimiter = re.compile(rb"(?:\A|\r\n)(--%b)(?:(--)|[ \t]*(\r\n))" % re.escape(boundary))
    before: bytes | None = b""
    async for chunk in body:
        if before is not None:
            before += chunk
            start = delimiter.search(before)
            if start is None:
                if len(before) > _PREAMBLE:
                    raise InputError("The boundary that Content-Type names is not in the body.", where="content-type")
                continue
            chunk = start[1] + (start[2] or start[3]) + before[start.end() :]
            before = None
        if chunk.count(parser.boundary) > _FEW:
            await asyncio.to_thread(parser.write, chunk)
        else:
            parser.write(chunk)
        for part, data in reader.pending:
            assert part.file is not None
            await part.file.write(data)
        reader.pending.clear()
    if not reader.ended:
        raise InputError("The multipart body is cut short: its last boundary is missing.", where="body")


async def _items(parts: list[_Part], charset: str) -> list[tuple[str, str | UploadFile]]:
    named = next((bytes(part.data) for part in parts if part.name == "_charset_" and part.file is None), b"")
    charset = named.decode("latin-1").strip() or charset
    items: list[tuple[str, str | UploadFile]] = []
    for part in parts:
        if part.file is not None:
            part.file.file.seek(0)
            items.append((part.name, await _text_of(part.file) if part.nameless else part.file))
        elif part.name != "_charset_":
            items.append((part.name, _decoded(part, part.charset or charset or "utf-8")))
    return items


async def _text_of(file: UploadFile) -> str | UploadFile:
    """Of a nameless file: the text that a client put where a file belongs, or the file."""
    start = await file.read(_TEXT + 1)
    await file.seek(0)
    try:
        text = start.decode()
    except UnicodeDecodeError:
        return file
    is_text = (file.content_type or "text/plain").lower().startswith("text/")
    if start and (not is_text or len(start) > _TEXT or _CONTROL.search(text)):
        return file
    await file.close()
    return text


def _decoded(part: _Part, charset: str) -> str:
    if charset.lower() not in _CHARSETS:
        raise MediaTypeError(f"Send text in UTF-8; {charset[:40]} is not read.", where=part.name)
    try:
        return part.data.decode(charset)
    except UnicodeDecodeError as error:
        raise InputError(f"{part.name} is not {charset}.", where=part.name) from error


def _readable(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")
