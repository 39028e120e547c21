"""Addresses of the page: links to any seed, and Back and Forward through what was drawn."""

import io

import numpy as np
import pytest
import requests
from PIL import Image

HASH = "location.hash"


def drawn(page, seed):
    """Waits for a sheet that begins with this seed."""
    page.until("document.querySelector('#sample-sheet img')?.alt === arguments[0]", f"Seed {seed}")


def pixels(url, seed):
    answer = requests.post(f"{url}/v1/sample", json={"model": "tiny", "seed": seed}, timeout=300)
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


@pytest.mark.parametrize("seed", [2**53 + 1, 2**63 - 1])
def test_a_link_draws_seeds_that_are_no_numbers_in_javascript(page, local, seed):
    page.open(f"sample?model=tiny&seed={seed}&n=2")
    drawn(page, seed)
    np.testing.assert_array_equal(page.pixels("#sample-sheet img"), pixels(local.url, seed))
    assert page.all("#sample-sheet img")[1].get_attribute("alt") == f"Seed {(seed + 1) % 2**63}"
    assert page.js(HASH) == f"#sample?model=tiny&seed={seed}&n=2"
    page.one("#sample-sheet button").click()
    page.says("#lightbox .seed", str(seed))
    page.one("#lightbox [data-role=explore]").click()
    page.until("document.querySelector('#explore-note').textContent.startsWith('15')")
    page.says("#explore-corners", str(seed))
    lens = Image.fromarray(page.pixels("#explore-lens")).resize((16, 16), Image.Resampling.BOX)
    assert np.corrcoef(np.ravel(lens), np.ravel(pixels(local.url, seed)))[0, 1] > 0.9  # it is enlarged smoothly


@pytest.mark.parametrize("view", ["sample", "explore"])
@pytest.mark.parametrize("seed", ["9223372036854775808", "x", "-1", "1.5", "1e3"])
def test_a_link_to_no_seed_says_so(page, view, seed):
    page.open(f"{view}?model=tiny&seed={seed}")
    page.says(f"#{view}-fault", f"{seed} in this link is no seed")


@pytest.mark.parametrize("view", ["sample", "explore"])
def test_a_link_to_a_model_that_is_gone_says_so_without_a_seed_too(page, view):
    page.open(f"{view}?model=retired-model")
    page.says(f"#{view}-fault", "The model retired-model of this link is not served here. There are: ")


def test_a_seed_that_is_typed_is_a_whole_number(page):
    page.open("sample?model=tiny&seed=1&n=1")
    drawn(page, 1)
    page.set("#sample-seed", "1e3")
    assert page.js("document.querySelector('#sample-seed').validity.patternMismatch")
    page.set("#sample-seed", str(2**60 + 1))
    drawn(page, 2**60 + 1)


def test_back_and_forward_go_through_what_was_drawn(page):
    page.open("sample?model=classy&seed=1&n=1&class=1")
    page.says("#sample-note", "Seed 1,")
    page.until("document.querySelector('#sample-sheet img')?.alt === 'Seed 1, dog'")
    page.set("#sample-seed", "2")
    page.until(f"{HASH} === '#sample?model=classy&seed=2&n=1&class=1'")  # what is drawn, and no more, is an entry
    page.until("document.querySelector('#sample-sheet img')?.alt === 'Seed 2, dog'")
    page.set("#sample-class", "")
    page.until(f"{HASH} === '#sample?model=classy&seed=2&n=1'")
    page.set("#sample-model", "tiny")
    page.until(f"{HASH} === '#sample?model=tiny&seed=2&n=1'")
    for step, hash_of, label in (
        ("back", "#sample?model=classy&seed=2&n=1", "Seed 2, cat"),
        ("back", "#sample?model=classy&seed=2&n=1&class=1", "Seed 2, dog"),
        ("back", "#sample?model=classy&seed=1&n=1&class=1", "Seed 1, dog"),
        ("forward", "#sample?model=classy&seed=2&n=1&class=1", "Seed 2, dog"),
        ("forward", "#sample?model=classy&seed=2&n=1", "Seed 2, cat"),
        ("forward", "#sample?model=tiny&seed=2&n=1", "Seed 2"),
    ):
        page.js(f"history.{step}()")
        page.until("document.querySelector('#sample-sheet img')?.alt === arguments[0]", label)
        assert page.js(HASH) == hash_of


def test_back_leads_from_one_map_to_the_map_before(page):
    page.open("explore?model=tiny&corners=1,2,3,9007199254740993")
    page.until("document.querySelector('#explore-note').textContent.startsWith('15')")
    corners = "[...document.querySelectorAll('#explore-corners .mono')].map((one) => one.lastChild.data).join()"
    assert page.js(corners) == "1,2,3,9007199254740993"
    page.one("#explore-shuffle").click()
    page.until(f"!{HASH}.endsWith('corners=1,2,3,9007199254740993')")
    other = page.js(corners)
    page.js("history.back()")
    page.until(f"{corners} === '1,2,3,9007199254740993'")
    page.js("history.forward()")
    page.until(f"{corners} === arguments[0]", other)


def test_back_leads_from_a_view_to_the_one_before(page):
    page.open("sample?model=tiny&seed=1&n=1")
    drawn(page, 1)
    page.one(".tabs a[href='#explore']").click()
    page.until(f"{HASH}.startsWith('#explore?model=')")
    page.js("history.back()")
    page.until("!document.querySelector('#view-sample').hidden")
    drawn(page, 1)
    assert page.js(HASH) == "#sample?model=tiny&seed=1&n=1"
