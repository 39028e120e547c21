"""API keys: kept as SHA-256 digests, compared in constant time, asked for under /v1/ only.

A key is a long random string, so that a plain digest is enough: there is no dictionary to try. Make one with

    python -c "import hashlib, secrets; k = secrets.token_urlsafe(32); print(k, hashlib.sha256(k.encode()).hexdigest())"

and give the digest to the service, in GAN_API_KEYS or, one a line, in the file GAN_API_KEYS_FILE; `NAME:DIGEST` gives
the key a name for the logs and the rate limit.
"""

import hashlib
import hmac
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.call import Principal
from service.errors import UnauthorizedError
from service.settings import Settings

_ENTRY = re.compile(r"(?:([A-Za-z0-9._-]{1,64}):)?([0-9a-fA-F]{64})")


@dataclass(frozen=True)
class ApiKey:
    """One accepted key; `digest` is SHA-256, 32 bytes, and `name` what logs and limits call it."""

    name: str
    digest: bytes
    principal: Principal


def load_keys(settings: Settings) -> tuple[ApiKey, ...]:
    """The accepted keys; none means that no key is asked for.

    Raises ValueError for an entry that is not a digest (a key in the clear, say) or an operator without a key, OSError
    for an unreadable file.
    """
    entries = list(settings.api_keys)
    if settings.api_keys_file is not None:
        entries += _lines(settings.api_keys_file)
        if not entries:
            raise ValueError("GAN_API_KEYS_FILE holds no key: with an empty file everyone would be let in.")
    keys = tuple(_parse(entries, settings.operators))
    if unknown := set(settings.operators) - {key.principal.identity for key in keys}:
        raise ValueError(f"GAN_OPERATORS: no key has the name {min(unknown)}.")
    return keys


def _lines(path: Path) -> Iterable[str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _parse(entries: Iterable[str], operators: Collection[str]) -> Iterable[ApiKey]:
    for number, entry in enumerate(entries, 1):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ValueError(f"API key entry {number} is not [NAME:]SHA256 in 64 hexadecimal digits.")
        identity = match[1] or match[2].lower()
        principal = Principal(identity, operator=identity in operators)
        yield ApiKey(match[1] or f"key-{number}", bytes.fromhex(match[2]), principal)


def authenticate(keys: tuple[ApiKey, ...], headers: Mapping[str, str]) -> ApiKey | None:
    """The request's key; None where no keys are asked for.

    Raises UnauthorizedError. Every entry is compared, so that the time taken tells nothing.
    """
    if not keys:
        return None
    scheme, _, token = headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    if not given:
        raise UnauthorizedError(
            "An API key is needed: send Authorization: Bearer KEY, or X-API-Key: KEY.", where="authorization"
        )
    digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
    found = [key for key in keys if hmac.compare_digest(key.digest, digest)]
    if not found:
        raise UnauthorizedError("This API key is not known.", where="authorization")
    return found[0]
