"""What may be called, and where a connection goes."""

import asyncio

import pytest

from models.errors import InputError
from service.jobs.callbacks import Callbacks, Resolver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_origins_are_compared_whole() -> None:
    allowed = Callbacks.parse(
        ("hooks.example.com", "http://plain.example.com", "https://other.example.com:8443", "http://[fd00::7]:9000"),
        (SECRET,),
    )
    for url in (
        "https://hooks.example.com",
        "https://HOOKS.example.com./gan?token=1",
        "https://hooks.example.com:443/",
        "http://plain.example.com/a",
        "https://other.example.com:8443/",
        "http://[fd00::7]:9000/",
    ):
        allowed.check(url)
    for url in (
        "http://hooks.example.com/",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com:0/",
        "https://hooks.example.com:44_3/",
        "http://[::1]:9000/",
        "https://hooks.example.com.evil.com/",
        "https://evil.com/hooks.example.com",
        "https://evil.com\\@hooks.example.com/",
        "https://hooks.example.com\\.evil.com/",
        "https://hooks.example.com@evil.com/",
        "https://user:password@hooks.example.com/",
        "https://hooks.example.com/#there",
        "https://hooks.example.com/ a",
        "https://hooks.example.com/\r\nX: 1",
        "ftp://hooks.example.com/",
        "file:///etc/passwd",
        "//hooks.example.com/",
        "https://[fd00::7",
        "",
    ):
        with pytest.raises(InputError) as caught:
            allowed.check(url)
        assert caught.value.where == "callback"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "2002:7f00:1::",
        "localhost",
    ],
)
def test_what_is_not_public_is_not_called_unless_it_is_listed(address: str) -> None:
    assert not Callbacks.parse(("hooks.example.com",), (SECRET,)).permits(address)
    everything = Callbacks.parse(("0.0.0.0/0", "::/0"), ())
    assert everything.permits(address) == (address != "localhost")


def test_public_addresses_and_those_of_listed_networks_are_called() -> None:
    allowed = Callbacks.parse(("http://10.0.3.7:9000", "192.168.5.0/24"), (SECRET,))
    called = ("1.1.1.1", "2606:4700::1111", "10.0.3.7", "::ffff:10.0.3.7", "192.168.5.200")
    assert [allowed.permits(address) for address in called] == [True] * 5
    assert not allowed.permits("10.0.3.8")


def test_a_name_is_looked_up_once_and_what_may_not_be_called_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        answers = [["10.0.0.1", "1.1.1.1"], ["127.0.0.1"]]

        async def looked_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
            return [(2, 1, 6, "", (address, port)) for address in answers.pop(0)]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked_up, raising=False)
        resolver = Resolver(Callbacks.parse(("hooks.example.com",), (SECRET,)))
        (found,) = await resolver.resolve("hooks.example.com", 443)
        assert (found["hostname"], found["host"], found["port"]) == ("hooks.example.com", "1.1.1.1", 443)
        with pytest.raises(OSError, match=r"hooks\.example\.com stands for no address that may be called"):
            await resolver.resolve("hooks.example.com", 443)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("hosts", "secrets", "named"),
    [
        (("ftp://a",), (SECRET,), "GAN_WEBHOOK_HOSTS: 'ftp://a' is neither an origin nor a network"),
        (("10.0.0.0/40",), (SECRET,), "GAN_WEBHOOK_HOSTS: '10.0.0.0/40'"),
        (("https://a:b@c",), (SECRET,), "neither an origin"),
        (("a.example.com",), (), "GAN_WEBHOOK_SECRETS has to say"),
        ((), ("whsec_AAAA",), "at least 24 bytes"),
        ((), ("whsec_not base64",), "in base64"),
        ((), (SECRET.removeprefix("whsec_"),), "a secret is whsec_"),
    ],
)
def test_what_is_configured_wrongly_is_said(hosts: tuple[str, ...], secrets: tuple[str, ...], named: str) -> None:
    with pytest.raises(ValueError, match="GAN_WEBHOOK") as caught:
        Callbacks.parse(hosts, secrets)
    assert named in str(caught.value)
    assert not any(secret in str(caught.value) for secret in secrets)
