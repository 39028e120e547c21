"""POST /v1/translate: sizes, orientation, alpha, profiles, tiles, cycles."""

import base64
import concurrent.futures
import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image, ImageCms

import models
from service.call import File
from service.encoding.photos import read_photo

FIXTURES = Path(__file__).parents[2] / "fixtures"
Picture = Callable[..., bytes]


def translate(url: str, *images: bytes, accept: str = "*/*", **fields: str) -> requests.Response:
    files = [("images", (f"{index}.png", data)) for index, data in enumerate(images)]
    return requests.post(f"{url}/v1/translate", files=files, data=fields, headers={"accept": accept}, timeout=300)


def opened(answer: requests.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text[:500]
    return Image.open(io.BytesIO(answer.content))


def test_the_real_service_translates_a_photo(server: str) -> None:
    photo = sorted((FIXTURES / "horse2zebra" / "testA").iterdir())[0]
    answer = translate(server, photo.read_bytes(), model="horse")
    assert opened(answer).size == Image.open(io.BytesIO(photo.read_bytes())).size
    assert answer.headers["X-Direction"] == "a_to_b"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3), (63, 65), (64, 64), (301, 1), (30, 130)])
def test_any_size_in_the_same_size_out(local: Any, picture: Picture, size: tuple[int, int]) -> None:
    assert opened(translate(local.url, picture(*size))).size == size[::-1]


def test_a_line_of_30000_pixels(local: Any, picture: Picture) -> None:
    assert opened(translate(local.url, picture(1, 30_000))).size == (30_000, 1)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB", "CMYK"])
def test_modes_come_back_as_rgb(local: Any, picture: Picture, mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert opened(translate(local.url, picture(20, 24, mode, kind))).mode == "RGB"


def test_sixteen_bits_are_scaled_not_clipped(local: Any) -> None:
    ramp = np.linspace(0, 65535, 48, dtype=np.uint16)[None].repeat(20, 0)
    deep, shallow = io.BytesIO(), io.BytesIO()
    Image.fromarray(ramp).save(deep, "PNG")
    Image.fromarray((ramp / 257).round().astype(np.uint8)).save(shallow, "PNG")
    assert translate(local.url, deep.getvalue()).content == translate(local.url, shallow.getvalue()).content


def test_alpha_is_kept(local: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (19, 23, 4), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    answer = opened(translate(local.url, buffer.getvalue()))
    np.testing.assert_array_equal(np.asarray(answer)[..., 3], pixels[..., 3])
    refused = translate(local.url, buffer.getvalue(), format="jpeg")
    assert refused.status_code == 400
    assert "transparent" in refused.json()["error"]["message"]


def test_exif_orientation_is_applied(local: Any, picture: Picture) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    turned = opened(translate(local.url, picture(30, 50, kind="JPEG", exif=exif)))
    assert turned.size == (30, 50)
    assert not turned.getexif().get(0x0112)


def test_a_colour_profile_is_converted_and_said(local: Any, picture: Picture) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = picture(20, 20)
    tagged = opened(translate(local.url, picture(20, 20, icc_profile=srgb)))
    assert tagged.info["icc_profile"]
    np.testing.assert_array_equal(np.asarray(tagged), np.asarray(opened(translate(local.url, plain))))
    assert opened(translate(local.url, picture(20, 20, icc_profile=b"not a profile"))).size == (20, 20)


def tag(kind: bytes, data: bytes) -> bytes:
    return kind + bytes(4) + data + bytes(-len(data) % 4)


def profile(device: bytes, space: bytes, pcs: bytes, name: bytes, data: bytes) -> bytes:
    """A small ICC profile (ICC.1:2001-04) with one tag: what the device's numbers mean."""
    size = 128 + 4 + 12 + len(data)
    header = struct.pack(">II4s4s4s4s", size, 0, b"\x02\x40\0\0", device, space, pcs)[4:]
    header = struct.pack(">I", size) + header.ljust(32, b"\0") + b"acsp"
    header = header.ljust(68, b"\0") + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)  # the light that PCS is seen in
    return header.ljust(128, b"\0") + struct.pack(">I4sII", 1, name, 144, len(data)) + data


# Grey levels that are linear light, and inks of which only black is seen, evenly from L* = 100 to 0.
LINEAR = profile(b"mntr", b"GRAY", b"XYZ ", b"kTRC", tag(b"curv", struct.pack(">IH", 1, 0x100)))
IDENTITY, RAMP = struct.pack(">9I", *[0x10000, 0, 0, 0] * 2, 0x10000), bytes(range(256))
PAPER = b"".join(bytes([0 if corner % 2 else 255, 128, 128]) for corner in range(16))
BLACK = profile(
    b"prtr", b"CMYK", b"Lab ", b"A2B0", tag(b"mft1", bytes([4, 3, 2, 0]) + IDENTITY + RAMP * 4 + PAPER + RAMP * 3)
)


def in_srgb(light: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1: linear light 0..1 to levels 0..255."""
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def read(image: Image.Image, icc: bytes) -> np.ndarray:
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", icc_profile=icc)
    file = File("a.tif", io.BytesIO(buffer.getvalue()))
    return read_photo(file, 10_000, channels=3).pixels.astype(float)


def test_profiles_of_grey_and_of_inks_are_converted_too() -> None:
    levels = np.arange(8, 256, 8, dtype=np.uint8)[None].repeat(2, 0)
    grey = in_srgb(levels[..., None] / 255).repeat(3, axis=2)
    np.testing.assert_allclose(read(Image.fromarray(levels), LINEAR), grey, atol=1.5)

    inks = np.stack([np.full_like(levels, 200), np.zeros_like(levels), np.full_like(levels, 90), levels], axis=2)
    lightness = 100 * (1 - levels / 255)
    light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    black = in_srgb(light)[..., None].repeat(3, axis=2)
    np.testing.assert_allclose(read(Image.fromarray(inks, "CMYK"), BLACK), black, atol=2)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "CMYK"])
def test_a_profile_of_another_kind_than_the_pixels_is_none(picture: Picture, mode: str) -> None:
    image = Image.open(io.BytesIO(picture(12, 16, mode if mode != "CMYK" else "RGB"))).convert(mode)
    for icc, fitting in ((LINEAR, ("L", "LA", "1")), (BLACK, ("CMYK",))):
        changed = not np.array_equal(read(image, icc), np.asarray(models.to_rgb(image)))
        assert not changed or mode in fitting


def test_many_of_mixed_sizes_as_zip_and_json(local: Any, picture: Picture) -> None:
    sizes = [(20, 30), (64, 64), (20, 30), (5, 9)]
    images = [picture(*size) for size in sizes]
    alone = [translate(local.url, image).content for image in images]

    packed = translate(local.url, *images)
    assert packed.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(packed.content)) as files:
        assert files.namelist() == ["000_0.png", "001_1.png", "002_2.png", "003_3.png"]
        assert [files.read(name) for name in files.namelist()] == alone
    described = translate(local.url, *images, accept="application/json").json()
    assert [(one["height"], one["width"]) for one in described["images"]] == sizes
    assert [base64.b64decode(one["data"]) for one in described["images"]] == alone


@pytest.mark.parametrize(
    ("accept", "count", "media"),
    [
        ("image/avif, image/webp, */*;q=0.8", 1, "image/avif"),
        ("image/jxl, image/webp, */*;q=0.8", 1, "image/webp"),
        ("image/avif, image/webp, */*;q=0.8", 2, "application/zip"),  # no image holds two, so the next type
        ("application/x-npz, application/json;q=0.5", 1, "application/json"),
        ("image/png", 2, None),
        ("application/x-npz", 1, None),
    ],
)
def test_the_first_type_that_can_be_made(
    local: Any, picture: Picture, accept: str, count: int, media: str | None
) -> None:
    answer = translate(local.url, *[picture(8, 8)] * count, accept=accept)
    if media is None:
        assert answer.status_code == 406
        assert "application/zip" in answer.json()["error"]["message"]
    else:
        assert answer.headers["content-type"] == media


def test_directions_by_letter_and_domain(local: Any, picture: Picture) -> None:
    image = picture(16, 16)
    forth, back = translate(local.url, image), translate(local.url, image, direction="b_to_a")
    assert forth.content == translate(local.url, image, direction="zebra").content
    assert back.content == translate(local.url, image, direction="horse").content
    assert forth.content != back.content
    wrong = translate(local.url, image, direction="cow")
    assert wrong.status_code == 400
    assert "zebra" in wrong.json()["error"]["message"]


def test_cycle_consistency_is_the_round_trips_mean_difference(local: Any, picture: Picture) -> None:
    image = picture(24, 36)
    there = translate(local.url, image, cycle="true")
    again = opened(translate(local.url, there.content, direction="b_to_a"))
    original = np.asarray(Image.open(io.BytesIO(image))).astype(int)
    expected = np.abs(np.asarray(again).astype(int) - original).mean() / 255
    assert float(there.headers["X-Cycle-L1"]) == pytest.approx(expected, abs=1e-6)


def test_large_images_go_in_tiles(serve: Callable[..., Any], picture: Picture) -> None:
    one = serve(tile=256, tile_above_pixels=100_000)
    answer = translate(one.url, picture(401, 503), accept="application/json").json()["images"][0]
    assert (answer["height"], answer["width"]) == (401, 503)
    assert answer["tiles"] > 1


def test_pixels_past_the_limit_and_too_many_files(serve: Callable[..., Any], picture: Picture) -> None:
    one = serve(translate_pixels=1000, job_translate_pixels=1100)
    assert translate(one.url, picture(25, 40)).status_code == 200
    past = translate(one.url, picture(26, 40))
    assert past.status_code == 413
    assert "1,000" in past.json()["error"]["message"]
    assert translate(one.url, *[picture(2, 2)] * 33).status_code == 413
    as_jobs = [
        requests.post(f"{one.url}/v1/jobs/translate", files={"images": picture(height, 40)}, timeout=300)
        for height in (27, 28)  # a job may have more
    ]
    assert [answer.status_code for answer in as_jobs] == [202, 413]
    job = as_jobs[0].json()["id"]
    requests.get(f"{one.url}/v1/jobs/{job}/events", timeout=300)  # to its end
    assert requests.get(f"{one.url}/v1/jobs/{job}/result", timeout=300).status_code == 200


def test_alpha_that_hides_nothing_is_no_hindrance_for_jpeg(local: Any, picture: Picture) -> None:
    solid = Image.open(io.BytesIO(picture(20, 24))).convert("RGBA")
    hidden = solid.copy()
    hidden.putpixel((3, 3), (0, 0, 0, 254))
    data = {"solid": io.BytesIO(), "hidden": io.BytesIO()}
    solid.save(data["solid"], "PNG")
    hidden.save(data["hidden"], "PNG")
    assert opened(translate(local.url, data["solid"].getvalue(), format="jpeg")).mode == "RGB"
    assert opened(translate(local.url, data["solid"].getvalue(), format="png")).mode == "RGBA"
    assert translate(local.url, data["hidden"].getvalue(), format="jpeg").json()["error"]["where"] == "format"


def test_what_a_format_has_no_room_for_names_the_file(local: Any, picture: Picture) -> None:
    answer = translate(local.url, picture(2, 2), picture(1, 16_384), format="webp")
    error = answer.json()["error"]
    assert (answer.status_code, error["where"]) == (413, "format")
    assert error["message"].startswith("1.png has 16384 x 1 pixels, and WebP holds 16,383 a side")


def test_one_bad_image_among_concurrent_requests_fails_alone(local: Any, picture: Picture) -> None:
    good, bad = picture(32, 32), picture(32, 32)[:200]
    expected = translate(local.url, good).content
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda data: translate(local.url, data), [good] * 7 + [bad] + [good] * 8))
    assert [answer.status_code for answer in answers] == [200] * 7 + [422] + [200] * 8
    assert all(answer.content == expected for answer in answers if answer.status_code == 200)


def test_concurrent_translations_share_forward_passes(serve: Callable[..., Any], picture: Picture) -> None:
    one = serve()
    image = picture(64, 64)
    expected = translate(one.url, image).content
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: translate(one.url, image).content, range(64)))
    assert answers == [expected] * 64
    passes = one.runtime.telemetry.registry.get_sample_value("gan_batch_images_count", {"model": "horse"})
    assert passes < 65


def test_openvino_translates_as_torch_does(serve: Callable[..., Any], local: Any, picture: Picture) -> None:
    """Any size, also in tiles, up to rounding; and the same pixels alone or among others."""
    one = serve(translate_engine="openvino", tile=256, tile_above_pixels=100_000)
    images = [picture(64, 64), picture(33, 90), picture(1, 7), picture(64, 64, "L")]
    for image in images:
        theirs, ours = (np.asarray(opened(translate(url, image))).astype(int) for url in (local.url, one.url))
        assert np.abs(theirs - ours).max() <= 1
    expected = translate(one.url, images[0]).content
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: translate(one.url, images[0]).content, range(16))) == [expected] * 16
    tiled = translate(one.url, picture(401, 503), accept="application/json").json()["images"][0]
    assert tiled["tiles"] > 1
    assert translate(one.url, images[0], direction="b_to_a").content != expected


def test_openvino_is_what_runs(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, picture: Picture) -> None:
    seen: list[tuple[str, bool]] = []

    def compile_openvino(module: Any, example: Any, precision: str, *, any_size: bool) -> Callable[..., Any]:
        seen.append((precision, any_size))
        return lambda images: images * 0 + 1  # white

    monkeypatch.setattr("service.engine.engine.metrics.compile_openvino", compile_openvino)
    one = serve(translate_engine="openvino", precision="bfloat16")
    assert np.asarray(opened(translate(one.url, picture(9, 9)))).min() == 255
    assert set(seen) == {("bfloat16", True)}
    assert one.runtime.telemetry.registry.get_sample_value("gan_batch_images_count", {"model": "horse"}) == 1
