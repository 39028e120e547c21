"""What people ran into on the page, in headless Chromium: leaving while it works, files it cannot read, old links."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.service.browser import Page

PHOTO = min((Path(__file__).parents[2] / "fixtures" / "horse2zebra").rglob("*.jpg"))
FAULT = "document.querySelector('#translate-fault')"
AFTER = "document.querySelector('#translate-compare .after')"
# Requests to the address stay open until release() is called; stopped() counts those that the page gave up.
HOLD = """
    const real = window.fetch;
    let open;
    const held = new Promise((resolve) => { open = resolve; });
    window.release = open;
    window.begun = window.stopped = 0;
    window.fetch = async (path, options) => {
        if (!path.endsWith(arguments[0])) return real(path, options);
        window.begun += 1;
        options.signal.addEventListener("abort", () => { window.stopped += 1; });
        await Promise.race([held, new Promise((_, reject) => {
            options.signal.addEventListener("abort", () => reject(options.signal.reason));
        })]);
        return real(path, options);
    };"""


@pytest.fixture
def errors(page):
    """Errors that no line of the page caught, as `read()`."""
    script = """
        window.uncaught = [];
        addEventListener("error", (event) => window.uncaught.push(event.message));
        addEventListener("unhandledrejection", (event) => window.uncaught.push(String(event.reason)));"""
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    yield lambda: page.js("window.uncaught")
    page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def photos(folder: Path, *sizes: tuple[int, int]) -> list[Path]:
    paths = [folder / f"photo-{index}.jpg" for index in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        Image.new("RGB", size, (90, 120, 60)).save(path)
    return paths


def open_translate(page):
    page.open("translate")
    page.until("document.querySelectorAll('#translate-segments input').length === 2")


def choose(page, selector, *paths):
    page.one(selector).send_keys("\n".join(str(path) for path in paths))


def drop(page, selector, names):
    """Files of these names, without a type, as a system gives them that does not know their kind."""
    page.driver.execute_script(
        """const files = new DataTransfer();
        for (const name of arguments[1]) files.items.add(new File([new Uint8Array(900)], name, {type: ""}));
        const event = {bubbles: true, cancelable: true, dataTransfer: files};
        document.querySelector(arguments[0]).dispatchEvent(new DragEvent("drop", event));""",
        selector,
        names,
    )


# Leaving while it works --------------------------------------------------------------------


def test_clear_while_photos_are_translated_is_an_empty_page(page, errors, tmp_path):
    open_translate(page)
    page.driver.execute_script(HOLD, "v1/translate")
    choose(page, "#translate-file", *photos(tmp_path, (64, 64), (64, 64), (64, 64)))
    page.until("window.begun === 1")
    page.one("#translate-again").click()
    page.until("window.stopped === 1")
    page.js("window.release()")
    page.gone("#translate-result")
    page.gone("#translate-fault")
    choose(page, "#translate-file", PHOTO)  # and the page goes on
    page.until(f"{AFTER}?.complete")
    assert page.js("window.begun") == 2
    assert errors() == []


def test_photos_chosen_while_others_are_translated_take_their_place(page, errors, tmp_path):
    open_translate(page)
    page.driver.execute_script(HOLD, "v1/translate")
    choose(page, "#translate-file", *photos(tmp_path, (64, 64), (64, 64)))
    page.until("window.begun === 1")
    choose(page, "#translate-file", PHOTO)
    page.js("window.release()")
    page.until(f"{AFTER}?.complete")
    page.gone("#translate-reel")
    page.gone("#translate-fault")
    assert page.js("window.stopped") == 1
    assert errors() == []


def test_a_newer_map_is_not_painted_over_by_an_older_one(page, errors):
    page.open("explore?model=tiny&seed=3")
    page.until("document.querySelector('#explore-note').textContent.startsWith('15')")
    page.driver.execute_script(HOLD, "v1/interpolate")
    page.one("#explore-shuffle").click()
    page.until("window.begun === 1")
    page.one("#explore-shuffle").click()
    page.until("window.stopped === 1 && window.begun === 2")
    page.js("window.release()")
    page.until("window.begun === 3")  # the coarse and the fine map of the second wish, and nothing of the first
    page.gone("#explore-fault")
    assert errors() == []


# Photos of a phone -------------------------------------------------------------------------


def watched(page):
    """Notes what the page sends: the photo, and to which address."""
    page.driver.execute_script("""
        const real = window.fetch;
        window.sent = [];
        window.fetch = (path, options) => {
            if (path.endsWith("/translate")) window.sent.push({path, photo: options.body.get("images")});
            return real(path, options);
        };""")


def test_a_photo_larger_than_is_taken_is_made_smaller_and_says_so(driver, serve, tmp_path):
    page = Page(driver, serve(translate_pixels=10_000, job_translate_pixels=20_000).url)
    path = tmp_path / "IMG_0001.jpg"
    photo = Image.new("RGB", (400, 300), (30, 60, 200))
    photo.paste((200, 60, 30), (0, 0, 200, 300))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, as phones have it: red is above, blue below
    photo.save(path, exif=exif)
    open_translate(page)
    watched(page)
    choose(page, "#translate-file", path)
    page.says("#translate-note", "122 × 163, made smaller from 300 × 400: 0.02 megapixels at most")
    page.until(f"{AFTER}?.naturalWidth === 122 && {AFTER}.naturalHeight === 163")
    page.gone("#translate-fault")
    sent = page.driver.execute_script("return window.sent[0].photo.arrayBuffer().then((b) => [...new Uint8Array(b)])")
    with Image.open(io.BytesIO(bytes(sent))) as image:
        assert image.format == "JPEG"
        above, below = image.getpixel((60, 20)), image.getpixel((60, 140))
    assert above[0] > 150 > 100 > above[2]
    assert below[2] > 150 > 100 > below[0]
    assert page.complaints() == []


def test_a_photo_that_may_take_long_is_translated_by_a_job(page, tmp_path):
    open_translate(page)
    watched(page)
    choose(page, "#translate-file", *photos(tmp_path, (1200, 900)))
    page.until(f"{AFTER}?.naturalWidth === 1200")
    page.says("#translate-note", "1200 × 900 · ")
    assert page.js("window.sent.map((one) => one.path)") == ["v1/jobs/translate"]
    page.gone("#translate-fault")


def test_a_photo_of_twelve_megapixels_comes_back_at_its_own_size_with_progress(page, tmp_path):
    path = tmp_path / "IMG_0002.jpg"
    Image.linear_gradient("L").convert("RGB").resize((4000, 3000)).save(path)
    open_translate(page)
    watched(page)
    page.driver.execute_script("""
        window.told = new Set();
        const note = document.querySelector("#translate-note");
        const stage = document.querySelector("#translate-compare");
        const look = () => {
            const bar = document.querySelector("#translate-progress");
            if (!bar.hidden && bar.value > 0 && bar.value < 1) window.told.add("bar");
            if (/part [0-9]+ of 8[0-9]/.test(note.textContent)) window.told.add("note");
            const [picture] = stage.querySelectorAll("img");
            if (picture && stage.hasAttribute("data-busy") && picture.naturalWidth === 256) window.told.add("preview");
        };
        new MutationObserver(look).observe(document.querySelector("#view-translate"),
            {subtree: true, childList: true, attributes: true, characterData: true});
        addEventListener("load", look, true);""")
    choose(page, "#translate-file", path)
    page.until(f"{AFTER}?.naturalWidth === 4000 && {AFTER}.naturalHeight === 3000")
    page.says("#translate-note", "4000 × 3000 · ")
    page.gone("#translate-progress")
    page.gone("#translate-fault")
    assert page.js("window.sent.map((one) => one.path)") == ["v1/jobs/translate"]
    assert page.js("window.sent[0].photo.size") == path.stat().st_size
    page.until("window.told.size === 3")


def test_what_is_within_the_limit_goes_up_untouched(page):
    open_translate(page)
    watched(page)
    choose(page, "#translate-file", PHOTO)
    page.until(f"{AFTER}?.complete")
    assert page.js("window.sent[0].photo.size") == PHOTO.stat().st_size


# Files that are not read -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["IMG_1.MOV"], "IMG_1.MOV is not an image that can be read here"),
        (["IMG_1.MOV", "notes.txt"], "IMG_1.MOV and notes.txt are not images"),
        (["IMG_1.MOV", "IMG_2.MOV", "IMG_3.MOV"], "IMG_1.MOV and 2 others are not images"),
    ],
)
def test_files_that_cannot_be_read_are_named_and_the_others_translated(page, tmp_path, names, sentence):
    for name in names:
        (tmp_path / name).write_bytes(bytes(900))
    open_translate(page)
    choose(page, "#translate-file", *[tmp_path / name for name in names], PHOTO)
    page.until(f"{AFTER}?.complete")
    page.says("#translate-fault", sentence)
    page.one("#translate-again").click()
    page.gone("#translate-fault")


def test_files_of_an_unknown_type_that_are_dropped_are_named(page):
    open_translate(page)
    drop(page, "#view-translate", ["IMG_1.MOV", "IMG_2.MOV"])
    page.says("#translate-fault", "IMG_1.MOV and IMG_2.MOV are not images that can be read here")


def test_of_heic_the_service_decides(page, tmp_path):
    """Browsers do not read it, nor know its type everywhere."""
    photo = tmp_path / "IMG_1.HEIC"
    Image.open(PHOTO).save(photo, "HEIF")
    open_translate(page)
    choose(page, "#translate-file", photo)
    page.until(f"{AFTER}?.complete && {AFTER}.naturalWidth > 0")
    page.gone("#translate-fault")
    page.one("#translate-again").click()
    drop(page, "#view-translate", ["IMG_2.heif"])
    page.says("#translate-fault", "IMG_2.heif is not an image of an accepted kind")
    assert ["415" in complaint for complaint in page.complaints()] == [True]


def test_files_that_cannot_be_scored_are_named(page):
    page.open("score")
    page.until("document.querySelectorAll('#score-sets fieldset').length === 2")
    page.js("document.querySelector('#set-a input[value=files]').click()")
    drop(page, "#set-a .drop", ["a.png", "notes.txt", "b.png", "IMG_1.MOV"])
    page.says("#set-a .drop strong", "2 files")
    page.says("#set-a .drop span", "Left out, because they are not read here: notes.txt and IMG_1.MOV.")
    drop(page, "#set-a .drop", ["a.jfif", "b.JPE", "c.pbm", "d.avif", "e.heic", "00017", "labels.csv"])
    page.says("#set-a .drop strong", "6 files")
    page.says("#set-a .drop span", "Left out, because they are not read here: labels.csv.")
    drop(page, "#set-a .drop", ["horses.tar.bz2"])
    page.says("#set-a .drop strong", "horses.tar.bz2")


# Links -------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["sample", "explore"])
@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("model=retired-model&seed=5&n=2", "The model retired-model of this link is not served here. There are: "),
        ("model=tiny&seed=5&n=2&class=1", "The model tiny has no class 1: it has no classes."),
        ("model=classy&seed=5&n=2&class=99", "The model classy has no class 99: its classes are 0 to "),
    ],
)
def test_a_link_to_what_is_gone_says_so_and_draws_nothing_else(page, view, query, sentence):
    page.open(f"{view}?{query}")
    page.says(f"#{view}-fault", sentence)
    assert page.all("#sample-sheet button") == []
    asked = "performance.getEntriesByType('resource').map((one) => one.name).join(' ')"
    assert page.js(f"/v1.(sample|interpolate)/.test({asked})") is False


def test_after_a_link_to_what_is_gone_another_model_can_be_chosen(page):
    page.open("sample?model=retired-model&seed=5&n=2")
    page.says("#sample-fault", "retired-model")
    page.set("#sample-model", "tiny")
    page.until("document.querySelectorAll('#sample-sheet img').length === 2")
    page.gone("#sample-fault")
    assert page.one("#sample-sheet img").get_attribute("alt") == "Seed 5"


def test_pixels_are_those_of_the_link(page):
    page.open("sample?model=tiny&seed=5&n=1")
    page.until("document.querySelectorAll('#sample-sheet img').length === 1")
    first = page.pixels("#sample-sheet img")
    page.open("sample?model=retired-model&seed=5&n=1")
    page.says("#sample-fault", "retired-model")
    page.open("sample?model=tiny&seed=5&n=1")
    page.until("document.querySelectorAll('#sample-sheet img').length === 1")
    np.testing.assert_array_equal(page.pixels("#sample-sheet img"), first)
