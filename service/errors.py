"""What only a server knows of errors, beside the tree of models/errors.py; http/answers.py gives each its status:

GanError
├── UnauthorizedError     no API key, or not one that we know      401
├── MethodError           the path takes other methods             405
├── MediaTypeError        a body of a type the endpoint does not read   415
│   └── CodingError       a body that is compressed, or coded otherwise
├── SlowUploadError       the request did not arrive in time       408
├── NotAcceptableError    no format that the Accept header allows  406
├── DeadlineError         not done within the deadline             504
└── OverloadError
    └── RateLimitError    the key's requests a minute are used up  429
"""

from collections.abc import Sequence

from models.errors import GanError, OverloadError


class UnauthorizedError(GanError):
    """No API key came with the request, or not one that we know."""


class MethodError(GanError):
    """The path takes other methods: those `allowed`."""

    def __init__(self, message: str, *, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = allowed


class MediaTypeError(GanError):
    """The body is of a type that the endpoint does not read."""


class CodingError(MediaTypeError):
    """The body is coded in a way (Content-Encoding) that is not undone."""


class SlowUploadError(GanError):
    """The request's body did not arrive within the deadline."""


class NotAcceptableError(GanError):
    """The Accept header allows none of the formats that the endpoint can answer in."""


class DeadlineError(GanError):
    """The work was not done within the deadline."""


class RateLimitError(OverloadError):
    """The key's requests a minute are used up."""


class RangeError(GanError):
    """The bytes that were asked for are none of the answer's. `size` is how many it has; None where Range is broken."""

    def __init__(self, message: str, *, size: str | None) -> None:
        super().__init__(message, where="range")
        self.size = size
