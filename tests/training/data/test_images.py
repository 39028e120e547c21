"""Data: every layout, from folders and zips, against torchvision's own readers; faults; the stream."""

import gzip
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models import InputError
from tests.torchvision_ops import torchvision
from training.data.images import Keep, batch, indices, load_domain, load_images
from training.data.layouts import find
from training.data.sources import open_source

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CIFAR = FIXTURES / "cifar10" / "train"
HORSES = FIXTURES / "horse2zebra"
RANDOM = np.random.default_rng(0)


def load(path, size=16, channels=3, conditional=False, skip_broken=False):
    return load_images(str(path), size, channels, conditional=conditional, keep=Keep(skip_broken))


def zipped(folder: Path, target: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, inside + path.relative_to(folder).as_posix())
    return target


@pytest.fixture(scope="module")
def mnist(tmp_path_factory) -> Path:
    """Twelve images of noise in MNIST's own files, half of them compressed, where torchvision looks for them."""
    raw = tmp_path_factory.mktemp("data") / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels, labels = RANDOM.integers(0, 256, (12, 28, 28), np.uint8), np.arange(12, dtype=np.uint8) % 10
    for split in ("train", "t10k"):
        pixels = 255 - pixels
        images = struct.pack(">4B3i", 0, 0, 8, 3, 12, 28, 28) + pixels.tobytes()
        (raw / f"{split}-images-idx3-ubyte").write_bytes(images)
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">4Bi", 0, 0, 8, 1, 12) + labels.tobytes())
    return raw.parent.parent


@pytest.fixture(scope="module")
def cifar10(tmp_path_factory) -> Path:
    """Ten images of noise in CIFAR-10's pickles."""
    folder = tmp_path_factory.mktemp("data") / "cifar-10-batches-py"
    folder.mkdir()
    for number, name in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"], start=1):
        content = {
            "data": RANDOM.integers(0, 256, (2, 3072), np.uint8),
            "labels": [2 * number % 10, (2 * number + 1) % 10],
        }
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class{i}" for i in range(10)]}))
    return folder.parent


def test_mnist_as_torchvision_reads_it(mnist):
    theirs = torchvision.datasets.MNIST(mnist)
    ours = load(mnist, size=28, channels=1, conditional=True)
    assert torch.equal(ours.pixels[..., 0], theirs.data)
    assert torch.equal(ours.labels, theirs.targets)
    assert ours.classes == tuple("0123456789")


def test_mnist_compressed_and_in_a_zip(mnist, tmp_path):
    packed = tmp_path / "MNIST"
    shutil.copytree(mnist / "MNIST", packed)
    for path in list(packed.rglob("train-*")):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    ours = load(zipped(packed, tmp_path / "mnist.zip"), size=28, channels=1)
    assert torch.equal(ours.pixels, load(mnist, size=28, channels=1).pixels)


@pytest.mark.parametrize(
    ("ending", "damaged"),
    [
        ("", lambda data: data[:-1]),
        ("", lambda data: data[:6]),
        ("", lambda data: b""),
        ("", lambda data: b"hello, " + data[7:]),
        ("", lambda data: data[:4] + bytes(4) + data[8:16]),
        (".gz", lambda data: gzip.compress(data)[:-9]),
        (".gz", lambda data: gzip.compress(data)[:200] + bytes(99) + gzip.compress(data)[299:]),
        (".gz", lambda data: data),
    ],
    ids=["cut", "header cut", "empty", "text", "no images", "gz cut", "gz damaged", "no gz"],
)
def test_mnist_damaged(mnist, tmp_path, ending, damaged):
    shutil.copytree(mnist / "MNIST", tmp_path / "MNIST")
    file = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    content = damaged(file.read_bytes())
    file.unlink()
    file.with_name(file.name + ending).write_bytes(content)
    with pytest.raises(InputError, match="not a whole IDX file"):
        load(tmp_path, size=28, channels=1)


def test_cifar10_as_torchvision_reads_it(cifar10, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *a: True)
    theirs = torchvision.datasets.CIFAR10(cifar10)
    ours = load(cifar10, size=32, conditional=True)
    assert np.array_equal(ours.pixels.numpy(), theirs.data)
    assert ours.labels.tolist() == theirs.targets
    assert list(ours.classes) == theirs.classes


def test_cifar10_in_a_zip(cifar10, tmp_path):
    ours = load(zipped(cifar10, tmp_path / "cifar.zip"), size=32)
    assert torch.equal(ours.pixels, load(cifar10, size=32).pixels)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data_batch_3", {"labels": [0, 1]}),
        ("data_batch_3", {"data": np.zeros((2, 3072), np.uint8)}),
        ("data_batch_3", {"data": np.zeros((2, 3000), np.uint8), "labels": [0, 1]}),
        ("data_batch_3", {"data": np.zeros((2, 3072), np.uint8), "labels": [0]}),
        ("data_batch_3", {"data": "hello", "labels": [0]}),
        ("batches.meta", {}),
    ],
    ids=["no images", "no labels", "other size", "labels short", "text", "no names"],
)
def test_cifar10_files_of_something_else(cifar10, tmp_path, name, content):
    shutil.copytree(cifar10 / "cifar-10-batches-py", tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match="do not hold 32 x 32 images with labels"):
        load(tmp_path, size=32)


class Attack:
    def __reduce__(self):
        return (print, ("the pickle ran code",))


def test_a_hostile_cifar10_pickle_runs_nothing(cifar10, tmp_path, capsys):
    shutil.copytree(cifar10 / "cifar-10-batches-py", tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(InputError, match=r"builtins\.print"):
        load(tmp_path, size=32)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("inside", ["", "cifar/"])
def test_one_folder_per_class_as_torchvision_reads_it(tmp_path, inside):
    theirs = torchvision.datasets.ImageFolder(str(CIFAR))
    for source in (CIFAR, zipped(CIFAR, tmp_path / "c.zip", inside)):
        ours = load(source, size=32, conditional=True)
        assert ours.classes == tuple(theirs.classes)
        assert ours.labels.tolist() == theirs.targets
        assert all(
            np.array_equal(mine.numpy(), np.asarray(image))
            for mine, (image, _) in zip(ours.pixels, theirs, strict=True)
        )


@pytest.mark.parametrize("inside", [None, "", "cifar10/"])
def test_the_train_split_is_taken_from_a_split_data_set(tmp_path, inside):
    source = CIFAR.parent if inside is None else zipped(CIFAR.parent, tmp_path / "cifar10.zip", inside)
    whole = load(source, size=32, conditional=True)
    assert torch.equal(whole.pixels, load(CIFAR, size=32).pixels)
    assert whole.classes == load(CIFAR, size=32, conditional=True).classes


def test_linked_folders_are_read_and_a_link_in_a_circle_is_not(tmp_path):
    for name in ("airplane", "bird"):
        (tmp_path / name).symlink_to(CIFAR / name)
    (tmp_path / "again").symlink_to(tmp_path)
    data = load(tmp_path, size=32, conditional=True)
    assert data.classes == ("airplane", "bird")
    assert len(data) == sum(len(list((CIFAR / name).iterdir())) for name in data.classes)


def test_flat_folder_has_no_classes(tmp_path):
    flat = HORSES / "trainA"
    assert load(flat).classes == ()
    assert torch.equal(load(flat).pixels, load(zipped(flat, tmp_path / "flat.zip")).pixels)
    with pytest.raises(InputError, match="one folder per class"):
        load(flat, conditional=True)


def test_cyclegan_layout_from_folder_and_zip(tmp_path):
    archive = zipped(HORSES, tmp_path / "horse2zebra.zip", "horse2zebra/")
    for domain in ("trainA", "testB"):
        ours = load_domain(str(HORSES), domain, 36)
        inside = load_domain(str(archive), domain, 36)
        assert len(ours) == len(list((HORSES / domain).iterdir()))
        assert ours.digest == inside.digest
        assert ours.name == inside.name == "horse2zebra"


def test_cyclegan_layout_without_tests_and_without_training_images(tmp_path):
    (tmp_path / "trainA").mkdir()
    shutil.copy(next((HORSES / "trainA").iterdir()), tmp_path / "trainA")
    assert load_domain(str(tmp_path), "testA", 32) is None
    with pytest.raises(InputError, match="no images in trainB/"):
        load_domain(str(tmp_path), "trainB", 32)


def test_fake_is_the_same_every_time():
    assert load("fake").digest == load("fake").digest
    assert load("fake", conditional=True).classes == ("even", "odd")
    assert load_domain("fake", "trainA", 16) is not None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "nowhere", "no such folder or file"),
        (lambda p: p, "is empty"),
        (lambda p: [(p / "a").mkdir(), (p / "b").mkdir(), Image.new("RGB", (9, 9)).save(p / "a" / "x.png"), p][-1],
         "class folder 'b' holds no images"),
        (lambda p: [(p / "notes.txt").write_text("hello"), p][-1], "holds no images"),
        (lambda p: [(p / "x.zip").write_text("hello"), p / "x.zip"][-1], "neither a folder nor a .zip"),
    ],
)  # fmt: skip
def test_unusable_folders(tmp_path, make, words):
    with pytest.raises(InputError, match=words):
        load(make(tmp_path))


@pytest.fixture
def messy(tmp_path) -> Path:
    """Good photographs, a text file, a truncated JPEG, a palette GIF, a 1 x 1 image and a 16-bit PNG."""
    photos = sorted((HORSES / "trainA").iterdir())[:2]
    for photo in photos:
        shutil.copy(photo, tmp_path)
    (tmp_path / "notes.txt").write_text("not an image, and not called one")
    (tmp_path / "cut.jpg").write_bytes(photos[0].read_bytes()[:4000])
    Image.open(photos[1]).quantize(64).save(tmp_path / "palette.gif")
    Image.new("RGB", (1, 1), "red").save(tmp_path / "tiny.png")
    Image.fromarray(np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)).save(tmp_path / "deep.png")
    return tmp_path


def test_broken_files_are_listed_and_refused(messy):
    with pytest.raises(InputError) as caught:
        load(messy, size=32)
    text = str(caught.value)
    assert "2 of 6 images" in text
    assert "cut.jpg" in text
    assert "tiny.png" in text
    assert "1 x 1 pixels are too few" in text
    assert "--skip-broken" in text
    assert "notes.txt" not in text


def test_broken_files_are_skipped_when_asked(messy):
    data = load(messy, size=32, skip_broken=True)
    assert len(data) == 4
    assert len(data.skipped) == 2
    deep = data.pixels[[i for i in range(4) if (data.pixels[i].float().std(dim=2) == 0).all()]]
    assert deep.max() > 240, "16 bits are scaled, not cut off at 255"
    assert 100 < deep.float().mean() < 150


def test_a_damaged_zip_member_is_a_broken_image(tmp_path):
    archive = zipped(HORSES / "trainA", tmp_path / "photos.zip")
    data = bytearray(archive.read_bytes())
    data[5000] ^= 255
    archive.write_bytes(data)
    with pytest.raises(InputError, match=r"1 of 12 images(?s:.*)cannot be read out of photos"):
        load(archive)


def test_nothing_left_after_skipping(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(InputError, match="None of the 1 images"):
        load(tmp_path, skip_broken=True)


def test_a_skipped_image_takes_its_label_along(tmp_path):
    shutil.copytree(CIFAR, tmp_path, dirs_exist_ok=True)
    broken = sorted((tmp_path / "airplane").iterdir())[1]
    broken.write_bytes(b"no image")
    whole, less = load(CIFAR, conditional=True), load(tmp_path, conditional=True, skip_broken=True)
    assert torch.equal(less.labels, torch.cat([whole.labels[:1], whole.labels[2:]]))
    assert torch.equal(less.pixels, torch.cat([whole.pixels[:1], whole.pixels[2:]]))


def test_a_class_of_which_every_image_is_broken_is_refused(tmp_path):
    """Or it would be served without ever having been learnt."""
    for name, content in (("a", None), ("b", b"no image")):
        (tmp_path / name).mkdir()
        for photo in (CIFAR / "bird").iterdir():
            (tmp_path / name / photo.name).write_bytes(content or photo.read_bytes())
    assert load(tmp_path, skip_broken=True).classes == ()
    with pytest.raises(InputError, match="no usable image of class 'b'"):
        load(tmp_path, skip_broken=True, conditional=True)


def test_labels_of_more_classes_than_there_are(mnist, tmp_path):
    """As EMNIST's letters have, under MNIST's names: without classes they may be learnt, with classes not."""
    shutil.copytree(mnist / "MNIST", tmp_path / "MNIST")
    file = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:-1] + bytes([26]))
    assert len(load(tmp_path, size=28, channels=1)) == 12
    with pytest.raises(InputError, match=r"labels \[26\] stand for no class"):
        load(tmp_path, size=28, channels=1, conditional=True)


def test_images_are_cut_at_the_centre_and_not_squashed(tmp_path):
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (load(tmp_path, size=16).pixels == 200).all()


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (16, 16), "black")
    image.paste("white", (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = load(tmp_path).pixels[0]
    assert (pixels[:8] == 0).all()
    assert (pixels[8:] == 255).all()


def test_layout_finders_look_at_names_only():
    assert len(find(open_source(CIFAR)).names) == len(list(CIFAR.rglob("*.png")))


def test_the_test_split_holds_what_a_run_does_not_learn_from(mnist, cifar10, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *a: True)
    digits = load_images(str(mnist), 28, 1, split="test")
    assert torch.equal(digits.pixels[..., 0], torchvision.datasets.MNIST(mnist, train=False).data)
    photos = load_images(str(cifar10), 32, 3, split="test")
    assert np.array_equal(photos.pixels.numpy(), torchvision.datasets.CIFAR10(cifar10, train=False).data)
    learnt, unseen = (set(find(open_source(CIFAR.parent), split).names) for split in ("train", "test"))
    assert learnt
    assert unseen
    assert learnt.isdisjoint(unseen)
    with pytest.raises(InputError, match="no test images"):
        find(open_source(CIFAR), "test")


def test_every_epoch_is_a_permutation_and_batches_may_straddle():
    first = torch.cat([indices(3, start, start + 4, 10) for start in range(0, 20, 4)])
    assert sorted(first[:10].tolist()) == sorted(first[10:].tolist()) == list(range(10))
    assert first[:10].tolist() != first[10:].tolist()
    assert torch.equal(first, indices(3, 0, 20, 10)), "a function of (seed, position) alone"
    assert not torch.equal(first, indices(4, 0, 20, 10))


def test_batch_flips_half_and_crops_within(tmp_path):
    ramp = torch.arange(12, dtype=torch.uint8).expand(12, 12)[None, ..., None].repeat(200, 1, 1, 1)  # value = column
    chosen, cpu = torch.arange(200), torch.device("cpu")
    out = batch(ramp, chosen, 8, flips=True, random=torch.Generator().manual_seed(1), device=cpu)
    columns = ((out + 1) * 127.5).round()[:, 0, 0]
    steps = columns.diff(dim=1)
    rising = (steps == 1).all(dim=1)
    assert ((steps == -1).all(dim=1) | rising).all()
    assert 70 < rising.sum() < 130
    assert {int(c) for c in columns.min(dim=1).values} == set(range(5)), "all corners occur"
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_shares_make_up_the_whole_batch():
    pixels = load("fake").pixels
    chosen, cpu = torch.arange(8), torch.device("cpu")

    def part(share):
        random = torch.Generator().manual_seed(1)
        return batch(pixels, chosen, 12, flips=True, random=random, device=cpu, share=share)

    assert torch.equal(part(slice(None)), torch.cat([part(slice(0, 4)), part(slice(4, 8))]))
