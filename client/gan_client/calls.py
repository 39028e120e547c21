"""A call is first a value, the request, so that whoever has it decides: wait for the answer, or submit it as a job."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from gan_client.images import Images

T = TypeVar("T")
P = ParamSpec("P")
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Request(Generic[T]):
    """What `POST /v1/{name}`, or `/v1/jobs/{name}`, is asked. The answer is a T."""

    name: str
    body: Fields
    files: Mapping[str, Images | None] = field(default_factory=dict)


class Answering(Protocol):
    """What asks the service: a client."""

    def answer(self, request: Request[T]) -> T: ...


class Call(Generic[P, T]):
    """A method of a client: called, it gives the answer; `client.submit(method, ...)` makes a job of it.

    Attributes:
        request: what writes the request, from the method's arguments.
    """

    def __init__(self, request: Callable[P, Request[T]], answer: Callable[[Request[T]], T]) -> None:
        self.request, self._answer = request, answer
        functools.update_wrapper(self, request)  # its name, text and signature, for help()

    def __call__(self, *args: P.args, **options: P.kwargs) -> T:
        return self._answer(self.request(*args, **options))


class call(Generic[P, T]):
    """Decorates a method that writes a request: of a client, it is then a `Call`."""

    def __init__(self, method: Callable[Concatenate[Any, P], Request[T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, client: None, _: type) -> Self: ...
    @overload
    def __get__(self, client: Answering, _: type) -> Call[P, T]: ...
    def __get__(self, client: Answering | None, _: type) -> Self | Call[P, T]:
        return self if client is None else Call(MethodType(self._method, client), client.answer)
