"""Whose job is whose: what a job keeps of its owner, and what follows from a client's idempotency key.

Both are HMACs under a secret that all replicas share, in the store: a record gives away neither a key nor a name, nor
what could be tried against a list of either.
"""

import hmac

from service.call import Principal
from service.jobs.kept import Kept
from service.jobs.records import Record, Request


class Owners:
    """See the head of this file. Methods raise OverloadError where the store cannot be used."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._secret: bytes | None = None

    async def of(self, principal: Principal) -> str:
        """What a job keeps of its owner."""
        return (await self._keyed(f"\nowner\n{principal.identity}")).hex()

    async def may_see(self, principal: Principal | None, job: Record | Request) -> bool:
        """A job without an owner was submitted when no keys were asked for, or before jobs had owners: its id, which
        cannot be guessed, is all that is needed."""
        if principal is None or principal.operator or job.owner is None:
            return True
        return hmac.compare_digest(job.owner, await self.of(principal))

    async def job_id(self, client: str, key: str) -> str:
        """The same for the same client and idempotency key, and not to be guessed from them."""
        return (await self._keyed(f"{client}\n{key}")).hex()[:32]

    async def _keyed(self, text: str) -> bytes:
        self._secret = self._secret or await self._kept.secret()
        return hmac.digest(self._secret, text.encode(), "sha256")
