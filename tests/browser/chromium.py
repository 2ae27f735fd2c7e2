"""Debian's Chromium without a screen."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from helpers.wait import wait_for
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--disable-gpu",
)


class Browser:
    """Elements by their id; all waits have a generous deadline."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def reset(self) -> None:
        self.look_as(1280, 900)
        self.leave()
        self.complaints()

    def leave(self) -> None:
        """A page that is left asks nobody any more: before its server ends."""
        self.driver.get("about:blank")

    def look_as(self, width: int, height: int, scheme: str = "light") -> None:
        """A screen of this size, and a user who likes it dark or light."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def open(self, address: str) -> None:
        self.driver.get(address)

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def find(self, name: str) -> WebElement:
        return self.driver.find_element(By.ID, name)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, name: str) -> str:
        return self.find(name).text

    def click(self, name: str) -> None:
        self.find(name).click()

    def wait(self, what: str, true: Callable[[], object]) -> None:
        def holds() -> object:
            try:
                return true()
            except StaleElementReferenceException:  # redrawn meanwhile
                return False

        wait_for(f"{what} (the page says {self.text('said')!r})", holds, every=0.2)

    def wait_for_text(self, name: str, part: str) -> None:
        self.wait(f"{part!r} in #{name}", lambda: part in self.text(name))

    def asked(self, path: str) -> int:
        """How often the page has asked the server for this."""
        script = """
            const asked = performance.getEntriesByType("resource").map(each => new URL(each.name).pathname);
            return asked.filter(path => path === arguments[0]).length;
        """
        return int(self.run(script, path))

    def complaints(self) -> list[str]:
        """What is in its console since the last time: errors, refused scripts, warnings."""
        entries = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [each["message"] for each in entries if each["level"] in ("SEVERE", "WARNING")]

    def draws(self, chart: str) -> bool:
        """Whether a chart shows more than its background."""
        script = """
            const canvas = document.querySelector(`#${arguments[0]} canvas`);
            const copy = new OffscreenCanvas(canvas.width, canvas.height)
              .getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            const {data} = copy.getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(data.buffer)).size;
        """
        return int(self.run(script, chart)) > 1


@contextlib.contextmanager
def started(directory: Path) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*ARGUMENTS, f"--user-data-dir={directory}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
