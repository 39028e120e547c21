"""The hook through which BentoML hands a request over unread (its own reading turns bad uploads into 500s).

BentoML asks an api's `input_spec` to parse the request. Ours describes the fields, for BentoML's own clients and
schema.json, but parses nothing: it passes the request on, and `operations.run` does the rest.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import bentoml
from pydantic import create_model
from starlette.requests import Request
from starlette.responses import Response

from service.http.operation import Operation, run

if TYPE_CHECKING:
    from service.runtime import Core


@dataclass(frozen=True)
class Incoming:
    """A request on its way to its operation."""

    operation: Operation
    request: Request

    async def answer(self, core: "Core") -> Response:
        return await run(self.operation, core, self.request)


def api(operation: Operation) -> Callable[[Callable[..., Awaitable[Response]]], Any]:
    """Decorator: the method becomes a BentoML api at the operation's path, and gets an `Incoming`."""
    return bentoml.api(route=operation.path, input_spec=_input_spec(operation), output_spec=_Answered)


class _Answered(bentoml.IODescriptor):
    """Answers are whole HTTP responses; docs.json says what is in them."""


def _input_spec(operation: Operation) -> type[bentoml.IODescriptor]:
    class Unread(bentoml.IODescriptor):
        __root_input__: ClassVar[bool] = True  # the whole input is one argument

        @classmethod
        async def from_http_request(cls, request: Request, serde: object) -> Any:
            return Incoming(operation, request)

    fields: dict[str, Any] = {field.name: (list[Path], ...) for field in operation.files}
    if operation.body is not None:
        for name, info in operation.body.model_fields.items():
            fields[name] = (info.annotation, info)
    return create_model(f"{operation.name.title()}Input", __base__=Unread, **fields)
