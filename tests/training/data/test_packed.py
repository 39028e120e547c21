"""Images mapped from a file: the same as in memory, made once, gone on with, shared, and refused where damaged."""

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
import torch

from models import InputError, LimitError
from training.data import decoded, packed
from training.data.images import Dataset, Keep, load_domain, load_images

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CIFAR = FIXTURES / "cifar10" / "train"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """CIFAR-10's forty, of which the second is broken."""
    folder = tmp_path / "photos"
    shutil.copytree(CIFAR, folder)
    sorted((folder / "airplane").iterdir())[1].write_bytes(b"no image")
    return folder


def load(path: Path, packs: Path | None = None, *, conditional: bool = True, skip_broken: bool = True) -> Dataset:
    keep = Keep(skip_broken, "" if packs is None else str(packs))
    return load_images(str(path), 16, 3, conditional=conditional, keep=keep)


def same(one: Dataset, other: Dataset) -> None:
    assert torch.equal(one.pixels, other.pixels)
    assert (one.classes, one.skipped, one.digest) == (other.classes, other.skipped, other.digest)
    assert one.labels is other.labels is None or torch.equal(one.labels, other.labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("conditional", [False, True])
def test_a_pack_holds_what_memory_would(photos: Path, tmp_path: Path, conditional: bool) -> None:
    made, found = (load(photos, tmp_path / "packs", conditional=conditional) for _ in range(2))
    same(made, load(photos, conditional=conditional))
    same(found, made)
    assert found.nbytes == 0


def test_an_archive_and_a_domain_are_packed_too(tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", CIFAR))
    same(load(archive, tmp_path / "packs"), load(archive))
    for domain in ("trainA", "testB"):
        mapped = load_domain(str(FIXTURES / "horse2zebra"), domain, 32, Keep(packed=str(tmp_path / "packs")))
        in_memory = load_domain(str(FIXTURES / "horse2zebra"), domain, 32)
        assert mapped is not None
        assert in_memory is not None
        same(mapped, in_memory)


def test_what_is_broken_is_refused_of_a_pack_that_is_there_too(photos: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match="1 of 40 images in photos cannot be used"):
            load(photos, tmp_path / "packs", skip_broken=False)
    assert len(load(photos, tmp_path / "packs")) == 39


def test_a_source_that_has_changed_is_decoded_anew(photos: Path, tmp_path: Path) -> None:
    before = load(photos, tmp_path / "packs")
    first = sorted((photos / "bird").iterdir())[0]
    first.write_bytes(sorted((photos / "cat").iterdir())[0].read_bytes())
    os.utime(first, ns=(0, 0))
    after = load(photos, tmp_path / "packs")
    same(after, load(photos))
    assert not torch.equal(before.pixels, after.pixels)


def test_who_is_stopped_is_gone_on_with(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "CHUNK", 8)
    monkeypatch.setattr(packed, "SAVED_EVERY", 0.0)
    decode, tried = decoded.fill, []

    def stopped(*args):
        for done in decode(*args):
            yield done
            if done == 24:
                raise KeyboardInterrupt

    def watched(rows, decoding, faults, begin):
        tried.append(begin)
        return decode(rows, decoding, faults, begin)

    monkeypatch.setattr(packed, "fill", stopped)
    with pytest.raises(KeyboardInterrupt):
        load(photos, tmp_path / "packs")
    monkeypatch.setattr(packed, "fill", watched)
    same(load(photos, tmp_path / "packs"), load(photos))
    assert tried == [24]
    assert [path.suffix for path in sorted((tmp_path / "packs").iterdir())] == [".json", ".lock", ".pixels"]


def make(photos: Path, packs: Path, made: "multiprocessing.Queue[str]") -> None:
    made.put(load(photos, packs).digest)


def test_two_processes_make_one_pack(photos: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    made = context.Queue()
    both = [context.Process(target=make, args=(photos, tmp_path / "packs", made)) for _ in range(2)]
    for process in both:
        process.start()
    assert {made.get(timeout=60), made.get(timeout=60)} == {load(photos).digest}
    for process in both:
        process.join()


def test_a_pack_that_was_cut_is_a_sentence(photos: Path, tmp_path: Path) -> None:
    """A mapped file that is too short would end the process by a signal."""
    load(photos, tmp_path / "packs")
    pixels = next((tmp_path / "packs").glob("*.pixels"))
    header = json.loads(pixels.with_suffix(".json").read_text())
    assert header["shape"] == [39, 16, 16, 3]
    os.truncate(pixels, 1000)
    with pytest.raises(InputError, match=r"has 1,000 of 29,952 bytes: remove .*\.json, and it is made again"):
        load(photos, tmp_path / "packs")
    pixels.with_suffix(".json").unlink()
    same(load(photos, tmp_path / "packs"), load(photos))


def test_folders_that_cannot_be_used_are_sentences(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="lies inside --data"):
        load(photos, photos / "packs")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"--packed .*file cannot be written: "):
        load(photos, tmp_path / "file")
    if os.path.exists("/dev/full"):
        monkeypatch.setattr(os, "posix_fallocate", lambda *_: os.write(os.open("/dev/full", os.O_WRONLY), b"x"))
        with pytest.raises(InputError, match=r"cannot be written: it needs room for 0\.0 GB"):
            load(photos, tmp_path / "packs")


def test_more_than_the_machine_has_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 1)
    with pytest.raises(LimitError, match=r"take 0 GB at their training size, .*--packed FOLDER keeps them in a file"):
        load(CIFAR)
