"""Addresses of servers and buckets, as people may read them: no password is shown, not even of a wrong address."""

import re

_BEGINNING = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # one letter is a drive of Windows


def scheme(text: str) -> str:
    """What an address begins with, such as "redis", in small letters; "" of a path."""
    found = _BEGINNING.match(text)
    return found[1].lower() if found else ""


def without_secrets(text: str) -> str:
    """An address without user, password and query; a path as it is.

    A password in which `/`, `?` or `#` was not escaped would end the host too early: all before the last `@` goes.
    """
    found = _BEGINNING.match(text)
    if found is None:
        return text
    return found[0] + re.split("[?#&]", text[found.end() :].rpartition("@")[2])[0]
