"""The page used in headless Chromium: samples, keyboard, phone, refusals, keys."""

import hashlib
import io

import numpy as np
import pytest
import requests
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

THEME = "document.documentElement.dataset.theme"
SHEET = "document.querySelectorAll('#sample-sheet img').length"


def test_sample_draws_what_the_api_draws(page, local):
    page.open("sample?model=tiny&seed=7&n=4")
    page.until(f"{SHEET} === 4")
    assert [tile.get_attribute("title") for tile in page.all(".tile")] == ["Seed 7", "Seed 8", "Seed 9", "Seed 10"]
    answer = requests.post(f"{local.url}/v1/sample", json={"model": "tiny", "seed": 7}, timeout=300)
    expected = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
    np.testing.assert_array_equal(page.pixels("#sample-sheet img"), expected)


def test_sample_new_seeds_classes_and_a_link_that_draws_them_again(page):
    page.open("sample?model=classy&seed=3&n=4&class=1")
    page.until(f"{SHEET} === 4")
    assert page.one(".tile").get_attribute("title") == "Seed 3, dog"
    page.one("#sample-go").click()
    page.until("!document.querySelector('.tile').title.startsWith('Seed 3,')")
    title = page.one(".tile").get_attribute("title")
    page.driver.refresh()
    page.until(f"{SHEET} === 4")
    page.until("document.querySelector('.tile').title === arguments[0]", title)


def test_lightbox_by_keyboard_and_its_download(page, tmp_path):
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    page.open("sample?model=tiny&seed=20&n=3")
    page.until(f"{SHEET} === 3")
    page.one(".tile").send_keys(Keys.ENTER)
    page.until("document.querySelector('#lightbox').open")
    ActionChains(page.driver).send_keys(Keys.ARROW_RIGHT).perform()
    page.says("#lightbox .seed", "21")
    page.one("#lightbox [data-role=download]").click()
    file = tmp_path / "tiny-seed-21.png"
    WebDriverWait(page.driver, 300).until(lambda _: file.exists() and file.stat().st_size > 0)
    assert file.read_bytes().startswith(b"\x89PNG")
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    page.until("!document.querySelector('#lightbox').open")


def test_a_refusal_shows_the_services_sentence_and_recovers(page):
    page.open("sample?model=tiny&seed=1&n=2")
    page.until(f"{SHEET} === 2")
    page.js("document.querySelector('#sample-model').append(new Option('gone', 'gone'))")
    page.driver.execute_script("""
        const real = window.fetch;
        window.fetch = (path, options) => real(path, {...options, body: options.body?.replace('"tiny"', '"gone"')});
        window.mend = () => { window.fetch = real; };""")
    page.one("#sample-dice").click()
    page.says("#sample-fault", "There is no model gone")
    WebDriverWait(page.driver, 300).until(lambda _: page.complaints())  # the browser reports the 404 itself
    page.js("window.mend()")
    page.one("#sample-fault button").click()
    page.until(f"document.querySelector('#sample-fault').hidden && {SHEET} === 2")


def test_the_theme_is_chosen_and_kept(page):
    page.open("sample")
    other = {"light": "dark", "dark": "light"}
    first = page.js(THEME)
    page.one("#theme").click()
    page.until(f"{THEME} === '{other[first]}'")
    page.open("score")
    page.until(f"{THEME} === '{other[first]}'")
    page.driver.execute_script("localStorage.removeItem('theme')")


def test_a_theme_chosen_in_one_tab_holds_in_the_others(page):
    page.open("sample")
    first, tab = page.js(THEME), page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.open("score")
    page.one("#theme").click()
    page.until(f"{THEME} !== '{first}'")
    chosen = page.js(THEME)
    page.driver.close()
    page.driver.switch_to.window(tab)
    page.until(f"{THEME} === '{chosen}'")
    assert page.one("#theme").get_attribute("aria-pressed") == str(chosen == "dark").lower()
    page.driver.execute_script("localStorage.removeItem('theme')")


@pytest.mark.parametrize("view", ["sample", "explore", "translate", "score"])
def test_on_a_phone_nothing_is_cut_off_or_too_small_to_touch(page, view):
    page.resize(390, 844, phone=True)
    page.open(view)
    page.until("document.querySelector('#health').dataset.state === 'ready'")
    assert page.js("document.documentElement.scrollWidth") <= 390
    small = page.js(f"""[...document.querySelectorAll('#view-{view} button, #view-{view} select, .tabs a')]
        .filter((e) => e.offsetParent && Math.min(e.offsetHeight, e.offsetWidth) < 36).map((e) => e.outerHTML)""")
    assert small == []


def test_the_whole_page_is_reached_by_tab(page):
    page.open("sample?model=tiny&seed=1&n=1")
    page.until(f"{SHEET} === 1")
    reached = []
    for _ in range(20):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        reached.append(page.js("document.activeElement.id || document.activeElement.className"))
    wanted = ["skip", "theme", "sample-model", "sample-n", "sample-seed", "sample-dice", "sample-go", "tile"]
    assert [one for one in reached if one in wanted][: len(wanted)] == wanted


def test_a_service_with_keys_is_asked_for_and_used_with_one(page, serve):
    page.url = serve(api_keys=(hashlib.sha256(b"open sesame").hexdigest(),)).url
    page.open("sample")
    page.until("document.querySelector('#key-dialog').open")
    page.one("#key-input").send_keys("open sesame", Keys.ENTER)
    page.until(f"{SHEET} > 0")
    page.says("#health", "3 models ready")
    assert "open sesame" not in page.driver.page_source
    assert all("401" in complaint for complaint in page.complaints())
    page.js("sessionStorage.clear()")


def test_without_models_each_view_says_what_to_do(page, serve, tmp_path):
    page.url = serve(models=(tmp_path,)).url
    for view, words in (("sample", "No generator"), ("explore", "No generator"), ("translate", "No translator")):
        page.open(view)
        page.says(f"#view-{view} .void", words)
