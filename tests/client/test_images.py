"""Which images are sent, and under which names."""

import pytest

from gan_client import Client, images
from models import filesets


def test_images_are_the_files_that_the_service_takes_out_of_an_archive():
    assert images.SUFFIXES == filesets.SUFFIXES


def test_sets_are_sent_in_every_way(proxy, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / ".thumbnails").mkdir()
    for name in ("b.png", "a.JPG", "deep/c.webp", "notes.txt", ".thumbnails/d.png"):
        (tmp_path / name).write_bytes(b"[" + name.encode() + b"]")
    proxy.answers = [(200, None, '{"id": "4f1c"}')]
    with Client(proxy.url) as client:
        client.submit(client.score, tmp_path, [tmp_path / "notes.txt", b"[xyz]"], metrics=["fid", "is"])
    names = [line.partition(b"; ")[2] for line in proxy.seen[0][1].split(b"\r\n") if b"Disposition" in line]
    assert names == [
        b'name="metrics"',
        *(b'name="a"; filename="%s"' % name for name in (b"a.JPG", b"b.png", b"c.webp")),
        b'name="b"; filename="notes.txt"',
        b'name="b"; filename="image-1"',
    ]
    assert b"[deep/c.webp]" in proxy.seen[0][1]
    assert b"fid,is" in proxy.seen[0][1]


def test_a_folder_without_images_is_an_error_before_anything_is_sent(tmp_path):
    with pytest.raises(ValueError, match="holds no image"):
        Client("http://127.0.0.1:9").score(tmp_path)


def test_a_name_that_is_no_text_is_sent_all_the_same(tmp_path):
    photo = tmp_path / "horse-\udcff.png"  # as Python has a byte of a file name that is no UTF-8
    photo.write_bytes(b"photo")
    assert images.parts("images", photo) == [("images", ("horse-?.png", b"photo"))]
