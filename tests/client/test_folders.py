"""Folders of photos: what becomes of each, and that neither a bad photo nor an interruption costs the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from requests import Response

from gan_client import Client, ServiceError, folders, images

HORSES = sorted((Path(__file__).parents[1] / "fixtures" / "horse2zebra").rglob("*.jpg"))


@pytest.fixture
def client(local) -> Iterator[Client]:
    with Client(local.url, timeout_s=300) as one:
        yield one


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    for name, photo in zip(("a.jpg", "trip/b.JPG", "trip/c.d.jpeg"), HORSES, strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo.read_bytes())
    (folder / "notes.txt").write_text("not a photo")
    (folder / "._a.jpg").write_bytes(b"left behind by a file manager")
    (folder / "folder.png").mkdir()
    return folder


# The plan ----------------------------------------------------------------------------------


def test_names_and_folders_are_kept(photos, tmp_path):
    out = tmp_path / "out"
    assert folders.plan([photos], out) == {
        out / "a.png": photos / "a.jpg",
        out / "trip" / "b.png": photos / "trip" / "b.JPG",
        out / "trip" / "c.d.png": photos / "trip" / "c.d.jpeg",
    }


def test_files_are_taken_whatever_their_names(photos, tmp_path):
    (photos / "photo.v2").write_bytes(b"")
    planned = folders.plan([photos / "photo.v2", photos / "trip" / "b.JPG"], tmp_path, "webp")
    assert [output.name for output in planned] == ["photo.v2.webp", "b.webp"]


def test_outputs_within_the_folder_of_photos_are_no_photos(photos):
    before = folders.plan([photos], photos / "out")
    (photos / "out" / "trip").mkdir(parents=True)
    (photos / "out" / "trip" / "b.png").write_bytes(b"done")
    assert folders.plan([photos], photos / "out") == before
    assert len(folders.plan([photos / "trip"], photos)) == 2  # the photos are below the outputs


@pytest.mark.parametrize(
    ("given", "out", "sentence"),
    [
        (["."], "out", r"a\.gif and .*a\.jpg would both become .*out.a\.png"),
        (["trip", "trip/b.JPG"], "out", r"b\.JPG and .*b\.JPG would both become"),
        (["trip"], "trip", "holds the photos"),
        (["a.gif", "a.png"], ".", "would both become"),
        (["trip/e.png"], "trip", r"e\.png is one of the photos"),
        (["folder.png"], "out", r"no photo in .*folder\.png \(looked for apng, avif, avifs, bmp, gif"),
    ],
)
def test_what_would_lose_a_photo_is_refused(photos, given, out, sentence):
    for name in ("a.gif", "a.png", "trip/e.png"):
        (photos / name).write_bytes(b"")
    with pytest.raises(ValueError, match=sentence):
        folders.plan([photos / name for name in given], photos / out)


# The work ----------------------------------------------------------------------------------


def test_each_photo_becomes_what_a_request_of_its_own_gives(client, photos, tmp_path):
    planned = folders.plan([photos], tmp_path / "out", "webp")
    done = dict(folders.translate(client, planned, 2, direction="zebra", format="webp"))
    assert done == dict.fromkeys(planned.values())
    for output, photo in planned.items():
        assert output.read_bytes() == client.translate(photo, direction="zebra", format="webp").data
    assert {path for path in (tmp_path / "out").rglob("*") if path.is_file()} == planned.keys()


def test_what_moves_stays_what_it_is(client, tmp_path):
    frames = [Image.new("RGB", (16, 12), color) for color in ("red", "blue")]
    names = {"a.gif": ("a.gif", "GIF"), "b.png": ("b.png", "PNG"), "c.webp": ("c.webp", "WEBP")}
    names |= {"d.apng": ("d.png", "PNG")}
    for name, (_, kind) in names.items():
        more = frames[1:] if name != "b.png" else []
        frames[0].save(tmp_path / name, kind, save_all=True, append_images=more, duration=50)
    planned = folders.plan([tmp_path], tmp_path / "out")
    assert dict(folders.translate(client, planned, 1)) == dict.fromkeys(planned.values())
    for name, (output, kind) in names.items():
        with Image.open(tmp_path / "out" / output) as image:
            assert (image.format, getattr(image, "n_frames", 1)) == (kind, 1 if name == "b.png" else 2)
    assert [output.name for output in folders.plan([tmp_path / "a.gif"], tmp_path / "out", "png")] == ["a.png"]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.WEBM"])
def test_a_video_that_is_named_becomes_a_video(name, tmp_path):
    (tmp_path / name).write_bytes(b"frames")
    wanted = name.lower()
    assert [output.name for output in folders.plan([tmp_path / name], tmp_path / "out")] == [wanted]
    assert images.moving_format(tmp_path / name) == wanted.partition(".")[2]


def test_a_bad_photo_does_not_stop_the_others(client, photos, tmp_path):
    (photos / "broken.jpg").write_bytes(HORSES[0].read_bytes()[:-2000])
    (photos / "empty.png").write_bytes(b"")
    (photos / "trip" / "gone.png").symlink_to("nowhere")  # not in the plan: there is nothing to read
    planned = folders.plan([photos], tmp_path / "out")
    (photos / "a.jpg").unlink()
    done = {photo.name: error for photo, error in folders.translate(client, planned, 4)}
    assert {name for name, error in done.items() if error is None} == {"b.JPG", "c.d.jpeg"}
    assert "broken.jpg is truncated" in str(done["broken.jpg"])
    assert "empty.png is empty" in str(done["empty.png"])
    assert isinstance(done["a.jpg"], FileNotFoundError)


@pytest.mark.parametrize(("option", "value"), [("direction", "dog"), ("model", "nothing"), ("quality", 0)])
def test_an_option_that_is_wrong_for_all_photos_ends_the_work(client, photos, tmp_path, option, value):
    planned = folders.plan([photos], tmp_path / "out")
    work = folders.translate(client, planned, 1, **{option: value})
    with pytest.raises(ServiceError) as caught:
        next(work)
    assert caught.value.where == option


class Faulty(Client):
    """The service, but for some requests, which fail.

    Attributes:
        faults: what is raised, by the path of the request. asked: the paths of all requests.
    """

    def __init__(self, url: str, faults: dict[str, ServiceError]) -> None:
        super().__init__(url, timeout_s=300)
        self.faults, self.asked = faults, list[str]()

    def request(self, method: str, path: str, *body: Any, **files: Any) -> Response:
        self.asked.append(path)
        if path in self.faults:
            raise self.faults[path]
        return super().request(method, path, *body, **files)


LATE = ServiceError("Not done within 30 s.", 504, "deadline_exceeded")
UNREACHABLE = ServiceError("It cannot be reached.")


def test_a_photo_too_large_for_a_request_goes_as_a_job(local, client, photos, tmp_path):
    with Faulty(local.url, {"/v1/translate": LATE}) as faulty:
        ((photo, error),) = folders.translate(faulty, {tmp_path / "b.png": photos / "trip" / "b.JPG"}, 1)
    assert error is None
    assert (tmp_path / "b.png").read_bytes() == client.translate(photo).data
    job = faulty.asked[-1]
    with pytest.raises(ServiceError, match="There is no job"):  # nor does its result stay with the service
        client.request("GET", job)


def test_a_connection_that_breaks_is_the_photos_fault_while_the_service_answers(local, photos, tmp_path):
    planned = folders.plan([photos], tmp_path / "out")
    with Faulty(local.url, {"/v1/translate": UNREACHABLE}) as faulty:
        assert len(list(folders.translate(faulty, planned, 1))) == 3
        faulty.faults["/v1/models"] = UNREACHABLE
        with pytest.raises(ServiceError, match="cannot be reached"):
            next(folders.translate(faulty, planned, 1))


def test_what_is_left_is_not_begun(local, photos, tmp_path):
    """Of 3 photos and one thread, the second may be under way when the iterator is closed; the third is not."""
    planned = folders.plan([photos], tmp_path / "out")
    with Faulty(local.url, {}) as faulty:
        work = folders.translate(faulty, planned, 1)
        next(work)
        work.close()
        assert faulty.asked.count("/v1/translate") <= 2
