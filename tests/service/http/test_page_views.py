"""The page's views in headless Chromium: explore, translate, score."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image, ImageSequence
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from metrics.sets.featuresets import of_features

PHOTOS = sorted((Path(__file__).parents[2] / "fixtures" / "horse2zebra").rglob("*.jpg"))


# Explore -----------------------------------------------------------------------------------


def explore(page, query=""):
    page.open(f"explore{query}")
    page.until("document.querySelector('#explore-note').textContent.startsWith('15')")


def settle(page, x, y):
    """Waits until the lens has followed to (x, y), in percent."""
    cross = "document.querySelector('#explore-cross').style"
    page.until(f"Math.hypot(parseFloat({cross}.left) - {x}, parseFloat({cross}.top) - {y}) < 0.5")


def test_the_lens_shows_the_corners_own_image_at_the_corner(page, local):
    explore(page, "?model=tiny&seed=11")
    settle(page, 0, 0)
    page.says(".corner", "11")
    answer = requests.post(f"{local.url}/v1/sample", json={"model": "tiny", "seed": 11}, timeout=300)
    expected = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(float)
    lens = Image.fromarray(page.pixels("#explore-lens")).resize((16, 16), Image.Resampling.BOX)
    # Enlarged and reduced again: noise loses contrast by that, and nothing else.
    assert np.corrcoef(np.asarray(lens).ravel(), expected.ravel())[0, 1] > 0.9


def test_the_lens_follows_the_pointer_and_the_keys(page):
    explore(page)
    before = page.pixels("#explore-lens")
    lens = page.one("#explore-lens")
    drag = ActionChains(page.driver).move_to_element(lens).click_and_hold()
    drag.move_by_offset(lens.size["width"] // 4, -lens.size["height"] // 4).release().perform()
    settle(page, 75, 25)
    assert np.abs(page.pixels("#explore-lens").astype(int) - before).max() > 0
    lens.send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    settle(page, 71, 25)
    lens.send_keys(Keys.SHIFT, Keys.ARROW_DOWN)
    settle(page, 71, 35)
    page.set("#explore-x", "10", "input")
    settle(page, 10, 35)
    page.says("#explore-x-out", "10")


def test_drifting_goes_on_until_it_is_stopped(page):
    explore(page)
    page.one("#explore-drift").click()
    page.until("Math.abs(parseFloat(document.querySelector('#explore-cross').style.left) - 50) > 5")
    page.one("#explore-drift").click()
    page.until("document.querySelector('#explore-drift').getAttribute('aria-pressed') === 'false'")


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_a_loop_is_saved_as_an_animation(page, tmp_path, kind):
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    explore(page, "?model=classy&seed=5&class=1")
    page.set("#explore-format", kind)
    page.one("#explore-save").click()
    file = tmp_path / f"classy-loop.{kind}"
    WebDriverWait(page.driver, 300).until(lambda _: file.exists() and file.stat().st_size > 0)
    with Image.open(file) as animation:
        assert animation.is_animated
        shown = [frame.copy().info["duration"] for frame in ImageSequence.Iterator(animation)]
    assert sum(shown) == 4 * 24 * 50  # ms; equal neighbours are stored as one frame that stays for longer


# Translate ---------------------------------------------------------------------------------

AFTER = "document.querySelector('#translate-compare .after')"


def drop(page, *paths):
    page.one("#translate-file").send_keys("\n".join(str(path) for path in paths))


def ready(page):
    page.until("document.querySelectorAll('#translate-segments input').length === 2")


def test_a_photo_is_shown_beside_its_translation(page, local):
    page.open("translate")
    ready(page)
    drop(page, PHOTOS[0])
    page.until(f"{AFTER} !== null && {AFTER}.complete")
    files = {"images": PHOTOS[0].read_bytes()}
    answer = requests.post(f"{local.url}/v1/translate", files=files, data={"format": "png"}, timeout=300)
    expected = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
    np.testing.assert_array_equal(page.pixels("#translate-compare .after"), expected)
    assert [tag.text for tag in page.all("#translate-compare .tag")] == ["horse", "zebra"]
    page.one("#translate-compare input").send_keys(Keys.HOME)
    page.until("document.querySelector('#translate-compare').style.getPropertyValue('--at') === '0%'")


def test_another_direction_and_the_round_trip(page):
    page.open("translate")
    ready(page)
    page.one("#translate-cycle").click()
    drop(page, PHOTOS[0])
    page.until("document.querySelector('#translate-note').textContent.includes('round trip differs by')")
    page.js("document.querySelector('#translate-segments [value=b_to_a]').click()")
    page.until(f"{AFTER} !== null && document.querySelector('.tag.right').textContent === 'horse'")


def test_a_broken_photo_among_others_has_the_services_sentence(page, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(PHOTOS[0].read_bytes()[:2000])
    page.open("translate")
    ready(page)
    drop(page, broken, PHOTOS[0])
    page.says("#translate-fault", "broken.jpg")
    page.until("document.querySelectorAll('#translate-reel button').length === 2")
    page.js("document.querySelectorAll('#translate-reel button')[1].click()")
    page.until(f"{AFTER} !== null && document.querySelector('#translate-fault').hidden")
    assert all("422" in complaint or "400" in complaint for complaint in page.complaints())


def test_a_file_that_is_no_image_is_not_sent(page, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("not an image")
    page.open("translate")
    ready(page)
    drop(page, notes)
    page.says("#translate-fault", "notes.txt is not an image")


def test_several_photos_come_as_one_zip(page, local, tmp_path):
    photos = [tmp_path / folder / "hörse.jpg" for folder in ("one", "two")]  # of one name, from two folders
    for photo, source in zip(photos, PHOTOS, strict=False):
        photo.parent.mkdir()
        photo.write_bytes(source.read_bytes())
    downloads = tmp_path / "downloads"
    behaviour = {"behavior": "allow", "downloadPath": str(downloads)}
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    page.open("translate")
    ready(page)
    drop(page, photos[0])
    page.until(f"{AFTER} !== null && {AFTER}.complete")
    page.gone("#translate-save-all")
    drop(page, *photos)
    page.until("document.querySelector('#translate-save-all').checkVisibility()")
    page.one("#translate-save-all").click()
    file = downloads / "zebra.zip"
    WebDriverWait(page.driver, 300).until(lambda _: file.exists())
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["1-hörse-zebra.png", "2-hörse-zebra.png"]
        unpacked = [archive.read(name) for name in archive.namelist()]
    for data, photo in zip(unpacked, photos, strict=True):
        files = {"images": photo.read_bytes()}
        answer = requests.post(f"{local.url}/v1/translate", files=files, data={"format": "png"}, timeout=300)
        assert data == answer.content


# Score -------------------------------------------------------------------------------------


def statistics(path: Path, shift: float) -> str:
    """Of eight feature vectors, shifted: covariances are equal, so that FID is the squared shift of the mean."""
    features = np.full((8, 2048), shift)
    features[:, :8] += np.random.default_rng(0).standard_normal((8, 8))
    of_features(path.name, features.astype(np.float32), "pytorch-fid", "test").save(path)
    with np.load(path) as arrays:
        np.savez_compressed(path, **arrays)  # 33 MB otherwise
    return str(path)


def fill_sets(page, tmp_path):
    page.open("score")
    page.until("document.querySelectorAll('#score-sets fieldset').length === 2")
    for side, shift in (("a", 1.0), ("b", 0.0)):
        page.one(f"#set-{side} input[value=files]").send_keys(Keys.SPACE)
        page.one(f"#set-{side}-files").send_keys(statistics(tmp_path / f"{side}.npz", shift))
    page.js("document.querySelectorAll('#score-metrics input').forEach((e) => { e.checked = e.value === 'fid'; })")


def test_two_sets_are_scored_and_plotted(page, tmp_path):
    fill_sets(page, tmp_path)
    page.one("#score-go").click()
    page.says("#score-result .big", "2,048")
    plot = "document.querySelector('#score-result svg.plot').getAttribute('aria-label')"
    page.until(f"{plot}.startsWith('FID. a.npz against b.npz: 2,048')")
    page.gone("#score-work")
    page.one("#score-go").click()
    page.until("document.querySelectorAll('#score-result svg.plot .dot').length === 2")


def test_an_empty_set_is_told_without_a_request(page):
    page.open("score")
    page.until("document.querySelectorAll('#score-sets fieldset').length === 2")
    page.one("#set-a input[value=files]").send_keys(Keys.SPACE)
    page.one("#score-go").click()
    page.says("#score-fault", "First set is empty")


def test_progress_is_shown_and_a_score_can_be_cancelled(page, tmp_path):
    fill_sets(page, tmp_path)
    page.driver.execute_script("""
        const real = window.fetch;
        window.asked = [];
        window.fetch = async (path, options) => {
            window.asked.push(`${options?.method} ${path}`);
            const response = await real(path, options);
            if (!/jobs.[0-9a-f]+.events$/.test(path)) return response;
            const data = JSON.stringify({done: 3, total: 10, seconds_left: 75});
            const told = `id: 1.running.3.0\\nevent: progress\\ndata: ${data}\\n\\n`;
            const open = new ReadableStream({start: (stream) => {
                stream.enqueue(new TextEncoder().encode(told));
                options.signal.addEventListener("abort", () => stream.error(options.signal.reason));
            }});
            return new Response(open, {headers: {"Content-Type": "text/event-stream"}});
        };""")
    page.one("#score-go").click()
    page.until("document.querySelector('#score-progress').value === 0.3")
    page.says("#score-stage", "Reading the images, 3 of 10, about 1 min 15 s left")
    page.one("#score-cancel").click()
    page.until("!document.querySelector('#score-go').disabled")
    page.gone("#score-work")
    page.until(r"/DELETE v1\/jobs\/[0-9a-f]{32}/.test(window.asked.join(' '))")
    page.gone("#score-fault")
