"""What has been freed is the system's again, and large images take no time that is everybody's."""

import asyncio
import os

import numpy as np
import psutil
import pytest
from PIL import Image

from service.memory import give_back, take_images_whole


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="other C libraries keep nothing back")
def test_freed_memory_is_given_back_though_later_blocks_live_on() -> None:
    """Blocks of 64 KiB come from a heap, which a C library shrinks only as far as its last living block."""
    process = psutil.Process()
    blocks = [np.ones(1 << 16, np.uint8) for _ in range(4000)]
    last = np.ones(1 << 16, np.uint8)
    full = process.memory_info().rss
    blocks.clear()
    kept = process.memory_info().rss

    async def until_it_is_back() -> None:
        task = asyncio.create_task(give_back(every_s=0))
        while process.memory_info().rss > full - 200 * 2**20:
            await asyncio.sleep(0)
        task.cancel()

    assert kept > full - 50 * 2**20  # or this test shows nothing
    asyncio.run(asyncio.wait_for(until_it_is_back(), 300))
    assert last.all()


def test_an_image_of_many_megapixels_is_one_block() -> None:
    before = Image.core.get_block_size()
    try:
        take_images_whole()
        allocated = Image.core.get_stats()["allocated_blocks"]
        Image.new("RGB", (4096, 3072))
        assert Image.core.get_stats()["allocated_blocks"] == allocated + 1
    finally:
        Image.core.set_block_size(before)
