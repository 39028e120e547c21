"""HTTP/1.1 on one connection: uvicorn's protocol with httptools, and the bounds that uvicorn leaves to a proxy.

    the head of a request    header_kb, header_s, 100 lines     431, 408, and the connection is closed
    between two requests     keep_alive_s                       closed
    an answer                send_s for each further part       cut off
    after SIGTERM            deadline_s, then send_s            cut off
    Upgrade                  is ignored, as RFC 9110 (7.8) lets a server do: the request is answered in HTTP/1.1

httptools takes what follows a request with `Upgrade` for the new protocol's, though the request has a body: uvicorn
0.54 loses that body and parses it as the next request. So such a head is given to a new parser without its Upgrade.
"""

import asyncio
import functools
import re
from collections.abc import Callable
from typing import Any

import httptools
from starlette.exceptions import HTTPException
from uvicorn.config import HTTP_PROTOCOLS, Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from models.errors import OverloadError
from service.http.answers import error_response
from service.http.callers import Callers
from service.http.connections import Connections
from service.settings import Settings

_MOST_HEADERS = 100
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+;=:\[\]-]*")  # uri-host of RFC 3986, with a port
_NO_HTTP = "This is no HTTP request as RFC 9112 has it."
_LINGER_S = 2.0  # for a refused client to read why, while what it still sends is thrown away: see drain.py


class HttpConnection(HttpToolsProtocol):
    """See the head of this file. `connections` are all of the server's."""

    def __init__(
        self,
        settings: Settings,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        if isinstance(self.app, ProxyHeadersMiddleware):
            self.app = self.app.app  # GAN_TRUSTED_PROXIES decides, and not also FORWARDED_ALLOW_IPS
        self.ws_protocol_class = None
        self.timeout_keep_alive = settings.keep_alive_s  # type: ignore[assignment]
        self.moved = self.loop.time()
        self._settings = settings
        self._connections = connections
        self._in_head = False
        self._unparsed = 0  # bytes since the last piece of a body or the end of a head: heads, trailers, chunk headers
        self._farewell: bytes | None = None  # the last thing to be sent, once what came before it is answered
        self._active: RequestResponseCycle | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def address(self) -> str:
        return self.client[0] if self.client else "-"

    @property
    def waits(self) -> bool:
        return not self.transport.is_closing() and (not self._working or self.cycle.more_body or self.flow.write_paused)

    @property
    def _working(self) -> bool:
        """A request is being read, worked on or answered. Pipelined ones end in order, so the newest tells."""
        return self.cycle is not None and not self.cycle.response_complete

    def abort(self) -> None:
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self._connections.enter(self):
            self._at("head", self._settings.header_s, self._head_is_late)
        else:
            self._refuse(OverloadError("Too many connections are open.", retry_after_s=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.leave(self)
        for name in list(self._timers):
            self._forget(name)
        super().connection_lost(exc)

    # Reading

    def data_received(self, data: bytes) -> None:
        self.moved = self.loop.time()
        self._unset_keepalive_if_required()
        if self._farewell is not None:
            return
        self._unparsed += len(data)
        try:
            self._feed(data)
            if self._unparsed > self._settings.header_kb * 1024:
                raise self._headers_too_large()
        except HTTPException as error:
            self._refuse(error)
        except httptools.HttpParserError as error:
            within = error.__context__  # what a callback below raised
            ours = within if isinstance(within, HTTPException) else None
            self._refuse(ours or HTTPException(400, _NO_HTTP))
        else:
            if (self._in_head or not self._working) and "head" not in self._timers:
                self._at("head", self._settings.header_s, self._head_is_late)

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """The head that was just read, for a new parser; CONNECT, which has no other meaning, is refused."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if method == b"CONNECT":
            raise HTTPException(501, "This is no proxy.")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn
        lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(lines))

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # else it is a trailer, which would join the headers that were looked at already
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # it comes again without
        self._in_head = False
        self._forget("head")
        self._check_head()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._settings.header_kb * 1024 or len(self.headers) > _MOST_HEADERS:
            raise self._headers_too_large()
        self._unparsed = 0
        self.scope["gan.abort"] = self.abort  # type: ignore[typeddict-unknown-key]
        self.scope["gan.stopping"] = self._connections.stopping  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()

    def _check_head(self) -> None:
        """Refuses what httptools lets pass, and a server in front of this one could read in another way."""
        version = self.parser.get_http_version()
        hosts = [value.strip() for name, value in self.headers if name == b"host"]
        codings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        if version not in ("1.0", "1.1") or (version == "1.0" and codings):
            raise HTTPException(400, _NO_HTTP)
        if version == "1.0":
            self.expect_100_continue = False  # such a client would take it for the answer (RFC 9110, 10.1.1)
        if len(hosts) > 1 or (not hosts and version == "1.1") or not all(map(_HOST.fullmatch, hosts)):
            raise HTTPException(400, "A request names one host, in its Host header (RFC 9112, 3.2).")
        if codings not in ([], [b"chunked"]):
            raise HTTPException(501, "Of transfer codings, chunked alone is read.")

    def _headers_too_large(self) -> HTTPException:
        return HTTPException(
            431, f"The head of a request may have {self._settings.header_kb} KiB and {_MOST_HEADERS} lines."
        )

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            self.cycle.keep_alive &= self.parser.should_keep_alive()  # which a trailer may have changed
            super().on_message_complete()

    def eof_received(self) -> bool:  # type: ignore[override]
        """True keeps the connection for the answer to what was asked; a client that has left looks the same."""
        over_tls = self.scheme == "https"  # where a half-closed connection is none
        if over_tls or not self._working or self.cycle.more_body or self._settings.half_closed_s == 0:
            return False
        self.cycle.keep_alive = False
        self._at("half-closed", self._settings.half_closed_s, self._has_left)
        return True

    def _has_left(self) -> None:
        if not self.cycle.response_started:
            self.abort()

    def _head_is_late(self) -> None:
        if self._working and not self._in_head:
            return
        if self._working:  # a second request has begun to come while the first is being answered
            self._at("head", self._settings.header_s, self._head_is_late)
        elif self._in_head:
            late = f"The head of the request did not come within {self._settings.header_s:g} s."
            self._refuse(HTTPException(408, late))
        else:
            self.transport.close()

    # Writing

    def pause_writing(self) -> None:
        super().pause_writing()
        self._at("send", self._settings.send_s, self.abort)

    def resume_writing(self) -> None:
        self.moved = self.loop.time()
        self._forget("send")
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._at("send", self._settings.send_s, self.abort)
        elif self._farewell is not None and not self._working:
            self._unset_keepalive_if_required()
            self._leave(self._farewell)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._at("send", self._settings.send_s, self.abort)

    def shutdown(self) -> None:
        self._connections.stopping.set()
        super().shutdown()
        begun = not self._working or self.cycle.response_started
        self._at("end", self._settings.send_s + (0 if begun else self._settings.deadline_s), self.abort)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def _refuse(self, error: Exception) -> None:
        """Answers what is being read, and closes; requests that came before it are answered first."""
        answer = error_response(error)
        headers = [*answer.raw_headers, (b"connection", b"close")]
        lines = [STATUS_LINE[answer.status_code], *(b"%b: %b\r\n" % header for header in headers), b"\r\n"]
        self._farewell = b"".join(lines) + bytes(answer.body)
        broken = self.cycle if self._working and self.cycle.more_body and not self._in_head else None
        if broken is not None and broken is self._active:  # its handler waits for a body that will not come
            broken.disconnected = True
            broken.message_event.set()
            if broken.response_started:
                self.transport.close()
            else:
                self._leave(self._farewell)
            return
        if broken is not None:
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._active  # type: ignore[assignment]
        if not self._working:  # else on_response_complete does
            self._leave(self._farewell)

    def _leave(self, farewell: bytes) -> None:
        self.transport.write(farewell)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._at("leave", _LINGER_S, self.transport.abort)
        else:
            self.transport.close()

    # Timers, by name

    def _at(self, name: str, seconds: float, then: Callable[[], None]) -> None:
        self._forget(name)
        self._timers[name] = self.loop.call_later(seconds, self._fire, name, then)

    def _fire(self, name: str, then: Callable[[], None]) -> None:
        del self._timers[name]
        then()

    def _forget(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()


def http_protocol(settings: Settings) -> Callable[..., HttpConnection]:
    """What uvicorn's `http=` takes, for one server."""
    return functools.partial(HttpConnection, settings, Connections(settings, Callers(settings)))


def serve_by(settings: Callable[[], Settings]) -> None:
    """Has the server that this process starts next use it: BentoML starts uvicorn with `http="auto"`, and has no
    setting to change that, so that the name is given another meaning in uvicorn's table. The settings are asked for
    when the first client connects."""
    protocol = functools.cache(lambda: http_protocol(settings()))
    HTTP_PROTOCOLS["auto"] = lambda *args, **options: protocol()(*args, **options)  # type: ignore[assignment]
