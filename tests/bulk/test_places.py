"""A folder and a bucket are the same to a run; what cannot be read or written is a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk import places
from models import InputError, NotFoundError


@pytest.fixture(params=["folder", "bucket"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "new" / "folder")
    return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"


def test_what_was_written_is_read(where: str) -> None:
    place = places.place(where)
    assert place.names() == set()
    place.write("a/b.png", b"first")
    place.write("a/b.png", b"second")
    place.write("ä.png", b"third")
    assert place.names() == {"a/b.png", "ä.png"}
    assert place.read("a/b.png") == b"second"
    assert place.read("none.png") is None
    files = places.source(where)
    assert files.images == ("a/b.png", "ä.png")
    assert files.read("ä.png") == b"third"
    assert files.read("a/b.png", 3) == b"sec"
    with pytest.raises(InputError, match=r"c\.png"):
        files.read("c.png")
    place.remove("a/b.png")
    place.remove("a/b.png")
    assert place.names() == {"ä.png"}


def test_what_is_half_written_is_not_there(tmp_path: Path) -> None:
    (tmp_path / ".a.png.x1.tmp").write_bytes(b"ha")
    assert places.place(str(tmp_path)).names() == set()


def test_a_bucket_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setattr(places, "RETRIES", 0)
    with pytest.raises(OSError, match="s3://gone/photos cannot be read or written: ") as caught:
        places.source("s3://key:hidden@gone/photos")
    assert "hidden" not in str(caught.value)
    with pytest.raises(InputError, match="az://photos/a cannot be opened: ") as refused:
        places.source("az://key:hidden@photos/a")
    assert "hidden" not in str(refused.value)


def test_nothing_there_is_said(bucket: str) -> None:
    with pytest.raises(NotFoundError, match=f"There is nothing under {bucket}/empty"):
        places.source(f"{bucket}/empty")


@pytest.mark.parametrize("where", ["http://key:secret@a/b", "S3://a", "file:///tmp", "s3:///a", "s3:/a"])
def test_other_addresses_are_refused(where: str) -> None:
    with pytest.raises(InputError, match="is no place for images") as caught:
        places.is_bucket(where)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("read", "written", "apart"),
    [
        ("a", "a", False), ("a", "a/b", False), ("a", "b/../a/c", False), ("a/b", "a", True), ("a", "ab", True),
        ("s3://x/a", "s3://x/a/b", False), ("s3://x/a/", "s3://x/a", False), ("s3://x/a", "s3://x/ab", True),
        ("a", "s3://x/a", True),
    ],
)  # fmt: skip
def test_results_do_not_lie_among_the_inputs(read: str, written: str, apart: bool) -> None:
    if apart:
        places.check_apart(read, written)
    else:
        with pytest.raises(InputError, match="lies inside"):
            places.check_apart(read, written)
