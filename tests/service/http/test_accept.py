"""Accept as RFC 9110 12.5.1 has it: weights, the most specific range, the header's order, then the table's."""

import pytest

from service.errors import NotAcceptableError
from service.http.accept import choose, image_format, preferred

TABLE = {"image/png": "png", "image/jpeg": "jpeg", "application/json": "json", "application/zip": "zip"}


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("", "png"),
        ("*/*", "png"),
        ("image/jpeg", "jpeg"),
        ("IMAGE/JPEG", "jpeg"),
        ("image/*", "png"),
        ("application/*", "json"),
        ("image/jpeg, image/png", "jpeg"),  # equal weights: as the client has them
        ("image/jpeg;q=0.5, image/png;q=0.4", "jpeg"),
        ("image/png;q=0.4, application/zip;q=0.9", "zip"),
        ("application/json, text/plain, */*", "json"),  # axios
        ("*/*, image/png;q=0", "jpeg"),
        ("image/png;q=0, */*", "jpeg"),
        ("image/*;q=0, */*", "json"),
        ("image/*, image/png;q=0, image/jpeg;q=0.1", "jpeg"),
        ("*/*;q=0.1, application/*;q=0.2, application/json;q=0", "zip"),
        ("application/json;charset=utf-8", "json"),
        ('text/html;note="a, image/jpeg", application/zip', "zip"),
        ("application/zip ; q=1.000", "zip"),
        (", ,application/zip,", "zip"),
    ],
)
def test_what_is_chosen(header: str, form: str) -> None:
    assert choose(None, header, TABLE) == form


@pytest.mark.parametrize(
    "header", ["text/html", "image/webp", "image/png;q=0", "*/*;q=0", "image/png;q=2", "image/png;q=nan", "png", '"']
)
def test_what_allows_nothing(header: str) -> None:
    assert preferred(header, TABLE) is None
    with pytest.raises(NotAcceptableError, match="image/png, image/jpeg"):
        choose(None, header, TABLE)


def test_a_field_wins() -> None:
    assert choose("zip", "image/png", TABLE) == "zip"
    assert choose("zip", "text/html", TABLE) == "zip"


def test_images_inside_are_what_the_header_wants_most_of_images() -> None:
    assert image_format("application/zip, image/webp;q=0.3") == "webp"
    assert image_format("application/zip") == "png"
    assert image_format("*/*, image/png;q=0") == "jpeg"


def test_a_long_header_takes_no_time_that_grows_with_its_square() -> None:
    assert preferred('"' * 60_000, TABLE) is None
    assert preferred('\\"' * 30_000, TABLE) is None
