"""Whoever reads a message learns no password from it."""

from __future__ import annotations

import pytest

from models import addresses


@pytest.mark.parametrize(
    ("text", "scheme", "shown"),
    [
        ("data/store", "", "data/store"),
        ("/srv/a@b", "", "/srv/a@b"),
        ("C:/store", "", "C:/store"),
        ("s3://bucket/prefix", "s3", "s3://bucket/prefix"),
        ("S3://key:secret@bucket/x", "s3", "S3://bucket/x"),
        ("s3:/bucket", "s3", "s3:/bucket"),
        ("redis://:secret@host:6379/0", "redis", "redis://host:6379/0"),
        ("redis://:sec/ret@host/0", "redis", "redis://host/0"),
        ("redis://:sec#ret@host/0", "redis", "redis://host/0"),
        ("redis://:secret@[::1", "redis", "redis://[::1"),
        ("postgres://gan:s@cret?x@host/db?password=secret", "postgres", "postgres://host/db"),
        ("postgresql://host/db?user=a@b&password=secret", "postgresql", "postgresql://b"),
    ],
)
def test_an_address_is_shown_without_its_secrets(text: str, scheme: str, shown: str) -> None:
    assert addresses.scheme(text) == scheme
    assert addresses.without_secrets(text) == shown
