"""Reading a request: JSON, multipart or query, under our own limits, into a checked model and files.

Nothing here ever treats text as an address to fetch from: a string where a file belongs is an error.
"""

import codecs
import contextlib
import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from models.errors import InputError, LimitError, OverloadError
from service.errors import MediaTypeError
from service.http.form import read_form
from service.settings import Settings

# Marks in a JSON body, and how many there may be. The parser holds the interpreter, and with it everybody, for as long
# as it takes: 0.1 s for so many lists or values, and for so many names that are not known.
_MOST = {"names": (b":", 10_000), "lists and objects": (b"[{", 32_768), "values": (b",", 500_000)}
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)


@dataclass(frozen=True)
class FileField:
    """A multipart field that holds files.

    Attributes:
        required: at least one file must come.
        most: how many may come; the settings can hold less.
    """

    name: str
    description: str
    required: bool = True
    most: int = 1


async def read_body(
    model: type[BaseModel] | None,
    fields: tuple[FileField, ...],
    request: Request,
    settings: Settings,
    stack: contextlib.AsyncExitStack,
) -> tuple[Any, Mapping[str, list[UploadFile]]]:
    """(the model or None, files by field). Open files are closed when `stack` is.

    Raises:
        MediaTypeError: a body that is neither what the endpoint reads.  LimitError: too many files or fields.
        InputError: broken JSON or multipart, a string in a file's place.  ValidationError: the model's own.
    """
    if request.method in ("GET", "DELETE", "HEAD"):
        return (model.model_validate(_single(request.query_params.multi_items()), strict=False) if model else None), {}
    # Where no file has to come, JSON says the same as a form.
    if not any(field.required for field in fields) and (not fields or _media_type(request) == "application/json"):
        return (await _json(model, request) if model else None), {field.name: [] for field in fields}
    form = await _form(request, fields)
    stack.push_async_callback(form.close)
    files = _files(form, fields)
    names = {field.name for field in fields}
    text = [(key, value) for key, value in form.multi_items() if key not in names]
    if stray := next((key for key, value in text if not isinstance(value, str)), None):
        raise InputError(f"{stray} is not a field for files; those are: {', '.join(sorted(names))}.", where=stray)
    return (model.model_validate(_single(text), strict=False) if model else None), files


async def _json(model: type[BaseModel], request: Request) -> BaseModel:
    if _media_type(request) != "application/json":
        raise MediaTypeError("Send JSON, with Content-Type: application/json.", where="content-type")
    _, options = parse_options_header(request.headers["content-type"])
    charset = options.get(b"charset", b"utf-8").decode("latin-1").lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise MediaTypeError("Send JSON in UTF-8 (RFC 8259, 8.1).", where="content-type")
    body = (await request.body()).removeprefix(codecs.BOM_UTF8)
    if not body:
        if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
            raise InputError("A body was announced, and none came: send {} for all defaults.", where="body")
        body = b"{}"
    if 0 in body[:4] or body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise MediaTypeError("Send JSON in UTF-8; this looks like UTF-16 or UTF-32.", where="body")
    for what, (marks, most) in _MOST.items():
        if sum(body.count(mark) for mark in marks) > most:
            raise InputError(f"The JSON has too many {what}: at most {most:,} are read.", where="body")
    return model.model_validate_json(body)


async def _form(request: Request, fields: tuple[FileField, ...]) -> FormData:
    if _media_type(request) != "multipart/form-data":
        raise MediaTypeError("Send a form, with Content-Type: multipart/form-data.", where="content-type")
    names, most = [field.name for field in fields], sum(field.most for field in fields)
    try:
        return await read_form(request.headers["content-type"], request.stream(), names, most)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OverloadError(f"There is no room for the files: {error.strerror}.", retry_after_s=5) from error


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _files(form: FormData, fields: tuple[FileField, ...]) -> dict[str, list[UploadFile]]:
    files: dict[str, list[UploadFile]] = {}
    for field in fields:
        values = form.getlist(field.name)
        if any(isinstance(value, str) for value in values):
            raise InputError(
                f"{field.name} takes files, not text (with curl: -F {field.name}=@FILE; a file that is text needs a "
                "filename). Nothing is fetched from addresses.",
                where=field.name,
            )
        files[field.name] = [value for value in values if isinstance(value, UploadFile)]
        if field.required and not files[field.name]:
            raise InputError(f"A file is missing: send it as the form field {field.name}.", where=field.name)
        if len(files[field.name]) > field.most:
            raise LimitError(f"At most {field.most} files are taken in {field.name}.", where=field.name)
    return files


def _single(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Names to values; a name that comes twice is an error, because either value could be the one meant."""
    values: dict[str, Any] = {}
    for key, value in items:
        if key in values:
            raise InputError(f"{key} came twice.", where=key)
        values[key] = value
    return values
