"""Large memory comes from the system without anybody waiting, and freed memory goes back to it.

glibc keeps what is freed, in a heap for each few threads, for whatever is allocated next: large uploads and photos of a
minute would stay in the worker's size for good. `MALLOC_MMAP_THRESHOLD_` would take every large block from the kernel
and give it back at once, but a network's layers write their outputs to large blocks too: a translation at 256 px took
twice the processor time, for the kernel to clear its pages anew in every layer. `malloc_trim` takes 5 ms.
"""

import asyncio
import ctypes

from PIL import Image

_BLOCK = 64 * 2**20  # bytes


def take_images_whole() -> None:
    """Has Pillow take the memory of an image of up to 64 MB in one block, in place of blocks of 16 MB.

    glibc takes a block of 32 MB or more from the kernel, always and at once. A smaller one it may take from its heap,
    and then clears it, while Pillow holds the interpreter: the event loop stood still for 75 ms where a PNG of 16
    megapixels was decoded. A small image's p99 beside such (`benchmarks/attacks.py`) was 115 ms, and is 23.
    """
    Image.core.set_block_size(_BLOCK)


async def give_back(every_s: float = 10.0) -> None:
    """Returns free pages again and again, beside the event loop; returns at once where the C library is not glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim, 0)
