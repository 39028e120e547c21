"""What a command answers, on standard output. Nobody has to listen: work does not end because an output was closed."""

import contextlib
import os
import sys
from typing import TextIO


def ready() -> None:
    """Opens to nowhere what the process was started without (`>&-`, some schedulers): Python has None in its place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - open as long as the process


def answer(text: str) -> None:
    """Prints what was asked for. A reader that left (`| head`) has what it wanted.

    Raises:
        OSError: it cannot be written, as where the disk is full.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        silence(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise
    finally:
        try:
            sys.stderr.flush()  # what is left of a progress bar
        except OSError:
            silence(sys.stderr)


def sentence(error: Exception) -> str:
    """What an error says to people: of the system's, the file and the reason, without their number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'file'}: {error.strerror}."
    return str(error)


def silence(stream: TextIO) -> None:
    """Sends what is still to be written, and what the interpreter flushes at its end, to nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
