"""Who a request comes from, for limits and logs.

The other end of the connection, unless that is a proxy which `GAN_TRUSTED_PROXIES` names: then the right-most address
that is no trusted proxy in the one header that `GAN_FORWARDED_HEADER` names. What stands left of it came from outside,
where anybody writes anything; and a second header, which the proxy may pass on as it came, is not looked at.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence

from starlette.datastructures import Headers

from service.settings import Settings

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;]*)', re.IGNORECASE)
# An address with or without its port: 10.0.0.1, 10.0.0.1:80, ::1, [::1]:80
_HOST = re.compile(r"\[([^\]]+)\](?::\d+)?|([^:]+):\d+|(.+)")


class Callers:
    """Tells one caller from another."""

    def __init__(self, settings: Settings) -> None:
        self._proxies = [ipaddress.ip_network(one, strict=False) for one in settings.trusted_proxies]
        self._header = settings.forwarded_header

    def trusts(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._proxies)

    def of(self, client: Sequence[object] | None, headers: Headers) -> str:
        """The caller's name: an address, or the 64-bit network that one IPv6 address stands for."""
        address = str(client[0]) if client else "-"
        for before in self._forwarded(headers) if self._proxies else ():
            if not self.trusts(address) or _parsed(before) is None:
                break
            address = before
        return self.group(address)

    def group(self, address: str) -> str:
        """What counts as one: an IPv6 client usually has a whole network of 64 bits to itself."""
        parsed = _parsed(address)
        if isinstance(parsed, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((parsed, 64), strict=False))
        return str(parsed or address)

    def _forwarded(self, headers: Headers) -> Iterator[str]:
        """The addresses in the header, the nearest first."""
        entries = ",".join(headers.getlist(self._header)).split(",")
        for entry in reversed(entries):
            if self._header == "forwarded":
                match = _FOR.search(entry)
                entry = match[1].strip('"') if match else ""
            match = _HOST.fullmatch(entry.strip())
            yield next((part for part in match.groups() if part), "") if match else ""


def _parsed(address: str) -> _Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
