"""Reading a request: JSON, multipart or query, under our own limits, into a checked model and files (values.py).

Nothing here ever treats text as an address to fetch from: a string where a file belongs is an error.
"""

import asyncio
import codecs
import contextlib
import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from models.errors import InputError, LimitError, OverloadError
from service.call import File
from service.errors import MediaTypeError
from service.http.form import read_form
from service.http.values import Marks, from_json, from_text, given
from service.settings import Settings

_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)

_SHORT = 1 << 14  # bytes of JSON up to which reading takes less than handing it over to a thread


@dataclass(frozen=True)
class FileField:
    """A multipart field that holds files.

    Attributes:
        required: at least one file must come.
        most: how many may come; the settings can hold less.
        alias: another name of the field, for clients that write lists with brackets.
        also_text: the body has a field of the same name, and text in it is that field's.
    """

    name: str
    description: str
    required: bool = True
    most: int = 1
    alias: str | None = None
    also_text: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,) if self.alias is None else (self.name, self.alias)


async def read_body(
    model: type[BaseModel] | None,
    fields: tuple[FileField, ...],
    request: Request,
    settings: Settings,
    stack: contextlib.AsyncExitStack,
) -> tuple[Any, Mapping[str, list[File]]]:
    """(the model or None, files by field). Open files are closed when `stack` is.

    Raises:
        MediaTypeError: a body that is neither what the endpoint reads.  LimitError: too many files or fields.
        InputError: broken JSON or multipart, a string in a file's place.  ValidationError: the model's own.
    """
    if request.method in ("GET", "DELETE", "HEAD"):
        return _checked(model, from_text(request.query_params.multi_items())), {}
    if request.scope.get("query_string"):
        first = next(iter(request.query_params), "query")[:100]
        raise InputError(f"{request.method} takes its fields in the body, not in the address.", where=first)
    # Where no file has to come, JSON says the same as a form, and no body at all the same as {}.
    reads_json = not fields or _media_type(request) == "application/json" or _is_bare(request)
    if reads_json and not any(field.required for field in fields):
        return (await _json(model, request) if model else None), {field.name: [] for field in fields}
    form = await _form(request, fields)
    stack.push_async_callback(form.close)
    files = _files(form, fields)
    names = {name for field in fields if not field.also_text for name in field.names}
    texts = [(key, value) for key, value in form.multi_items() if key not in names and isinstance(value, str)]
    return _checked(model, from_text(texts)), files


async def _json(model: type[BaseModel], request: Request) -> BaseModel:
    if _is_bare(request):
        return _from_json(model, b"")
    if _media_type(request) != "application/json":
        raise MediaTypeError("Send JSON, with Content-Type: application/json.", where="content-type")
    _, options = parse_options_header(request.headers["content-type"])
    charset = options.get(b"charset", b"utf-8").decode("latin-1").lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise MediaTypeError("Send JSON in UTF-8 (RFC 8259, 8.1).", where="content-type")
    body, marks = bytearray(), Marks()
    async for piece in request.stream():
        marks.count(piece)
        body += piece
    if _announces(request) and not body.removeprefix(codecs.BOM_UTF8):
        raise InputError("A body was announced, and none came: send {} for all defaults.", where="body")
    if len(body) <= _SHORT:
        return _from_json(model, bytes(body))
    return await asyncio.to_thread(_from_json, model, bytes(body))


def _from_json(model: type[BaseModel], body: bytes) -> BaseModel:
    return model.model_validate(given(from_json(body), model))


def _checked(model: type[BaseModel] | None, fields: Mapping[str, str | None]) -> BaseModel | None:
    """Text into the model's types. What takes no fields is given none: they would be ignored otherwise."""
    if model is not None:
        return model.model_validate(given(fields, model), strict=False)
    if stray := next(iter(fields), None):
        raise InputError(f"There is no field {stray[:100]} here; this takes none.", where=stray[:100])
    return None


async def _form(request: Request, fields: tuple[FileField, ...]) -> FormData:
    if _media_type(request) != "multipart/form-data":
        raise MediaTypeError("Send a form, with Content-Type: multipart/form-data.", where="content-type")
    try:
        most = {name: field.most + field.also_text for field in fields for name in field.names}
        return await read_form(request.headers["content-type"], request.stream(), most)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OverloadError(f"There is no room for the files: {error.strerror}.", retry_after_s=5) from error


def _announces(request: Request) -> bool:
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def _is_bare(request: Request) -> bool:
    """Neither a body nor its type came."""
    return "content-type" not in request.headers and not _announces(request)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _files(form: FormData, fields: tuple[FileField, ...]) -> dict[str, list[File]]:
    files: dict[str, list[File]] = {}
    for field in fields:
        values = [value for name in field.names for value in form.getlist(name) if value != ""]  # as good as left out
        if not field.also_text and any(isinstance(value, str) for value in values):
            raise InputError(
                f"{field.name} takes files, not text (with curl: -F {field.name}=@FILE; a file that is text needs a "
                "filename). Nothing is fetched from addresses.",
                where=field.name,
            )
        files[field.name] = [
            File(value.filename or f"{field.name} {index}", value.file)
            for index, value in enumerate(values)
            if isinstance(value, UploadFile)
        ]
        if len(files[field.name]) > field.most:  # under both its names together
            raise LimitError(f"{field.name} takes {field.most} files at most.", where=field.name)
        if field.required and not files[field.name]:
            raise InputError(f"A file is missing: send it as the form field {field.name}.", where=field.name)
    return files
