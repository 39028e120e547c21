"""What is said to a person. Nobody has to listen: a run does not end because its output was closed (`| head`)."""

import contextlib
import os
import sys
from typing import TextIO

from tqdm import tqdm


def say(text: str, stream: TextIO | None = None) -> None:
    """Prints a line, past a progress bar, on standard error or the stream given. Once that is closed or full, it and
    all further lines go nowhere."""
    stream = stream or sys.stderr
    try:
        tqdm.write(text, file=stream)
        stream.flush()
    except (OSError, ValueError):  # a broken pipe, no space, a closed file
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """Sends what is still to be written, and what the interpreter flushes at its end, to nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
