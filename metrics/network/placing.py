"""On which device a network runs."""

import contextlib
from collections.abc import Iterator

import torch

from models import InputError


@contextlib.contextmanager
def placing(device: str | None) -> Iterator[torch.device]:
    """The torch device of this name, by default "cuda" where there is one, for the block to put a network on.

    Raises:
        InputError: it is not one of this machine's.
    """
    try:
        yield torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except (RuntimeError, AssertionError) as error:  # torch says both
        raise InputError(f"The device {device!r} is not one of this machine's: {error}.", where="device") from error
