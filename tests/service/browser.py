"""A browser at the page, for tests that use it as a person does. conftest.py makes the fixtures known."""

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,900 "
    "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream"  # a camera that shows a clock, and may be used
)


class Page:
    """A browser at the page, with waits in place of sleeps."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, view: str) -> "Page":
        self.driver.get("about:blank")  # so that a change after the # loads the page anew
        self.driver.get(f"{self.url}/#{view}")
        return self

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def js(self, expression: str) -> object:
        return self.driver.execute_script(f"return {expression}")

    def until(self, expression: str, *arguments: object) -> None:
        """Waits; what the page does comes when it comes, so tests wait for it and never look just once."""
        script = f"return Boolean({expression})"
        WebDriverWait(self.driver, 300, 0.1).until(lambda _: self.driver.execute_script(script, *arguments), expression)

    def says(self, selector: str, text: str) -> None:
        """Waits until an element is shown whose text holds this one."""
        element = "document.querySelector(arguments[0])"
        self.until(f"{element}?.checkVisibility() && {element}.textContent.includes(arguments[1])", selector, text)

    def gone(self, selector: str) -> None:
        """Waits until an element is not to be seen."""
        self.until("!document.querySelector(arguments[0])?.checkVisibility()", selector)

    def pixels(self, selector: str) -> np.ndarray:
        """uint8 [h, w, 3] of an image or a canvas, as the browser shows it."""
        picture = "document.querySelector(arguments[0])"
        self.until(f"{picture}.getContext || ({picture}.complete && {picture}.naturalWidth > 0)", selector)
        size, data = self.driver.execute_script(
            """
            const source = document.querySelector(arguments[0]);
            const canvas = document.createElement("canvas");
            canvas.width = source.naturalWidth ?? source.width;
            canvas.height = source.naturalHeight ?? source.height;
            const ink = canvas.getContext("2d");
            ink.drawImage(source, 0, 0);
            const {data} = ink.getImageData(0, 0, canvas.width, canvas.height);
            return [[canvas.height, canvas.width, 4], Array.from(data)];""",
            selector,
        )
        return np.array(data, np.uint8).reshape(size)[..., :3]

    def set(self, selector: str, value: str, event: str = "change") -> None:
        """What a person's choice does: the value, then its events."""
        self.js(
            f"(e => {{ e.value = '{value}'; e.dispatchEvent(new Event('input', {{bubbles: true}})); "
            f"e.dispatchEvent(new Event('{event}', {{bubbles: true}})); }})(document.querySelector('{selector}'))"
        )

    def resize(self, width: int, height: int, phone: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": phone})

    def complaints(self) -> list[str]:
        """Errors in the browser's console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("Chromium and its driver are not installed here")
    options = Options()
    options.binary_location = CHROMIUM
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    except WebDriverException as error:
        pytest.skip(f"Chromium does not start here: {error.msg}")
    yield browser
    browser.quit()


@pytest.fixture
def page(driver: webdriver.Chrome, local: Any) -> Iterator[Page]:
    """In a tab of its own: of a history of 50 entries, Chromium drops those that no click led to, the newest too."""
    first = driver.current_window_handle
    driver.switch_to.new_window("tab")
    page = Page(driver, local.url)
    page.resize(1280, 900)
    yield page
    complaints = page.complaints()
    driver.close()
    driver.switch_to.window(first)
    assert complaints == []
