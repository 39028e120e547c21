"""The one exception tree of the project.

    GanError                        everything this project raises on purpose
    ├── InputError                  the caller's data or parameters are not acceptable      400
    │   ├── ImageError              the bytes are not an image of an accepted kind          415
    │   │   └── BrokenImageError    an image, but truncated or corrupt                      422
    │   └── LimitError              well-formed, but past a stated limit                    413
    ├── NotFoundError               a named thing does not exist                            404
    ├── ConflictError               it exists already, or changed meanwhile                 409
    ├── CheckpointError             not a checkpoint that we accept, or a broken one
    ├── WeightsUnavailable          Inception weights (or its classifier) are not at hand   503
    └── OverloadError               more work than can be queued; try again later           503

Every error's text is one sentence or two that a person can act on: what was wrong, where, and what would be
right. The numbers are the HTTP status that the service answers with; nothing below the service knows them. The two
checks at the end raise the commonest of them, in one wording for every field.
"""


class GanError(Exception):
    """Root of the tree. `where` names the field, file or image at fault, when there is one."""

    def __init__(self, message: str, *, where: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where


class InputError(GanError, ValueError):
    """The caller's data or parameters are not acceptable."""


class ImageError(InputError):
    """The bytes are not an image of an accepted kind."""


class BrokenImageError(ImageError):
    """An image of an accepted kind, but truncated or corrupt."""


class LimitError(InputError):
    """Well-formed, but past a stated limit (pixels, bytes, counts)."""


class NotFoundError(GanError):
    """A named thing (model, reference, job) does not exist."""


class ConflictError(GanError):
    """The thing exists already, or changed under the caller."""


class CheckpointError(GanError):
    """The file is not a checkpoint that we accept, or it is broken."""


class WeightsUnavailable(GanError):
    """The Inception weights, or the classifier part of them, are not at hand."""


class OverloadError(GanError):
    """More work than can be queued; `retry_after_s` says when to try again, in seconds."""

    def __init__(self, message: str, *, retry_after_s: float, where: str | None = None) -> None:
        super().__init__(message, where=where)
        self.retry_after_s = retry_after_s


def check_range(name: str, value: float, low: float, high: float, *, open_end: bool = False) -> None:
    """Raises InputError unless low <= value <= high (value < high where the end is open)."""
    if not low <= value <= high or (open_end and value == high):
        end = f"less than {high:,}" if open_end else f"{high:,}"
        raise InputError(f"{name} is {low:,} to {end}, not {value}.", where=name)


def check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Raises InputError unless the value is one of the choices."""
    if value not in choices:
        raise InputError(f"{name} is one of {', '.join(map(str, choices))}, not {value!r}.", where=name)
