"""A call as bytes, which is how a job keeps it: one line of JSON, then the files one after the other.

    {"body": {...}, "fields": ["images", "mask"], "files": [["images", "a.png", 1234], ...]}\\n<1234 bytes>...

These two functions are all that jobs know of calls. Equal requests give equal bytes.
"""

import io
import json
from collections.abc import Mapping
from typing import Any, BinaryIO

from pydantic import BaseModel

from service.call import Call, File, Report


def pack_call(call: Call) -> bytes:
    """The body and the files. `accept` is about the answer to the submission, and stays behind."""
    body = None if call.body is None else call.body.model_dump(mode="json", by_alias=True, exclude_unset=True)
    files = [(field, file.name, file.read()) for field, many in sorted(call.files.items()) for file in many]
    head = {
        "body": body,
        "fields": sorted(call.files),
        "files": [(field, name, len(content)) for field, name, content in files],
    }
    return b"".join((_line(head), *(content for _, _, content in files)))


def unpack_call(
    packed: bytes, model: type[BaseModel] | None, seed: int, report: Report, spool: BinaryIO | None = None
) -> Call:
    """The call again. `model` is what its body is checked against."""
    head, rest = _split(packed)
    body = None if model is None else model.model_validate_json(json.dumps(head["body"]))
    files: dict[str, list[File]] = {field: [] for field in head.get("fields", ())}  # earlier versions wrote none
    for field, name, size in head["files"]:
        files.setdefault(field, []).append(File(name, io.BytesIO(rest[:size])))
        rest = rest[size:]
    return Call(body=body, files=files, is_job=True, progress=report, show=report.show, seed=seed, spool=spool)


def _line(head: Mapping[str, Any]) -> bytes:
    return json.dumps(head, sort_keys=True).encode() + b"\n"


def _split(packed: bytes) -> tuple[dict[str, Any], memoryview]:
    end = packed.index(b"\n")
    return json.loads(packed[:end]), memoryview(packed)[end + 1 :]
