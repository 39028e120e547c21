"""The web page's files: what is served and how, labels, contrast."""

import itertools
import re
from html.parser import HTMLParser

import pytest
import requests

from service.endpoints.score import Metric
from service.http.page import STATIC


class _Tags(HTMLParser):
    """Every start tag of a document, with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def tags() -> list[tuple[str, dict[str, str | None]]]:
    return _Tags((STATIC / "index.html").read_text()).found


def test_the_page_is_served_with_a_policy_that_keeps_it_to_this_host(local):
    answer = requests.get(f"{local.url}/", timeout=300)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_file_that_the_page_names_is_served(local, tags):
    named = {attrs[key] for _, attrs in tags for key in ("src", "href") if (attrs.get(key) or "").startswith("static/")}
    imported = {
        f"static/{name}" for file in STATIC.glob("*.js") for name in re.findall(r'from "\./([\w.]+)"', file.read_text())
    }
    assert {"static/main.js", "static/base.css", "static/api.js"} <= named | imported
    for path in sorted(named | imported):
        answer = requests.get(f"{local.url}/{path}", timeout=300)
        assert answer.status_code == 200, path
        again = requests.get(f"{local.url}/{path}", headers={"If-None-Match": answer.headers["etag"]}, timeout=300)
        assert again.status_code == 304, path


@pytest.mark.parametrize("path", ["/static/nothing.js", "/static/%2e%2e/page.py", "/static/..%2fpage.py", "/static/"])
def test_what_is_not_a_file_of_the_page_is_404_in_the_one_error_shape(local, path):
    answer = requests.get(local.url + path, timeout=300)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_nothing_comes_from_another_host_and_nothing_is_inline(tags):
    for file in [*STATIC.glob("*.html"), *STATIC.glob("*.css"), *STATIC.glob("*.js")]:
        addresses = set(re.findall(r"https?://[^\s\"')]+", file.read_text())) - {"http://www.w3.org/2000/svg"}
        assert not addresses, file.name
    assert not [attrs for _, attrs in tags if "style" in attrs or any(name.startswith("on") for name in attrs)]
    assert all("src" in attrs for tag, attrs in tags if tag == "script")


def test_every_control_has_a_label_and_every_label_a_control(tags):
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    pointed = {attrs["for"] for tag, attrs in tags if tag == "label" and "for" in attrs}
    assert pointed <= set(ids)
    for tag, attrs in tags:
        if tag in ("input", "select") and attrs.get("type") not in ("checkbox", "file"):
            assert attrs.get("id") in pointed or "aria-label" in attrs, attrs


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_against_known_pairs():
    assert _contrast("#ffffff", "#000000") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [":root", ':root[data-theme="dark"]'])
def test_colours_meet_wcag_aa(theme):
    css = (STATIC / "base.css").read_text()
    block = css.split(f"{theme} {{", 1)[1].split("}", 1)[0]
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
    for text, ground in itertools.product(
        ("ink", "ink-soft", "accent", "danger", "good", "second"), ("ground", "paper")
    ):
        assert _contrast(colour[text], colour[ground]) >= 4.5, (text, ground)
    for text, ground in (("on-accent", "accent"), ("ground", "ink"), ("ink", "danger-tint"), ("ink", "tint")):
        assert _contrast(colour[text], colour[ground]) >= 4.5, (text, ground)
    for ground in ("ground", "paper"):
        assert _contrast(colour["outline"], colour[ground]) >= 3, ground


def test_the_measures_are_those_there_are(tags):
    offered = [attrs["value"] for tag, attrs in tags if tag == "input" and attrs.get("name") == "metrics"]
    assert sorted(offered) == sorted(Metric.__args__)


def test_bentoml_serves_the_page_at_its_root(server):
    answer = requests.get(f"{server}/", timeout=300)
    assert "<title>Gan Service</title>" in answer.text
    assert requests.get(f"{server}/static/main.js", timeout=300).status_code == 200
    assert requests.get(f"{server}/docs.json", timeout=300).json()["openapi"].startswith("3.")
