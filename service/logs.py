"""Log lines: one JSON object each, with the id of the request they belong to, written beside the event loop."""

import contextlib
import contextvars
import json
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")


class JsonLines(logging.Formatter):
    """One JSON object a line; whatever is in a record's `fields` is added."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **({"request_id": request_id.get()} if request_id.get() else {}),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class Outlet(logging.Handler):
    """Log lines on their way to standard output, which a thread of its own writes.

    Whoever logs never waits for whoever reads: what standard output does not take for a while is kept, and past `most`
    characters lost, which is said once it is read again. Lines are written some at a time, because every write lets go
    of the interpreter, and waits to have it back from a thread that runs a network.
    """

    def __init__(self, most: int = 4 << 20, every_s: float = 0.2) -> None:
        super().__init__()
        self._most = most
        self._every_s = every_s
        self._lines: deque[str] = deque()
        self._waiting = 0  # characters
        self._lost = 0
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record) + "\n"
        if self._waiting + len(line) > self._most:
            self._lost += 1
            return
        self._lines.append(line)
        self._waiting += len(line)
        if record.levelno >= logging.WARNING:
            self._wake.set()

    def close(self) -> None:
        """Writes what is left, if it is taken within a second."""
        self._closing = True
        self._wake.set()
        self._thread.join(1)
        super().close()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(self._every_s)
            self._wake.clear()
            self._write()
        self._write()

    def _write(self) -> None:
        count = len(self._lines)
        text = "".join(self._lines.popleft() for _ in range(count))
        if text:
            _to_stdout(text)
        with self.lock or contextlib.nullcontext():
            self._waiting -= len(text)
            lost, self._lost = self._lost, 0
        if lost:
            note = logging.LogRecord("gan", logging.WARNING, __file__, 0, "log lines were lost", None, None)
            note.fields = {"lines": lost}
            _to_stdout(self.format(note) + "\n")


def _to_stdout(text: str) -> None:
    """Lines that standard output cannot take (a broken pipe, a full disk) are lost, and the service goes on.

    They are written past `sys.stdout` where that is a file: a thread that is stuck in it has it locked for everybody.
    """
    with contextlib.suppress(OSError, ValueError):
        try:
            file = sys.stdout.fileno()
        except OSError:  # no file: what a test put there
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        left = memoryview(text.encode(errors="backslashreplace"))
        while left:
            left = left[os.write(file, left) :]


def set_up_logging(as_json: bool, also: Iterable[str] = ()) -> Outlet:
    """Our logger, and those named in `also`, write to standard output through an outlet, whatever they had before.

    It is for the whole process, so that a process's own module calls it, and no runtime does.
    """
    outlet = Outlet()
    outlet.setFormatter(JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("gan", *also):
        logging.getLogger(name).handlers = [outlet]
    log = logging.getLogger("gan")
    log.setLevel(logging.INFO)
    log.propagate = False
    return outlet
