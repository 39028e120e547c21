"""A server that stands before S3, for what a bucket can do to those who use it."""

import http.server

import requests


class Passing(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the server `behind`, or answers in its place as S3 refuses, where `refused` says so."""

    protocol_version = "HTTP/1.1"
    behind: str

    def refused(self) -> tuple[int, str] | None:
        """The status and code to answer, where it is not passed on. It may wait first."""
        raise NotImplementedError

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if (refusal := self.refused()) is not None:
            status, code = refusal
            self._answer(status, {}, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())
            return
        headers = dict(self.headers)
        got = requests.request(self.command, self.behind + self.path, headers=headers, data=body, timeout=60)
        self._answer(got.status_code, dict(got.headers), got.content)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name in headers.keys() - {"Content-Length", "Connection", "Server", "Date"}:
            self.send_header(name, headers[name])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

    def log_message(self, *_: object) -> None: ...
