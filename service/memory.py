"""Freed memory goes back to the system.

glibc keeps what is freed, in a heap for each few threads, for whatever is allocated next: large uploads and photos of a
minute would stay in the worker's size for good. `MALLOC_MMAP_THRESHOLD_` would take every large block from the kernel
and give it back at once, but a network's layers write their outputs to large blocks too: a translation at 256 px took
twice the processor time, for the kernel to clear its pages anew in every layer. `malloc_trim` takes 5 ms.
"""

import asyncio
import ctypes


async def give_back(every_s: float = 10.0) -> None:
    """Returns free pages again and again, beside the event loop; returns at once where the C library is not glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim, 0)
