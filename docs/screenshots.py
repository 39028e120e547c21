"""Takes the pictures of the web page in docs/: python docs/screenshots.py http://localhost:3000 horse.jpg REAL_IMAGES

The service must be running, with a generator, a translator and the Inception weights; Chromium and chromedriver must
be installed. Horse.jpg is the photo to translate, REAL_IMAGES a folder to score the generator against. Look at the
pictures before you commit them.
"""

import argparse
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars"
SIZES = {"desktop": (1280, 800, False), "phone": (390, 844, True)}
SHOTS = (
    ("desktop", "light", ("sample", "explore", "edit", "translate")),
    ("desktop", "dark", ("sample", "explore")),
    ("phone", "light", ("sample", "explore", "edit", "translate")),
    ("phone", "dark", ("translate",)),
)
SCORED = 200  # images of each set


class Camera:
    """A browser of one size in one theme."""

    def __init__(self, url: str, out: Path) -> None:
        options = Options()
        for flag in [*FLAGS.split(), f"--user-data-dir={tempfile.mkdtemp()}"]:
            options.add_argument(flag)
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.url, self.out = url, out

    def frame(self, size: str, theme: str) -> None:
        width, height, phone = SIZES[size]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": phone})
        features = [
            {"name": "prefers-color-scheme", "value": theme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, view: str, ready: str) -> None:
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/#{view}")
        self.until(ready)

    def until(self, expression: str) -> None:
        WebDriverWait(self.driver, 600).until(lambda driver: driver.execute_script(f"return {expression}"), expression)

    def run(self, script: str) -> None:
        self.driver.execute_script(script)

    def choose(self, control: str, files: list[Path]) -> None:
        self.driver.find_element(By.ID, control).send_keys("\n".join(str(file.resolve()) for file in files))

    def take(self, name: str) -> None:
        """Writes NAME.webp, under 300 KB."""
        image = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        path = self.out / f"{name}.webp"
        for quality in (90, 80, 70, 60):
            image.save(path, quality=quality, method=6)
            if path.stat().st_size < 300_000:
                return


def prepare_sample(camera: Camera, size: str, _: Path) -> None:
    count = 32 if size == "desktop" else 16
    camera.open(f"sample?seed=7&n={count}", f"document.querySelectorAll('.tile img').length === {count}")


def prepare_explore(camera: Camera, _: str, __: Path) -> None:
    camera.open("explore?seed=7", "document.querySelector('#explore-note').textContent.startsWith('15')")
    for axis, value in (("x", 30), ("y", 20)):
        slider = f"document.querySelector('#explore-{axis}')"
        camera.run(f"{slider}.value = {value}; {slider}.dispatchEvent(new Event('input'))")
    camera.until("parseFloat(document.querySelector('#explore-cross').style.left) === 30")


def prepare_edit(camera: Camera, _: str, __: Path) -> None:
    drawn = "document.querySelector('#edit-canvas').dataset.drawn === location.hash"
    pictures = "[...document.querySelectorAll('.board .cell img')].every((image) => image.complete && image.src)"
    camera.open("edit?from=seed:9&to=seed:16&at=40&steps=sefa-2:-1.5", f"{drawn} && {pictures}")


def prepare_translate(camera: Camera, _: str, photo: Path) -> None:
    camera.open("translate", "document.querySelector('#translate-segments input') !== null")
    camera.choose("translate-file", [photo])
    camera.until("document.querySelector('#translate-compare .after')?.complete")


PREPARE = {
    "sample": prepare_sample,
    "explore": prepare_explore,
    "edit": prepare_edit,
    "translate": prepare_translate,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("photo", type=Path)
    parser.add_argument("real", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    given = parser.parse_args()
    real = sorted(path for path in given.real.rglob("*") if path.suffix.lower() in (".png", ".jpg"))[:SCORED]
    camera = Camera(given.url.rstrip("/"), given.out)
    for size, theme, views in SHOTS:
        camera.frame(size, theme)
        for view in views:
            PREPARE[view](camera, size, given.photo)
            camera.take(f"page-{view}-{size}-{theme}")
    camera.frame("desktop", "light")
    camera.open("score", "document.querySelectorAll('#score-sets fieldset').length === 2")
    camera.run("document.querySelector('#set-a input[value=model]').click()")
    camera.run(f"document.querySelector('#set-a-n').value = {SCORED}")
    camera.run("document.querySelector('#set-b input[value=files]').click()")
    camera.choose("set-b-files", real)
    camera.take("page-score-desktop-light")
    camera.run("document.querySelector('#score-metrics [value=prdc]').click()")
    camera.run("document.querySelector('#score-go').click()")
    camera.until("document.querySelector('#score-result .big') !== null")
    camera.run("document.querySelector('#score-result').scrollIntoView(); scrollBy(0, -88)")
    camera.take("page-scored-desktop-light")
    camera.driver.quit()


if __name__ == "__main__":
    main()
