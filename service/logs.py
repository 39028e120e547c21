"""TODO-DOC."""

import asyncio
import contextlib
import contextvars
import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

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


class _Stdout(logging.StreamHandler[TextIO]):
    """Writes to whatever standard output is at that moment, and leaves the flushing to `flush_logs`.

    A flush for every line would let go of the interpreter for every request, and wait to have it back from a thread
    that runs a network.
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stdout

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if record.levelno >= logging.WARNING:
            _flush()

    def flush(self) -> None:
        """Called after every line by the base class."""


def _flush() -> None:
    """Lines that standard output cannot take (a broken pipe, a full disk) are lost, and the service goes on."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()


async def flush_logs(every_s: float = 0.2) -> None:
    """Brings the log lines out, until cancelled."""
    try:
        while True:
            await asyncio.sleep(every_s)
            _flush()
    finally:
        _flush()


def set_up_logging(as_json: bool) -> None:
    """Our loggers write to standard output, whatever BentoML does with its own."""
    handler = _Stdout()
    handler.setFormatter(JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("gan")
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
