"""The process that started this one, and will start it again: BentoML's arbiter.

Killed without a chance to stop its worker (by an out-of-memory kill, say), it would leave one that serves on unwatched
and holds the port, so that no supervisor could start the service anew.
"""

import asyncio
import os
import signal

PARENT = os.getppid()


async def stop_when_it_is_gone(every_s: float = 1.0) -> None:
    """Ends this process as SIGTERM does."""
    while os.getppid() == PARENT:
        await asyncio.sleep(every_s)
    os.kill(os.getpid(), signal.SIGTERM)
