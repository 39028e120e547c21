"""One picture of all has bounds."""

import pytest

from models.errors import LimitError
from service.encoding.pictures import check_sheet


def test_one_picture_of_all_has_bounds() -> None:
    check_sheet("png", 5000, 10_000)
    with pytest.raises(LimitError, match=r"10,000 x 5,001 pixels.*ask for zip"):
        check_sheet("jpeg", 5001, 10_000)
    with pytest.raises(LimitError, match="WebP holds 16,383"):
        check_sheet("webp", 10, 16_384)
