"""The page's clips and its camera, in headless Chromium with a camera that shows a clock."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.service.browser import Page

AFTER = "document.querySelector('#translate-compare .after')"
NOTE = "document.querySelector('#camera-note').textContent"
# The most frames that are on their way at once, and how many were sent.
COUNTING = """(() => {
    const send = window.fetch;
    let inside = 0;
    window.most = window.sent = 0;
    window.fetch = async (path, ...more) => {
        if (!String(path).includes('v1/translate')) return send(path, ...more);
        window.most = Math.max(window.most, ++inside);
        window.sent += 1;
        try { return await send(path, ...more); } finally { inside -= 1; }
    };
})()"""


@pytest.fixture
def translating(page: Page) -> Page:
    page.open("translate")
    page.until("document.querySelectorAll('#translate-segments input').length === 2")
    return page


def crossing(path: Path, count: int = 5) -> Path:
    frames = [np.zeros((60, 80, 3), np.uint8) + np.uint8(90) for _ in range(count)]
    for index, frame in enumerate(frames):
        frame[20:40, 10 * index : 10 * index + 20] = 250
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(path, save_all=True, append_images=images[1:], duration=100, loop=0)
    return path


@pytest.mark.parametrize("name", ["gallop.gif", "gallop.webp", "gallop.png"])
def test_a_clip_plays_beside_its_translation(translating: Page, tmp_path: Path, name: str) -> None:
    translating.one("#translate-file").send_keys(str(crossing(tmp_path / name)))
    translating.until(f"{AFTER} !== null && {AFTER}.complete && {AFTER}.naturalWidth === 80")
    assert translating.one("#translate-save").get_attribute("download") == f"gallop-zebra{Path(name).suffix}"


def test_a_video_plays_beside_its_translation_in_step(translating: Page, tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "gallop.webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9", rate=10)
        stream.width, stream.height, stream.pix_fmt = 80, 60, "yuv420p"
        for level in range(0, 250, 25):
            frame = av.VideoFrame.from_ndarray(np.full((60, 80, 3), level, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    translating.one("#translate-file").send_keys(str(path))
    translating.until(f"{AFTER}?.tagName === 'VIDEO' && {AFTER}.videoWidth === 80 && !{AFTER}.paused")
    assert translating.one("#translate-save").get_attribute("download") == "gallop-zebra.webm"


def test_the_camera_is_translated_two_frames_at_a_time_until_the_page_is_hidden(translating: Page) -> None:
    translating.js(COUNTING)
    translating.js("document.querySelector('#translate-live').click()")
    translating.until(f"{NOTE}.includes('frames/s')")
    for name in ("before", "after"):
        assert translating.pixels(f"#camera-{name}").std() > 5
    assert translating.js("document.querySelector('#camera-after').width") == 128
    assert 0 < int(str(translating.js("window.most"))) <= 2
    translating.js("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    translating.js("document.dispatchEvent(new Event('visibilitychange'))")
    translating.says("#camera-note", "out of sight")
    sent = translating.js("window.sent")
    translating.js("delete document.hidden")
    assert translating.js("window.sent") == sent
    translating.set("#camera-size", "256")
    translating.js("document.querySelector('#camera-again').click()")
    translating.until("document.querySelector('#camera-after').width === 256")
    translating.js("document.querySelector('#camera-close').click()")
    translating.says("#translate-drop", "Drop a photo or a clip here")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NotFoundError", "There is no camera here."),
        ("NotAllowedError", "The browser does not let this page use the camera"),
    ],
)
def test_without_a_camera_or_leave_the_page_says_so(translating: Page, name: str, sentence: str) -> None:
    refusal = f"() => Promise.reject(new DOMException('no', '{name}'))"
    translating.js(f"navigator.mediaDevices.getUserMedia = {refusal}")
    translating.js("document.querySelector('#translate-live').click()")
    translating.says("#camera-fault", sentence)


def test_on_a_phone_the_camera_fits(translating: Page) -> None:
    translating.resize(390, 844, phone=True)
    translating.js("document.querySelector('#translate-live').click()")
    translating.until(f"{NOTE}.includes('frames/s')")
    assert translating.js("document.documentElement.scrollWidth <= innerWidth")
    places = "[...document.querySelectorAll('#camera-panel canvas, #camera-panel button:not([hidden])')]"
    assert translating.js(f"{places}.every(e => e.getBoundingClientRect().right <= innerWidth)")
    translating.js("document.querySelector('#camera-close').click()")
