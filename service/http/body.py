"""Reading a request: JSON, multipart or query, under our own limits, into a checked model and files.

Nothing here ever treats text as an address to fetch from: a string where a file belongs is an error.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

from pydantic import BaseModel
from python_multipart.exceptions import FormParserError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from models.errors import InputError, LimitError
from service.errors import MediaTypeError
from service.settings import Settings

MAX_FIELDS = 100
FIELD_BYTES = 1 << 20  # one form field of text


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
    form = await _form(request, sum(field.most for field in fields))
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
    return model.model_validate_json(await request.body() or b"{}")


async def _form(request: Request, most_files: int) -> FormData:
    if _media_type(request) != "multipart/form-data":
        raise MediaTypeError("Send a form, with Content-Type: multipart/form-data.", where="content-type")
    header = Message()
    header["content-type"] = request.headers["content-type"]
    if not header.get_param("boundary"):
        raise InputError("The Content-Type names no boundary; let your HTTP library set it.", where="content-type")
    try:
        return await request.form(max_files=most_files, max_fields=MAX_FIELDS, max_part_size=FIELD_BYTES)
    except HTTPException as error:
        kind = LimitError if error.detail.startswith("Too many") or "exceeded" in error.detail else InputError
        raise kind(f"{error.detail.rstrip('.')}.", where="body") from error
    except (FormParserError, UnicodeDecodeError, KeyError, AssertionError) as error:
        raise InputError("The multipart body is broken or cut short.", where="body") from error


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _files(form: FormData, fields: tuple[FileField, ...]) -> dict[str, list[UploadFile]]:
    files: dict[str, list[UploadFile]] = {}
    for field in fields:
        values = form.getlist(field.name)
        if any(isinstance(value, str) for value in values):
            raise InputError(
                f"{field.name} takes files, not text (with curl: -F {field.name}=@FILE). Nothing is fetched from "
                "addresses.",
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
