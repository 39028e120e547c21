"""POST /v1/translate of MP4 and WebM, through PyAV."""

import importlib.util
import io
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
import requests
from PIL import Image
from requests import Response

import models
from models.images import Pixels

NTSC = Fraction(30_000, 1001)
CODECS = {"mp4": ("libx264", "aac"), "webm": ("libvpx-vp9", "libopus")}


def noise(count: int, height: int = 20, width: int = 24) -> list[Pixels]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def video(kind: str, frames: Sequence[Pixels], sound: bool = False, lossy: bool = False) -> bytes:
    """At the frame rate of NTSC; `lossy` to be small."""
    out = io.BytesIO()
    with av.open(out, "w", format=kind) as container:
        pictures: Any = container.add_stream(CODECS[kind][0], rate=NTSC, options={} if lossy else {"crf": "4"})
        pictures.height, pictures.width = frames[0].shape[:2]
        pictures.pix_fmt = "yuv420p"
        heard: Any = container.add_stream(CODECS[kind][1], rate=48_000) if sound else None
        for frame in frames:
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(pictures.encode())
        for start in range(0, 4800 if sound else 0, 960):
            wave = np.sin(np.arange(start, start + 960) / 20).astype(np.float32)[None]
            piece = av.AudioFrame.from_ndarray(wave, format="fltp" if kind == "mp4" else "flt", layout="mono")
            piece.sample_rate, piece.pts = 48_000, start
            container.mux(heard.encode(piece))
        if sound:
            container.mux(heard.encode())
    return out.getvalue()


def of_two_sizes() -> bytes:
    """A WebM whose frames become smaller, as VP9 allows."""
    out = io.BytesIO()
    with av.open(out, "w", format="webm") as container:
        stream: Any = container.add_stream("libvpx-vp9", rate=25)
        stream.height, stream.width, stream.pix_fmt = 20, 24, "yuv420p"
        for number, frame in enumerate([*noise(2), *noise(2, 10, 12)]):
            encoder: Any = av.CodecContext.create("libvpx-vp9", "w")
            encoder.height, encoder.width = frame.shape[:2]
            encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
            for packet in [*encoder.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")), *encoder.encode()]:
                packet.pts = packet.dts = number
                packet.stream, packet.time_base = stream, Fraction(1, 25)
                container.mux(packet)
    return out.getvalue()


def corrupt(kind: str) -> bytes:
    """The third frame's bytes are those of nothing."""
    data = bytearray(video(kind, noise(4)))
    with av.open(io.BytesIO(bytes(data))) as container:
        third = [packet for packet in container.demux(container.streams.video[0]) if packet.size][2]
    assert third.pos is not None
    data[third.pos + 8 : third.pos + third.size] = b"\xa5" * (third.size - 8)
    return bytes(data)


@pytest.fixture(scope="module")
def url(local: Any) -> str:
    return f"{local.url}/v1/translate"


def post(url: str, data: bytes, name: str = "film", **fields: str) -> Response:
    return requests.post(url, files={"images": (name, data)}, data=fields, timeout=300)


def told(data: bytes) -> dict[str, Any]:
    with av.open(io.BytesIO(data)) as container:
        (pictures,) = container.streams.video
        sounds = [packet.size for packet in container.demux(container.streams.audio) if packet.size]
    with av.open(io.BytesIO(data)) as container:
        times = [float(frame.time or 0) for frame in container.decode(video=0)]
    about = (pictures.codec_context.name, pictures.width, pictures.height, pictures.codec_context.pix_fmt)
    return {"about": about, "times": times, "sounds": sounds}


@pytest.mark.parametrize("kind", CODECS)
def test_a_video_comes_back_as_it_was_with_its_sound(url: str, kind: str) -> None:
    sent = video(kind, noise(4), sound=True)
    answer = post(url, sent, name="a film.gif")  # what it is called says nothing
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"video/{kind}"), answer.text[:300]
    assert answer.headers["x-sound"] == "kept"
    before, after = told(sent), told(answer.content)
    assert after["about"] == (before["about"][0], 24, 20, "yuv420p")
    np.testing.assert_allclose(after["times"], before["times"], atol=0.001)
    assert after["sounds"] == before["sounds"]
    assert b"compositeWithTrainedAlgorithmicMedia" in answer.content


def test_a_videos_frames_are_translated(url: str) -> None:
    """Each as the photo that it is would be, but for what the codec loses."""
    frames = [np.full((20, 24, 3), level, np.uint8) for level in (60, 200)]
    with av.open(io.BytesIO(post(url, video("mp4", frames), quality="100").content)) as container:
        made = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    for frame, photo in zip(made, frames, strict=True):
        alone = requests.post(url, files={"images": models.encode(photo)}, timeout=300).content
        assert np.abs(frame.mean((0, 1)) - np.asarray(Image.open(io.BytesIO(alone))).mean((0, 1))).max() < 8


def test_another_kind_drops_the_sound_and_says_so(url: str) -> None:
    answer = post(url, video("webm", noise(3), sound=True), format="gif")
    assert (answer.headers["content-type"], answer.headers["x-sound"]) == ("image/gif", "dropped")
    frames = list(models.frames(answer.content, name="answer"))
    assert [frame.duration_ms for frame in frames] == [30, 40, 30]  # 33.37 each, in hundredths of a second
    filmed = post(url, answer.content, format="mp4")
    assert told(filmed.content)["times"] == pytest.approx([0, 0.03, 0.07], abs=0.001)
    assert "x-sound" not in filmed.headers


def test_a_video_as_a_job(local: Any, wait_until: Any) -> None:
    sent = post(f"{local.url}/v1/jobs/translate", video("webm", noise(3)))
    job = f"{local.url}/v1/jobs/{sent.json()['id']}"
    wait_until(lambda: requests.get(job, timeout=30).json()["state"] in ("done", "failed"), "the job's end")
    result = requests.get(f"{job}/result", timeout=30)
    assert result.headers["content-type"] == "video/webm", result.text[:300]


def test_odd_sides_become_even_in_h264_alone(url: str) -> None:
    sent = video("webm", noise(2, 5, 9))
    assert told(post(url, sent).content)["about"][1:3] == (9, 5)
    assert told(post(url, sent, format="mp4").content)["about"][1:3] == (10, 6)


@pytest.mark.parametrize(
    ("sent", "fields", "status", "sentence"),
    [
        (lambda: video("mp4", noise(4))[:-1500], {}, 422, "film is truncated"),
        (lambda: video("webm", noise(4))[:-1500], {}, 422, "film is truncated"),
        (lambda: corrupt("mp4"), {}, 422, "of film is truncated or corrupt"),  # a decoder may look ahead
        (lambda: corrupt("webm"), {}, 422, "Frame 3 of film is truncated or corrupt"),
        (of_two_sizes, {}, 415, "Frame 3 of film is of another size"),
        (lambda: b"\x1a\x45\xdf\xa3" + bytes(60), {}, 422, "film is truncated or corrupt"),
        (lambda: video("mp4", noise(2)), {"format": "png"}, 400, "film is a video: ask for mp4, webm, gif"),
        (lambda: video("mp4", noise(2), lossy=True), {"cycle": "true"}, 400, "answered as a clip"),
    ],
    ids=["mp4 cut", "webm cut", "mp4 corrupt", "webm corrupt", "two sizes", "only a head", "as a photo", "a cycle"],
)
def test_a_bad_video_is_refused_with_a_sentence(
    url: str, sent: Any, fields: dict[str, str], status: int, sentence: str
) -> None:
    answer = post(url, sent(), **fields)
    message = answer.json()["error"]["message"]
    assert (answer.status_code, sentence in message) == (status, True), message


def test_without_pyav_the_refusal_says_how_to_install_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, find = video("mp4", noise(2)), importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "av" else find(name))
    for data, fields, status in ((sent, {}, 415), (models.encode(noise(1)[0]), {"format": "webm"}, 400)):
        answer = post(url, data, **fields)
        assert answer.status_code == status
        assert "pip install av, or in the container --build-arg EXTRAS=av" in answer.json()["error"]["message"]
