"""Where large images have their memory from."""

from PIL import Image

from service.memory import take_images_whole


def test_an_image_of_many_megapixels_is_one_block() -> None:
    before = Image.core.get_block_size()
    try:
        take_images_whole()
        allocated = Image.core.get_stats()["allocated_blocks"]
        Image.new("RGB", (4096, 3072))
        assert Image.core.get_stats()["allocated_blocks"] == allocated + 1
    finally:
        Image.core.set_block_size(before)
