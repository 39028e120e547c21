"""Which addresses may be called when a job is over: a client names them, and must not reach where only the service can.

Two things are asked, of two different things. The origin of the address (scheme, host, port) has to be one that the
operator lists; and what its name stands for, looked up when it is called, has to be a public address, or one that the
operator lists, too. The connection goes to the address that was checked: a name that is looked up twice may change in
between (DNS rebinding).
"""

import asyncio
import base64
import errno
import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook
from yarl import URL

from models.errors import InputError

PAUSES_S = (15.0, 60.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
"""18 hours in all, of the day that a job is kept. An attempt takes less than the shortest."""

_LEAST_BYTES = 24  # as the standard has it
_VISIBLE = re.compile(r"[\x21-\x7e]{1,2000}")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Origin = tuple[str, str, int]
"""Scheme, host and port."""


@dataclass(frozen=True)
class Callbacks:
    """What the operator allows.

    Attributes:
        networks: that may be called although they are not public.
        signers: of what is told; several while one secret is replaced by another.
        pauses_s: after each attempt but the last one.
    """

    origins: frozenset[Origin] = frozenset()
    networks: tuple[_Network, ...] = ()
    signers: tuple[Webhook, ...] = ()
    pauses_s: tuple[float, ...] = PAUSES_S

    @classmethod
    def parse(cls, entries: Iterable[str], secrets: Iterable[str]) -> Self:
        """Of entries that are origins, `hooks.example.com` for https://hooks.example.com, and networks, `10.0.3.0/24`;
        an origin of an address in digits lists that address, too. Of secrets as `whsec_...`. Raises ValueError."""
        origins, networks = set[Origin](), list[_Network]()
        for entry in entries:
            if "://" not in entry and "/" in entry:
                networks.append(_network(entry))
                continue
            origin = _origin(entry if "://" in entry else f"https://{entry}")
            if origin is None:
                raise ValueError(f"GAN_WEBHOOK_HOSTS: {entry!r} is neither an origin nor a network.")
            origins.add(origin)
            if (address := _address(origin[1])) is not None:
                networks.append(ipaddress.ip_network(address))
        signers = tuple(_signer(secret) for secret in secrets)
        if origins and not signers:
            raise ValueError("GAN_WEBHOOK_SECRETS has to say what is signed with, where GAN_WEBHOOK_HOSTS is set.")
        return cls(frozenset(origins), tuple(networks), signers)

    def check(self, url: str) -> None:
        """Raises InputError for an address that may not be called."""
        origin = _origin(url)
        if origin is None:
            sentence = "callback is an address that begins with https:// or http://, without user, password and #."
            raise InputError(sentence, where="callback")
        if origin not in self.origins:
            raise InputError(
                f"{URL(url).origin()} is not called by this service; its operator lists what is (GAN_WEBHOOK_HOSTS).",
                where="callback",
            )

    def permits(self, address: str) -> bool:
        """Whether a connection may go there."""
        parsed = _address(address)
        if parsed is None:
            return False
        return any(parsed in network for network in self.networks) or (parsed.is_global and not parsed.is_multicast)


class Resolver(AbstractResolver):
    """Looks names up for aiohttp, which connects to nothing else than what it is given here."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises OSError where there is nothing that may be called."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        permitted = [one for one in found if self._callbacks.permits(str(one[4][0]))]
        if not permitted:
            raise OSError(errno.EACCES, f"{host} stands for no address that may be called")
        return [
            ResolveResult(
                hostname=host, host=str(place[0]), port=port, family=kind, proto=proto, flags=socket.AI_NUMERICHOST
            )
            for kind, _, proto, _, place in permitted
        ]

    async def close(self) -> None:
        pass


def _network(entry: str) -> _Network:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError as error:
        raise ValueError(f"GAN_WEBHOOK_HOSTS: {error}.") from None


def _signer(secret: str) -> Webhook:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not (secret.startswith("whsec_") and len(key) >= _LEAST_BYTES):
        raise ValueError(f"GAN_WEBHOOK_SECRETS: a secret is whsec_ and at least {_LEAST_BYTES} bytes in base64.")
    return Webhook(key)


def _origin(url: str) -> Origin | None:
    """None for what is no address that could be called."""
    try:
        parsed = URL(url) if _VISIBLE.fullmatch(url) else URL()
        _ = urlsplit(url).port  # which refuses what is not in digits; URL reads 8_0 as 80
    except ValueError:
        return None
    if parsed.scheme not in ("http", "https") or parsed.user or parsed.password or parsed.fragment:
        return None
    if not parsed.raw_host or not parsed.port:
        return None
    return parsed.scheme, parsed.raw_host.lower().rstrip("."), parsed.port


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """As its network sees it: an IPv4 address within an IPv6 one is that IPv4 address."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        return parsed.ipv4_mapped or parsed.sixtofour or parsed
    return parsed
