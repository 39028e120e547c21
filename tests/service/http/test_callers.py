"""Who a request comes from: the setting decides, and what outsiders write into headers does not."""

import pytest
from starlette.datastructures import Headers

from service.http.callers import Callers
from service.settings import Settings


def caller(peer: str, *lines: str, trusted: str = "", header: str = "x-forwarded-for") -> str:
    environment = {"GAN_TRUSTED_PROXIES": trusted, "GAN_FORWARDED_HEADER": header}
    headers = Headers(raw=[(header.encode(), line.encode()) for line in lines])
    return Callers(Settings.from_environment(environment)).of((peer, 1234), headers)


def test_without_trusted_proxies_nobody_is_believed() -> None:
    for peer in ("127.0.0.1", "203.0.113.9"):
        assert caller(peer, "198.51.100.1") == peer


def test_the_right_most_address_that_is_no_trusted_proxy() -> None:
    trusted = "10.0.0.0/8, 192.0.2.1"
    assert caller("10.1.2.3", "198.51.100.1", trusted=trusted) == "198.51.100.1"
    assert caller("10.1.2.3", "6.6.6.6, 198.51.100.1, 192.0.2.1", trusted=trusted) == "198.51.100.1"
    assert caller("10.1.2.3", "6.6.6.6", "198.51.100.1 ,10.9.9.9", trusted=trusted) == "198.51.100.1"
    assert caller("203.0.113.9", "198.51.100.1", trusted=trusted) == "203.0.113.9"  # it is no proxy of ours
    assert caller("10.1.2.3", trusted=trusted) == "10.1.2.3"
    assert caller("10.1.2.3", "10.4.4.4", trusted=trusted) == "10.4.4.4"  # the first of a chain of our own


def test_what_is_no_address_ends_the_chain() -> None:
    for odd in ("unknown", "_hidden", "", "1.2.3", "a, b", "999.1.1.1"):
        assert caller("10.1.2.3", f"6.6.6.6, {odd}", trusted="10.0.0.0/8") == "10.1.2.3"


def test_forwarded_as_rfc_7239_has_it() -> None:
    def forwarded(*lines: str) -> str:
        return caller("10.1.2.3", *lines, trusted="10.0.0.0/8", header="forwarded")

    assert forwarded("for=198.51.100.1") == "198.51.100.1"
    assert forwarded('for=6.6.6.6, proto=https;For="198.51.100.1:4711";by=10.1.2.3') == "198.51.100.1"
    assert forwarded('for="[2001:db8:1:2::3]:4711"') == "2001:db8:1:2::/64"
    assert forwarded("for=198.51.100.1, proto=https") == "10.1.2.3"  # the nearest proxy says nothing
    assert caller("10.1.2.3", "for=198.51.100.1", trusted="10.0.0.0/8") == "10.1.2.3"  # the other header


def test_an_ipv6_client_is_its_network_and_a_mapped_address_is_ipv4() -> None:
    assert caller("2001:db8::1") == caller("2001:db8::ffff:1") == "2001:db8::/64"
    assert caller("::ffff:10.1.2.3", "198.51.100.1", trusted="10.0.0.0/8") == "198.51.100.1"


@pytest.mark.parametrize("proxies", ["10.0.0.0/33", "proxy.example", "10.0.0.1 10.0.0.2"])
def test_a_wrong_network_is_a_sentence(proxies: str) -> None:
    with pytest.raises(ValueError, match="GAN_TRUSTED_PROXIES"):
        Settings.from_environment({"GAN_TRUSTED_PROXIES": proxies})
