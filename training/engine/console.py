"""What is said to a person. Nobody has to listen: a run does not end because its output was closed (`| head`)."""

import sys
from typing import TextIO

from tqdm import tqdm

from models import console


def say(text: str, stream: TextIO | None = None) -> None:
    """Prints a line, past a progress bar, on standard error or the stream given. Once that is closed or full, it and
    all further lines go nowhere."""
    stream = stream or sys.stderr
    try:
        tqdm.write(text, file=stream)
        stream.flush()
    except (OSError, ValueError):  # a broken pipe, no space, a closed file
        console.silence(stream)
