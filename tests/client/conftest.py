"""What the client talks to: the service itself, and something that stands in front of it and answers as it pleases."""

import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
import requests

from tests.service.conftest import (  # noqa: F401  fixtures
    Local,
    checkpoints,
    encoding,
    known_mirror,
    local,
    mean_colours,
    scoring,
    serve,
)

HOOKS = "https://hooks.example.com"


@pytest.fixture
def hooked(serve: Callable[..., Local]) -> str:  # noqa: F811
    """The address of a service whose jobs may call HOOKS, which nobody answers."""
    return serve(webhook_hosts=(HOOKS,), webhook_secrets=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",)).url


@dataclass
class Proxy:
    """A server that gives the answers it was told to give, and remembers what it was asked.

    Attributes:
        answers: (status, Retry-After, body) of the next ones; the last of them is given again and again.
        behind: the address of a service that answers in its place, where there is one.
        seen: headers and body of each request.
        before: called with each request's path before it is answered.
    """

    url: str = ""
    answers: list[tuple[int, str | None, str]] = field(default_factory=lambda: [(503, "3", "<html>Busy</html>")])
    behind: str | None = None
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    before: Callable[[str], object] = lambda path: None


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    one = Proxy()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers, body = dict(self.headers), self.rfile.read(int(self.headers.get("Content-Length", 0)))
            one.seen.append((headers, body))
            one.before(self.path)
            if one.behind is not None:
                self.pass_on(requests.request(self.command, one.behind + self.path, headers=headers, data=body))
            else:
                self.answer(*(one.answers.pop(0) if len(one.answers) > 1 else one.answers[0]))

        def pass_on(self, answer: requests.Response) -> None:
            self.send_response(answer.status_code, answer.reason)
            for name in {"Content-Type", "X-Model", "X-Digest"} & answer.headers.keys():
                self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        def answer(self, status: int, wait: str | None, text: str) -> None:
            self.send_response(status, "Busy")
            if wait is not None:
                self.send_header("Retry-After", wait)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who asked may have left: that is a test
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    one.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield one
    server.shutdown()
    server.server_close()
    thread.join(10)
