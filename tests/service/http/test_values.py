"""JSON, forms and queries: what is left out, what a number is, and what is refused before it costs anybody anything."""

import collections
import json

import pytest
from pydantic import BaseModel, Field

from models.errors import InputError
from service.errors import MediaTypeError
from service.http.values import Marks, from_json, from_text, given


class Fields(BaseModel):
    a: int = 1
    b: int = 2
    kind: str = Field("x", alias="class")


def test_null_and_empty_are_as_good_as_left_out() -> None:
    assert given(from_json(b'{"a": null, "b": 0, "class": null}'), Fields) == {"b": 0}
    assert given(from_text([("a", ""), ("b", "0"), ("class", "")]), Fields) == {"b": "0"}
    assert given(from_json(b'{"class": "", "b": false}'), Fields) == {"class": "", "b": False}


@pytest.mark.parametrize("name", ["", "nothing", "kind"])
def test_a_name_that_nobody_knows_stays_to_be_refused(name: str) -> None:
    """The model refuses it; a misspelt field would be ignored otherwise."""
    assert given(from_json(json.dumps({name: None}).encode()), Fields) == {name: None}
    assert given(from_text([(name, "")]), Fields) == {name: None}


def test_no_bytes_are_no_fields() -> None:
    assert from_json(b"") == {}
    assert from_json(b"\xef\xbb\xbf{}") == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.0", 1),
        ("1e3", 1000),
        ("-0.0", 0),
        ("[2.0, 1.5]", [2, 1.5]),
        ('[{"seed": 2.0, "mean_of": [3.0, [4.0]]}]', [{"seed": 2, "mean_of": [3, [4.0]]}]),
    ],
)
def test_a_number_without_a_fraction_is_an_integer(text: str, value: object) -> None:
    read = from_json(f'{{"x": {text}}}'.encode())["x"]
    assert json.dumps(read) == json.dumps(value)  # which tells 1 from 1.0


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"a": 1, "a": 1}', "a came twice"),
        (b'{"a": {"b": 1, "b": 2}}', "b came twice"),
        (b'{"a": 1} {"b": 1}', "Extra data"),
        (b"[1]", "one JSON object"),
        (b"null", "one JSON object"),
        (b"7", "one JSON object"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 01}', "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": "\n"}', "not JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", "5,000 digits"),
        (b'{"a": -' + b"1" * 5000 + b"}", "digits"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested"),
        (b"{" + b",".join(b'"%d": 1' % i for i in range(101)) + b"}", "more than 100 fields"),
    ],
)
def test_what_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        from_json(data)


@pytest.mark.parametrize("data", [b'{"a":[' + b"1," * 2_000_000 + b"1]}", b'{"a":[' + b"[]," * 20_000 + b"[]]}"])
def test_more_than_any_request_needs_is_refused_unread(data: bytes) -> None:
    marks, pieces = Marks(), iter([data[:50_000]] * 1000)
    with pytest.raises(InputError, match="too many"):
        collections.deque(map(marks.count, pieces), maxlen=0)
    assert next(pieces, None) is not None, "all of it was read"


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_charsets_are_named(charset: str) -> None:
    with pytest.raises(MediaTypeError, match="UTF-16"):
        from_json('{"a": 1}'.encode(charset))


def test_the_largest_latents_are_read() -> None:
    latents = [[0.5] * 1024] * 256
    data = json.dumps({"latents": latents}).encode()
    Marks().count(data)
    assert from_json(data)["latents"] == latents


def test_a_name_comes_once_in_a_form() -> None:
    with pytest.raises(InputError, match="n came twice"):
        from_text([("n", "1"), ("n", "")])
